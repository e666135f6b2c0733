"""Shows what the comments behind a model's fields say in the reference, where autodoc sees docstrings only."""

import inspect
import io
import tokenize
from typing import Any

import attrs
from sphinx.application import Sphinx


def comments(model: type) -> dict[int, str]:
    """The comment at the end of each line of a class, by the line's number in it."""
    try:
        source = inspect.getsource(model)
    except (OSError, TypeError):
        return {}
    found = tokenize.generate_tokens(io.StringIO(source).readline)
    return {one.start[0]: one.string.lstrip("# ") for one in found if one.type == tokenize.COMMENT}


def described(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    if what != "class" or not attrs.has(thing):
        return
    source = inspect.getsource(thing).splitlines()
    said = comments(thing)
    rows: list[str] = []
    for one in attrs.fields(thing):
        if one.name.startswith("_"):
            continue
        number = next((i for i, line in enumerate(source, 1) if line.strip().startswith(f"{one.name}:")), 0)
        kind = (
            source[number - 1].strip().partition(":")[2].partition("#")[0].partition(" = ")[0].strip() if number else ""
        )
        rows.append(f"* ``{one.name}``: ``{kind}``" + (f" -- {said[number]}" if number in said else ""))
    if rows:
        lines += ["", *rows, ""]


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("autodoc-process-docstring", described)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
