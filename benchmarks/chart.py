"""A chart of bars as SVG, written by hand: a row for each name, a panel for each column."""

from collections.abc import Mapping, Sequence, Set
from html import escape
from statistics import median

from benchmarks.stats import Series

_NAMES, _PANEL, _GAP, _ROW, _TOP = 210, 190, 22, 26, 66  # pixels
_VALUE = 68  # kept free for the number at the end of the longest bar
_CUT = 5  # a bar longer than so many times the median one is cut, so that one does not dwarf the rest
_STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #24292f }
  .title { font-size: 15px; font-weight: 600 }
  .head, .own { font-weight: 600 }
  .failed { fill: #b42318 }
  rect { fill: #a5adb8 }
  rect.own { fill: #2d6cdf }
  line { stroke: #d0d7de }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .failed { fill: #ff8a80 }
    rect { fill: #6e7681 }
    rect.own { fill: #6ea8ff }
    line { stroke: #30363d }
  }
"""


def chart(title: str, names: Sequence[str], panels: Mapping[str, Sequence[Series]], marked: Set[str]) -> str:
    """All panels share one scale; a bar far out of it is cut, and a series that failed says so in place of its bar."""
    values = [series.median for column in panels.values() for series in column if not series.failure]
    most = min(max(values), _CUT * median(values))
    width = _NAMES + len(panels) * (_PANEL + _GAP)
    height = _TOP + len(names) * _ROW + 10
    size = f'viewBox="0 0 {width} {height}" width="{width}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(title)}">',
        f"<style>{_STYLE}</style>",
        _text(8, 22, title, "title"),
        *(_text(_NAMES - 12, _baseline(i), name, _class(name, marked), "end") for i, name in enumerate(names)),
    ]
    for column, (head, drawn) in enumerate(panels.items()):
        left = _NAMES + column * (_PANEL + _GAP)
        parts += [
            _text(left, _TOP - 14, head, "head"),
            f'<line x1="{left}" y1="{_TOP - 4}" x2="{left}" y2="{height - 8}"/>',
            *(
                part
                for i, (name, series) in enumerate(zip(names, drawn, strict=True))
                for part in _bar(left, i, series, most, _class(name, marked))
            ),
        ]
    return "\n".join([*parts, "</svg>", ""])


def _bar(left: int, row: int, series: Series, most: float, kind: str) -> list[str]:
    if series.failure:
        return [_text(left + 6, _baseline(row), series.failure.partition(",")[0], "failed")]
    length = (_PANEL - _VALUE) * min(1.0, series.median / most)
    number = f"{series.median:,.0f}{' (cut)' if series.median > most else ''}"
    return [
        f'<rect class="{kind}" x="{left}" y="{_TOP + row * _ROW + 4}" width="{length:.1f}" height="{_ROW - 8}"/>',
        _text(left + length + 6, _baseline(row), number, kind),
    ]


def _baseline(row: int) -> int:
    return _TOP + row * _ROW + _ROW // 2 + 4


def _class(name: str, marked: Set[str]) -> str:
    return "own" if name in marked else ""


def _text(x: float, y: float, text: str, kind: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
