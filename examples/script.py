"""A script of one's own: log in once, keep the tokens in a file, and go on with them the next time.

Without PRISMA_CLIENT_ID it runs against a sandbox, whose user says yes at once; with it (an application registered with
Prisma, redirect URI http://127.0.0.1/callback) your browser opens. TOKENS is where the file is.
"""

import contextlib
import os
import sys
import tempfile
import webbrowser
from collections.abc import Callable, Generator
from pathlib import Path

import anyio
import httpx
from attrs import frozen

from prisma_mgmt import ManagementClient, PrismaError
from prisma_mgmt.auth import OAuthClient, OAuthSession, log_in_with_browser
from prisma_mgmt.auth.storage import FileTokenStorage
from prisma_mgmt.sandbox import Sandbox


@frozen
class Place:
    """Where to log in, and where to call."""

    oauth: OAuthClient
    api_url: str | None
    tokens: Path
    open_browser: Callable[[str], object]
    show: Callable[[str], object] = print


@contextlib.contextmanager
def chosen() -> Generator[Place, None, None]:
    redirect_uri = "http://127.0.0.1/callback"
    if client_id := os.environ.get("PRISMA_CLIENT_ID"):
        tokens = Path(os.environ.get("TOKENS", "~/.config/prisma-script/tokens.json")).expanduser()
        yield Place(OAuthClient(client_id, redirect_uri), None, tokens, webbrowser.open)
        return
    with Sandbox() as sandbox, tempfile.TemporaryDirectory() as folder:
        oauth = OAuthClient(sandbox.client_id, redirect_uri, auth_base_url=sandbox.auth_url)

        def follow(url: str) -> object:
            return httpx.get(url, follow_redirects=True)

        yield Place(oauth, sandbox.api_url, Path(folder, "tokens.json"), follow, show=lambda _: None)


async def session_at(place: Place) -> OAuthSession:
    """The session whose tokens are in the file; the first time, a new login."""
    storage = FileTokenStorage(place.tokens)
    session = OAuthSession(place.oauth, storage)
    if await session.tokens() is not None:
        print(f"  going on with the tokens in {place.tokens.name}")
        return session
    print("  no tokens yet: logging in with a browser")
    return await log_in_with_browser(place.oauth, storage, open_browser=place.open_browser, show=place.show)


async def run(place: Place) -> None:
    async with await session_at(place) as session, ManagementClient(session, base_url=place.api_url) as prisma:
        names = [workspace.name async for workspace in prisma.workspaces.list()]
        print(f"  workspaces: {', '.join(names)}")


def main() -> None:
    try:
        with chosen() as place:
            for number in (1, 2):
                print(f"run {number}")
                anyio.run(run, place)
    except (PrismaError, ValueError, OSError) as error:
        sys.exit(f"script: {error}")


if __name__ == "__main__":
    main()
