"""The HTTP server, or the consumer of reminders: `serve.py [remind]`."""

import os
import signal
import sys
import time
from wsgiref.simple_server import WSGIRequestHandler, make_server

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()

from shop import schema
from todos.models import Todo


class Handler(WSGIRequestHandler):
    def log_message(self, *_):
        """Probes would fill the log."""


def stop(*_):
    # At once, whatever other threads do.
    os._exit(0)


def remind():
    print("consumer started")
    while True:
        list(Todo.objects.filter(done=False, due__isnull=False))
        time.sleep(5)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    schema.check()
    if sys.argv[1:] == ["remind"]:
        remind()
    print(f"version {os.environ['VERSION']} listens on port 8000")
    make_server("", 8000, application, handler_class=Handler).serve_forever()
