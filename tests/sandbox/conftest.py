"""The fixtures of the sandbox's own tests."""

from tests.sandbox.local import api as api
from tests.sandbox.local import local as local
from tests.sandbox.local import platform as platform
from tests.sandbox.local import postgres as postgres
