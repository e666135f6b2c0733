"""Names that a package loads when they are first used (PEP 562)."""

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module


def packing() -> bool:
    """False, at run time. Imports under `if TYPE_CHECKING or packing()` are seen by whoever packs a program.

    Nuitka takes TYPE_CHECKING for False while it compiles, and would leave out what only `loader` imports, by its name.
    """
    return False


def loader(package: str, modules: Mapping[str, Iterable[str]]) -> Callable[[str], object]:
    """The `__getattr__` of a package, from modules in it to the names that they define."""
    homes = {name: module for module, names in modules.items() for name in names}

    def load(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value: object = getattr(import_module(f"{package}.{homes[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return load
