"""The reminder consumer: looks for todos that are due, every few seconds."""

import signal
import time

from sqlalchemy import text

from . import release, schema
from .db import engine
from .main import stop

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    schema.check()
    release.start()
    print("consumer started")
    while True:
        with engine.connect() as connection:
            columns = ", ".join(release.COLUMNS)
            connection.execute(text(f"SELECT {columns} FROM todos WHERE due <= current_date AND NOT done")).all()
        time.sleep(5)
