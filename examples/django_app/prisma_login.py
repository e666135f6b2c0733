"""The login and the client, one of each for the whole process."""

# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false

from collections import defaultdict

from django.conf import settings

from prisma_mgmt import ManagementClient
from prisma_mgmt.auth import LoginApp, OAuthClient, SessionManager
from prisma_mgmt.auth.storage import MemoryTokenStorage

oauth = OAuthClient.from_environment()
storages: dict[str, MemoryTokenStorage] = defaultdict(MemoryTokenStorage)  # for several processes: RedisTokenStorage
sessions = SessionManager(oauth, storages.__getitem__)
login = LoginApp(oauth, sessions, settings.LOGIN_KEYS, after_login="/projects")
prisma = ManagementClient()
