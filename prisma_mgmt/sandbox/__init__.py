"""A local Prisma for tests and first steps: the Management API and the login server (extra: sandbox)."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prisma_mgmt.sandbox.clients import Sandbox

__all__ = ["Sandbox"]


if not TYPE_CHECKING:  # or type checkers would take every name

    def __getattr__(name: str) -> object:
        if name != "Sandbox":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            from prisma_mgmt.sandbox.clients import Sandbox
        except ModuleNotFoundError as error:
            if error.name not in {"starlette", "uvicorn"}:
                raise
            raise ImportError("the sandbox needs starlette and uvicorn: install prisma-mgmt[sandbox]") from None
        return Sandbox
