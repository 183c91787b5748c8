"""Whether the database is what this version's code needs."""

import sys
import time

from sqlalchemy import inspect, text
from sqlalchemy.exc import OperationalError

from .db import engine
from .release import COLUMNS

# A database that is only just being set up gets so many seconds.
PATIENCE = 60


def wait_for_database():
    """Waits until the database answers and somebody has migrated it."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            if inspect(engine).has_table("alembic_version"):
                return
            problem = "the database was never migrated"
        except OperationalError as error:
            problem = str(error.orig).strip()
        if time.monotonic() > deadline:
            sys.exit(f"no database after {PATIENCE} s: {problem}")
        time.sleep(0.5)


def check():
    """Exits where the columns that the queries name are not there."""
    wait_for_database()
    with engine.connect() as connection:
        revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    inspector = inspect(engine)
    there = {column["name"] for column in inspector.get_columns("todos")} if inspector.has_table("todos") else set()
    missing = [f"todos.{column}" for column in COLUMNS if column not in there]
    if missing:
        sys.exit(f"the schema does not fit this version: no {', '.join(missing)} (database at revision {revision})")
