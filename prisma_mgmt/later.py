"""Names that a package loads when they are first used (PEP 562)."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module


def packing() -> bool:
    """False, at run time. Imports under `if TYPE_CHECKING or packing()` are seen by whoever packs a program.

    Nuitka takes TYPE_CHECKING for False while it compiles, and would leave out what only `loader` imports, by its name.
    """
    return False


def loader(package: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """The `__getattr__` of a package, from its names to the modules in it that define them."""

    def load(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value: object = getattr(import_module(f"{package}.{homes[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return load
