"""Write the next migration: the difference between the last one and `tables.py`."""

import sys

from alembic import command
from sqlalchemy import create_engine

from retune.server.storage.migrations import configuration, upgrade
from retune.server.storage.schema import newest_version

with create_engine("sqlite://").begin() as connection:
    upgrade(connection)
    command.revision(
        configuration(connection), message=sys.argv[1], autogenerate=True, rev_id=f"{newest_version() + 1:04}"
    )
