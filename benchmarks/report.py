"""Tables and budgets, as Markdown."""

from collections.abc import Sequence

from attrs import field, frozen

from benchmarks.stats import Series


@frozen
class Table:
    title: str
    text: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        lines = [self.head, ["---", *("---:" for _ in self.head[1:])], *self.rows]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return "\n\n".join(filter(None, [f"## {self.title}", self.text, table]))


@frozen
class Budget:
    """A limit of DESIGN.md's, and what was measured."""

    what: str
    limit: float
    measured: Series
    unit: str = ""

    @property
    def holds(self) -> bool:
        return not self.measured.failure and self.measured.median <= self.limit

    def row(self) -> list[str]:
        verdict = "yes" if self.holds else "**no**"
        return [self.what, f"{self.limit:g}{self.unit}", self._shown(), verdict]

    def _shown(self) -> str:
        if self.measured.failure:
            return self.measured.failure
        low, high = self.measured.middle
        return f"{self.measured.median:.2f}{self.unit} ({low:.2f} to {high:.2f})"


@frozen
class Section:
    """What one benchmark found."""

    tables: Sequence[Table] = ()
    budgets: Sequence[Budget] = ()
    chart: str = field(default="", repr=False)  # SVG
    summary: Table | None = None  # what to read first


def budget_table(budgets: Sequence[Budget]) -> Table:
    return Table(
        "Budgets",
        "Each is the median of the rounds, with what the middle half of them lies between; a ratio is taken within a "
        "round.",
        ("what", "budget", "measured", "holds"),
        [budget.row() for budget in budgets],
    )


def cell(cost: Series, base: Series | None = None) -> str:
    """A cost in µs and, against `base`, its ratio."""
    if cost.failure:
        return cost.failure
    number = f"{cost.median:,.0f}" if cost.median >= 10 else f"{cost.median:.2f}"
    if base is None or base.failure or base is cost:
        return number
    return f"{number} ({(cost / base).median:.2f})"
