"""A local Prisma for tests and first steps: the three APIs and the login server (extra: sandbox).

`server` has the public door, `Sandbox`, and knows what a sandbox is made of. A request passes through these modules, in
this order:

1. `serving` is the loopback socket. `door` checks the host, records what is asked (`requests`) and lets faults happen
   (`faults`).
2. The request then comes to one of the sites (`wire`): an API (`api`), the login server (`oauth`, with `pages` and
   `tokens`) or the control routes (`control`).
3. An API looks up what its description says of the operation (`description`), who asks, and what the path names.
4. A `Call` (`engine`) carries the operation out: by a method of a resource (`resources`), or as the description alone
   has it. The answer's schema says what is shown of the result.
5. What exists is in the world (`state`), logins and tokens included. With a PostgreSQL behind it, the world's databases
   are real (`backing`, `postgres`, `cluster`).
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prisma_mgmt.sandbox.server import Sandbox

__all__ = ["Sandbox"]


if not TYPE_CHECKING:  # or type checkers would take every name

    def __getattr__(name: str) -> object:
        if name != "Sandbox":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            from prisma_mgmt.sandbox.server import Sandbox
        except ModuleNotFoundError as error:
            if error.name not in {"starlette", "uvicorn"}:
                raise
            raise ImportError("the sandbox needs starlette and uvicorn: install prisma-mgmt[sandbox]") from None
        return Sandbox
