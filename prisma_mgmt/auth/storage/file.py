"""Tokens in a file of one's own."""

import json
import os
import secrets
from pathlib import Path

from anyio import to_thread

from prisma_mgmt.auth.tokens import Tokens
from prisma_mgmt.credentials import Secret
from prisma_mgmt.errors import AuthError


class FileTokenStorage:
    """Keeps tokens in a JSON file that only its owner can read, and that is never half written.

    Node programs that keep `workspaceId`, `accessToken` and `refreshToken` can read it. Raises AuthError for a file
    that holds no tokens, and leaves it as it is.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    async def get_tokens(self) -> Tokens | None:
        return await to_thread.run_sync(self._read)

    async def set_tokens(self, tokens: Tokens) -> None:
        await to_thread.run_sync(self._write, tokens)

    async def clear_tokens(self) -> None:
        await to_thread.run_sync(self._remove)

    def _read(self) -> Tokens | None:
        try:
            text = Secret(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except UnicodeDecodeError:
            raise AuthError(f"{self.path} holds no tokens: it is no UTF-8 text") from None
        try:
            return Tokens.from_json(json.loads(text))
        except ValueError as error:
            problem = "it is no JSON" if isinstance(error, json.JSONDecodeError) else str(error)
        raise AuthError(f"{self.path} holds no tokens: {problem}")

    def _write(self, tokens: Tokens) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}.{secrets.token_hex(8)}.tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(tokens.to_json(), file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def _remove(self) -> None:
        self.path.unlink(missing_ok=True)
