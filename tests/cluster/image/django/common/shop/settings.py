"""Settings; the database comes from the environment, as the address that the application is given."""

import os
from urllib.parse import urlsplit

database = urlsplit(os.environ["DATABASE_URL"])

SECRET_KEY = "nothing is signed"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "shop.urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
# Of Django's own applications those that most projects have: their migrations stand among the project's.
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "labels", "todos"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": database.path.removeprefix("/"),
        "USER": database.username,
        "PASSWORD": database.password,
        "HOST": database.hostname,
        "PORT": database.port or "",
        "OPTIONS": {"connect_timeout": 3},
    }
}
