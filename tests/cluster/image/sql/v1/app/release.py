"""What version 1 reads."""

COLUMNS = ("id", "title", "done", "due")


def start():
    """Nothing besides the server."""
