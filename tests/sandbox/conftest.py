"""The fixtures of the sandbox's own tests."""

from tests.sandbox.local import api as api
from tests.sandbox.local import local as local
from tests.sandbox.local import platform as platform
from tests.sandbox.local import postgres as postgres
from tests.sandbox.visitor import clock as clock
from tests.sandbox.visitor import sandbox as sandbox
from tests.sandbox.visitor import shared as shared
from tests.sandbox.visitor import shared_web as shared_web
from tests.sandbox.visitor import web as web
