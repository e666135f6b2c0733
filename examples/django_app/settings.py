"""As little as Django needs."""

import os
import secrets

SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY") or secrets.token_urlsafe()
LOGIN_KEYS = os.environ["LOGIN_KEYS"].split()
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "app.example"]
ROOT_URLCONF = "urls"
MIDDLEWARE = ["urls.answer_to_prismas_errors"]
