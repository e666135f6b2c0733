"""The text that a storage keeps: tokens as JSON, sealed for its place or not. The keys are in tokens.py."""

import json
import re
from typing import Any, Protocol

from attrs import field, frozen

from prisma_mgmt.auth.tokens import Tokens, loads
from prisma_mgmt.checks import checked_methods, secret
from prisma_mgmt.errors import AuthError
from prisma_mgmt.masks import Secret, bare

_LONGEST = 1_000_000  # characters
_DEEPEST = 100  # levels
_BITS = re.compile(r'"(?:[^"\\]|\\.)*"?|[^"\[\]{}]+|.', re.DOTALL)  # of JSON: texts, brackets, and what is between


class Cipher(Protocol):
    """What seals stored tokens: a TokenCipher, or anything with these two methods."""

    def seal(self, text: str, place: str) -> str:
        """`text`, sealed so that it opens for `place` only."""
        ...

    def open(self, sealed: str, place: str) -> str:
        """The text sealed for `place`; ValueError, with the reason in words, for anything else."""
        ...


def _check_cipher(_form: object, _attribute: object, cipher: Any) -> None:
    if cipher is not None:
        checked_methods(cipher, "cipher", "seal", "open")


@frozen
class Form:
    """The stored form at one place; `place` names it in errors, and is what a cipher binds tokens to."""

    place: str
    cipher: Cipher | None = field(default=None, repr=False, validator=_check_cipher)

    def write(self, tokens: Tokens) -> Secret:
        """`tokens` as a text that read() takes; AuthError if they are too long for it."""
        with bare:
            if not isinstance(tokens, Tokens):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers need not check types
                raise TypeError(f"a storage keeps Tokens, not {type(tokens).__name__}")
            text = Secret(json.dumps(tokens.to_json()))
            if self.cipher is not None:
                text = secret(self.cipher.seal(text, self.place))
            if len(text) > _LONGEST:
                raise AuthError(f"the tokens for {self.place} are longer than {_LONGEST} characters")
            return text

    def read(self, text: str) -> Tokens:
        """The tokens in a stored text; AuthError, naming the place, for anything else."""
        text = Secret(text)
        try:
            return self._read(text)
        except json.JSONDecodeError:
            problem = "it is no JSON"
        except ValueError as error:
            problem = str(error)
        raise self.empty(problem)

    def decoded(self, stored: bytes | str) -> Secret:
        """What stands at the place, as text; AuthError if it is none."""
        try:
            return Secret(stored if isinstance(stored, str) else stored.decode())
        except UnicodeDecodeError:
            del stored  # a traceback would show it
        raise self.empty("it is no UTF-8 text")

    def empty(self, problem: str) -> AuthError:
        return AuthError(f"{self.place} holds no tokens: {problem}")

    def _read(self, text: Secret) -> Tokens:
        if len(text) > _LONGEST:
            raise ValueError(f"it is longer than {_LONGEST} characters")
        text = Secret(text.removeprefix("\ufeff").strip())  # which editors on Windows put first, and others last
        if self.cipher is not None:
            text = secret(self.cipher.open(text, self.place))
        elif text.startswith("v1."):
            raise ValueError("it is sealed; give the storage its cipher")
        return Tokens.from_json(loads(shallow(text), keep=True))


def shallow(text: Secret) -> Secret:
    """`text` with null for what other programs nested deeper than it could be read, and surely be written again."""
    if text.count("[") + text.count("{") <= _DEEPEST:
        return text
    depth, kept = 0, list[str]()
    for bit in _BITS.findall(text):
        depth += bit in ("[", "{")
        if depth <= _DEEPEST:
            kept.append(bit)
        elif kept[-1] != "null":
            kept.append("null")
        depth -= bit in ("]", "}")
    return Secret("".join(kept))
