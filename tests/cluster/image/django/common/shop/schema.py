"""Whether the database is what this version's code needs."""

import sys
import time

from django.db import Error, OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder
from todos.models import Todo

# A database that is only just being set up gets so many seconds.
PATIENCE = 60


def wait_for_database():
    """Waits until the database answers and somebody has migrated it."""
    deadline = time.monotonic() + PATIENCE
    problem = "the database was never migrated"
    while time.monotonic() < deadline:
        try:
            if any(app == "todos" for app, _ in MigrationRecorder(connection).applied_migrations()):
                return
        except OperationalError as error:
            problem = str(error).strip()
        connection.close()
        time.sleep(0.5)
    sys.exit(f"no database after {PATIENCE} s: {problem}")


def check():
    """Exits where the columns that the models name are not there."""
    wait_for_database()
    try:
        Todo.objects.first()
    except Error as error:
        sys.exit(f"the schema does not fit this version: {error}")
