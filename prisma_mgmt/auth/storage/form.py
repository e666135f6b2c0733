"""How a storage writes tokens: as JSON, or as JSON sealed for the place it is kept in."""

import json
from typing import Protocol

from attrs import field, frozen

from prisma_mgmt.auth.tokens import Tokens
from prisma_mgmt.errors import AuthError
from prisma_mgmt.masks import Secret

_LONGEST = 1_000_000  # characters


class Cipher(Protocol):
    """What seals stored tokens: a TokenCipher, or anything with these two methods."""

    def seal(self, text: str, place: str) -> str:
        """`text`, sealed so that it opens for `place` only."""
        ...

    def open(self, sealed: str, place: str) -> str:
        """The text sealed for `place`; ValueError, with the reason in words, for anything else."""
        ...


@frozen
class Form:
    """The stored form at one place; `place` names it in errors, and is what a cipher binds tokens to."""

    place: str
    cipher: Cipher | None = field(default=None, repr=False)

    def write(self, tokens: Tokens) -> Secret:
        text = Secret(json.dumps(tokens.to_json()))
        return text if self.cipher is None else Secret(self.cipher.seal(text, self.place))

    def read(self, text: str) -> Tokens:
        """The tokens in a stored text; AuthError, naming the place, for anything else."""
        text = Secret(text)
        try:
            return self._read(text)
        except (ValueError, RecursionError) as error:
            problem = str(error)
        raise AuthError(f"{self.place} holds no tokens: {problem}")

    def _read(self, text: Secret) -> Tokens:
        if len(text) > _LONGEST:
            raise ValueError(f"it is longer than {_LONGEST} characters")
        if self.cipher is not None:
            text = Secret(self.cipher.open(text, self.place))
        elif text.startswith("v1."):
            raise ValueError("it is sealed; give the storage its cipher")
        try:
            return Tokens.from_json(json.loads(text))
        except json.JSONDecodeError:
            pass
        raise ValueError("it is no JSON")
