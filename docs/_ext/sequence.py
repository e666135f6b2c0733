"""A directive that draws a sequence diagram from plain lines, as SVG in the colours of the page.

    ```{sequence}
    app, client, pool, API
    app -> client: projects.list()
    client -> API: GET /v1/projects
    note client: one refresh for all
    API --> app: 200
    ```

The first line names who takes part. `->` is a full line, `-->` a broken one, `note` a box under one of them.
"""

import re
from html import escape
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

_WIDTH, _TOP, _STEP = 170, 58, 40
_ARROW = re.compile(r"(.+?)\s*(-->|->)\s*(.+?):\s*(.+)")
_NOTE = re.compile(r"note\s+(.+?):\s*(.+)")


def drawn(text: str) -> str:
    """The diagram as SVG; ValueError, with the line, for one that cannot be read."""
    head, *steps = [line.strip() for line in text.splitlines() if line.strip()]
    names = [name.strip() for name in head.split(",")]
    middle = {name: _WIDTH * i + _WIDTH // 2 for i, name in enumerate(names)}
    height = _TOP + _STEP * len(steps) + 10
    parts = [_actor(name, x, height) for name, x in middle.items()]
    for i, step in enumerate(steps):
        parts.append(_step(step, middle, _TOP + _STEP * i + 22))
    width = _WIDTH * len(names)
    label = escape(f"{names[0]} to {names[-1]}, {len(steps)} steps")
    marker = '<marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    marker += '<path d="M0 0 8 4 0 8z" fill="currentColor"/></marker>'
    opening = f'<svg class="sequence" role="img" aria-label="{label}" viewBox="0 0 {width} {height}" width="{width}">'
    return f"{opening}<defs>{marker}</defs>{''.join(parts)}</svg>"


def _actor(name: str, x: int, height: int) -> str:
    box = f'<rect class="note" x="{x - 72}" y="8" width="144" height="30" rx="6"/>'
    line = f'<path d="M{x} 38V{height}" stroke="currentColor" stroke-opacity=".3"/>'
    return f'{box}{line}<text x="{x}" y="28" text-anchor="middle">{escape(name)}</text>'


def _step(step: str, middle: dict[str, int], y: int) -> str:
    if found := _NOTE.fullmatch(step):
        x, words = middle[found[1]], escape(found[2])
        wide = 14 + 7 * len(found[2])
        left = max(4, x - wide // 2)
        box = f'<rect class="note" x="{left}" y="{y - 18}" width="{wide}" height="26" rx="4"/>'
        return f'{box}<text x="{left + wide // 2}" y="{y}" text-anchor="middle">{words}</text>'
    found = _ARROW.fullmatch(step)
    if found is None:
        raise ValueError(f"neither an arrow nor a note: {step!r}")
    start, end = middle[found[1]], middle[found[3]]
    dash = ' stroke-dasharray="5 4"' if found[2] == "-->" else ""
    line = f'<path d="M{start} {y}H{end}" fill="none" stroke="currentColor" marker-end="url(#tip)"{dash}/>'
    return f'{line}<text x="{(start + end) // 2}" y="{y - 6}" text-anchor="middle">{escape(found[4])}</text>'


class Sequence(SphinxDirective):
    has_content = True

    def run(self) -> list[nodes.Node]:
        return [nodes.raw("", drawn("\n".join(self.content)), format="html")]


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("sequence", Sequence)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
