"""Version 2 with a setting that nobody has given it."""

import os
import time

COLUMNS = ("id", "summary", "done", "due")


def start():
    """Dies after a second."""
    time.sleep(1)
    print(f"reminders are sent through {os.environ['SMTP_URL']}")
