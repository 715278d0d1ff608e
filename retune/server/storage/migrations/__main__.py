"""Write the next migration: the difference between the last one and `tables.py`."""

import sys

from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from retune.server.storage.migrations import configuration, upgrade

with create_engine("sqlite://").begin() as connection:
    upgrade(connection)
    settings = configuration(connection)
    newest = ScriptDirectory.from_config(settings).get_current_head()
    command.revision(settings, message=sys.argv[1], autogenerate=True, rev_id=f"{int(newest or 0) + 1:04}")
