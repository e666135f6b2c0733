"""Makes reStructuredText of docstrings that are written as plain text, and adds the fields of models with their comments.

In a docstring a line such as `timeout: seconds for one attempt` describes an argument, `GET /v1/me` names a route, and
what is indented after a blank line stays as it is.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

import attrs
from sphinx.application import Sphinx

_ARGUMENT = re.compile(r"([a-z_]+(?:, [a-z_]+)*): (.+)")
_ROUTE = re.compile(r"(?:GET|HEAD|POST|PUT|PATCH|DELETE) /.*")
_CODE = re.compile(r"(?<![`:])`([^`\n]+)`(?!`)")


def readable(lines: Iterable[str]) -> Iterator[str]:
    """A docstring's lines as reStructuredText."""
    in_list = verbatim = False
    before = ""
    for line in lines:
        indented = line.startswith("  ")
        if indented and not before and not in_list and not verbatim:
            verbatim = True
            yield from ("::", "")
        elif line and not indented:
            verbatim = False
        if verbatim or not line:
            in_list = in_list and bool(line)
            yield line
        elif argument := _ARGUMENT.fullmatch(line):
            yield from ([] if in_list else [""])
            in_list = True
            yield f"* **{argument[1]}** -- {_marked(argument[2])}"
        elif _ROUTE.fullmatch(line):
            yield from ("", f"``{line}``")
        else:
            yield from ([""] if in_list and not indented else [])
            in_list = in_list and indented
            yield ("  " if in_list else "") + _marked(line.strip() if in_list else line)
        before = line


def _marked(text: str) -> str:
    """Text whose code is marked as such, and in which nothing else is a mark."""
    return _CODE.sub(r"``\1``", text.replace("*", r"\*")).replace("|", r"\|")


def fields(model: type) -> Iterator[str]:
    """The fields of an attrs class: name, type, and the comment at the end of the line."""
    for kind in reversed(model.__mro__):
        if not attrs.has(kind):
            continue
        source = textwrap.dedent(inspect.getsource(kind))
        body, lines = ast.parse(source).body[0], source.splitlines()
        assert isinstance(body, ast.ClassDef)
        for one in body.body:
            if isinstance(one, ast.AnnAssign) and not (name := ast.unparse(one.target)).startswith("_"):
                comment = lines[(one.end_lineno or 1) - 1][one.end_col_offset or 0 :].strip().lstrip("# ")
                yield f"* ``{name}``: ``{ast.unparse(one.annotation)}``" + (f" -- {_marked(comment)}" if comment else "")


def process(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    lines[:] = [*readable(lines), ""]
    if what == "class" and attrs.has(thing):
        lines += [*fields(thing), ""]


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("autodoc-process-docstring", process)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
