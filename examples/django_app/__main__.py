"""Runs the application, in a sandbox unless PRISMA_CLIENT_ID is set; PORT is 8000."""

import os
from contextlib import ExitStack

import uvicorn

from prisma_mgmt.auth import new_key


def main() -> None:
    port = int(os.environ.get("PORT", "8000"))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
    with ExitStack() as stack:
        if "PRISMA_CLIENT_ID" not in os.environ:
            from prisma_mgmt.sandbox import Sandbox

            callback = f"http://127.0.0.1:{port}/auth/callback"
            sandbox = stack.enter_context(Sandbox(redirect_uris=[callback]))
            os.environ |= {**sandbox.environment, "PRISMA_REDIRECT_URI": callback, "LOGIN_KEYS": new_key()}
        uvicorn.run("asgi:application", port=port)


if __name__ == "__main__":
    main()
