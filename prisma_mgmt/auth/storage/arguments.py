"""Checks what the storages are given, at the call itself: names and paths."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from prisma_mgmt.checks import checked_kind


def checked_name(value: Any, name: str) -> str:
    """`value`, a text that can name a place; TypeError or ValueError, naming `name`, for anything else."""
    if not checked_kind(value, str, name, "a string"):
        raise ValueError(f"{name} must not be empty")
    text = str(value)
    if "\0" in text or text != text.encode(errors="ignore").decode():
        raise ValueError(f"{name} must not hold a zero byte, nor half a character")
    return text


def checked_path(path: Any, name: str) -> Path:
    """`path` as a Path, `~` expanded; TypeError or ValueError, naming `name`, for what is no path."""
    checked_kind(path, str | os.PathLike, name, "a path")
    with suppress(RuntimeError):
        return Path(checked_name(os.fspath(path), name)).expanduser()
    raise ValueError(f"{name} begins with ~, and this user has no home folder: give an absolute path")
