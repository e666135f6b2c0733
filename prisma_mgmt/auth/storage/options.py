"""What the storages are given, checked where it is given."""

import os
from pathlib import Path
from typing import Any


def checked_text(value: Any, name: str) -> str:
    """`value`, a text that can name a place; TypeError or ValueError, naming `name`, for anything else."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, not {type(value).__name__}")
    if not value:
        raise ValueError(f"{name} must not be empty")
    if "\0" in value or value != value.encode(errors="ignore").decode():
        raise ValueError(f"{name} must not hold a zero byte, nor half a character")
    return value


def checked_path(path: Any, name: str) -> Path:
    """`path` as a Path, `~` expanded; TypeError or ValueError, naming `name`, for what is no path."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"{name} must be a path, not {type(path).__name__}")
    try:
        return Path(checked_text(os.fspath(path), name)).expanduser()
    except RuntimeError:
        problem = f"{name} begins with ~, and this user has no home folder: give an absolute path"
    raise ValueError(problem)
