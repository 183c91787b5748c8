"""What version 2 reads: a title is called summary now."""

COLUMNS = ("id", "summary", "done", "due")


def start():
    """Nothing besides the server."""
