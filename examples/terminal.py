"""A program for the terminal: the first run opens the browser, later ones go on with the tokens that were kept.

    python terminal.py [--keyring]          lists your projects
    python terminal.py [--keyring] logout

PRISMA_CLIENT_ID is of an application registered with the redirect URI http://127.0.0.1/callback; without it everything
happens in a sandbox whose user says yes at once: two runs, and a logout. TOKENS is the file, unless the system's
keyring keeps the tokens (`pip install 'prisma-mgmt[keyring]'`).
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import anyio
import httpx

from prisma_mgmt import ManagementClient, PrismaError
from prisma_mgmt.auth import OAuthClient, OAuthSession, TokenStorage, log_in_with_browser
from prisma_mgmt.auth.storage import FileTokenStorage, KeyringTokenStorage

FILE = "~/.config/prisma-terminal/tokens.json"


def storage_of(arguments: list[str]) -> TokenStorage:
    if "--keyring" in arguments:
        return KeyringTokenStorage("prisma-terminal", key="default")
    return FileTokenStorage(os.environ.get("TOKENS", FILE))


async def run(arguments: list[str]) -> None:
    oauth = OAuthClient.from_environment(redirect_uri="http://127.0.0.1/callback")
    storage = storage_of(arguments)
    session = OAuthSession(oauth, storage)
    if "logout" in arguments:
        async with session:
            await session.logout()
        print("logged out")
        return
    if await session.tokens() is None:
        session = await log_in_with_browser(oauth, storage, **in_the_sandbox())
    async with session, ManagementClient(session) as prisma:
        names = [project.name async for project in prisma.projects.list()]
        print(f"your projects: {', '.join(names) or 'none yet'}")


def in_the_sandbox() -> dict[str, Any]:
    """Its user needs no browser: who follows the link has said yes."""
    if "PRISMA_SANDBOX" not in os.environ:
        return {}
    print("no tokens yet: logging in")
    return {"open_browser": follow, "show": len}  # any function will do that prints nothing


def follow(url: str) -> httpx.Response:
    return httpx.get(url, follow_redirects=True)


def demonstrate(arguments: list[str]) -> None:
    from prisma_mgmt.sandbox import Sandbox

    with Sandbox() as sandbox, tempfile.TemporaryDirectory() as folder:
        os.environ |= {**sandbox.environment, "PRISMA_SANDBOX": "1", "TOKENS": str(Path(folder, "tokens.json"))}
        for number, more in enumerate(([], [], ["logout"]), 1):
            print(f"run {number}")
            anyio.run(run, [*arguments, *more])


def main() -> None:
    arguments = sys.argv[1:]
    try:
        if "PRISMA_CLIENT_ID" in os.environ:
            anyio.run(run, arguments)
        else:
            demonstrate(arguments)
    except (PrismaError, ValueError, OSError, ImportError) as error:
        sys.exit(f"terminal: {error}")


if __name__ == "__main__":
    main()
