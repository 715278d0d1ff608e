"""Migrations of the server's tables, by Alembic, with no ini file.

After a change of `tables.py`, `python -m retune.server.storage.migrations "what changes"` writes the next one, to be
reviewed and corrected; a test compares migrations and tables.
"""

import logging
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

# At INFO it logs its plugins and each step.
logging.getLogger("alembic").setLevel(logging.WARNING)


def configuration(connection: Connection) -> Config:
    """Alembic's configuration for work on one connection, within its transaction."""
    # ConfigParser would take a percent sign in a path for the beginning of a name.
    location = str(Path(__file__).parent).replace("%", "%%")
    config = Config()
    config.set_main_option("script_location", location)
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def upgrade(connection: Connection, version: str = "head") -> None:
    """Run the migrations up to a version."""
    command.upgrade(configuration(connection), version)
