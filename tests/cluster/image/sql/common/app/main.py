"""The HTTP server: health, metrics, a page, the list of todos, and a path that always fails."""

import json
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from sqlalchemy import text

from . import metrics, release, schema
from .db import engine

VERSION = os.environ["VERSION"]


def health():
    return "application/json", json.dumps({"status": "healthy", "service": "hackathon-todo-api", "version": VERSION})


def page():
    return "text/html", f"<!doctype html><title>Todos</title><p>version {VERSION}\n"


def todos():
    columns = ", ".join(release.COLUMNS)
    with engine.connect() as connection:
        rows = connection.execute(text(f"SELECT {columns} FROM todos ORDER BY id"))
        return "application/json", json.dumps([dict(row) for row in rows.mappings()], default=str)


def fail():
    raise RuntimeError("this path always fails")


PAGES = {
    "/": page,
    "/health": health,
    "/metrics": lambda: ("text/plain; version=0.0.4", metrics.text()),
    "/todos": todos,
    "/fail": fail,
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        begin = time.monotonic()
        answer = PAGES.get(self.path)
        try:
            code, (kind, body) = (200, answer()) if answer else (404, ("text/plain", "no such page\n"))
        except Exception as error:
            print(f"ERROR {self.path}: {error}", file=sys.stderr)
            code, kind, body = 500, "application/json", json.dumps({"detail": "Internal Server Error"})
        metrics.count(code, time.monotonic() - begin)
        content = body.encode()
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        """Probes and scrapes would fill the log."""


def stop(*_):
    # At once, whatever other threads do.
    os._exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    schema.check()
    release.start()
    print(f"version {VERSION} listens on port 8000")
    ThreadingHTTPServer(("", 8000), Handler).serve_forever()
