"""As little as Django needs."""

import os
import secrets
import sys

SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY") or secrets.token_urlsafe()
LOGIN_KEYS = os.environ.get("LOGIN_KEYS", "").split() or sys.exit(
    "LOGIN_KEYS is not set: prisma_mgmt.auth.new_key() makes a key"
)
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "app.example"]
ROOT_URLCONF = "urls"
MIDDLEWARE = ["urls.answer_to_prismas_errors"]
