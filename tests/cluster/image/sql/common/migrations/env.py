"""How alembic reaches the database: by the address that the application uses."""

import os
from logging.config import fileConfig

from alembic import context
from sqlalchemy import create_engine, pool

fileConfig(context.config.config_file_name)

with create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool).connect() as connection:
    # A transaction each: when the second of two steps fails, the first has happened.
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
