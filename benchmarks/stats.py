"""Rounds, medians and ratios.

Everything that is compared is measured in turn, round after round, so that what slows the machine down for a while
slows all down alike. Ratios are taken within a round, and their median is what counts.
"""

import sys
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from statistics import median, quantiles
from typing import TypeVar

from attrs import define, field, frozen

K = TypeVar("K", bound=Hashable)


@frozen
class Mode:
    """How long to measure.

    share: of the usual number of calls in a round.
    in_flight: so many calls at once make clients that no budget names, at most.
    patience: seconds after which a thing is left out of further rounds; those with it are compared in fewer.
    """

    rounds: int = 7
    share: float = 1.0
    in_flight: int = 1000
    patience: float = 15.0

    def calls(self, usual: int) -> int:
        return max(1, int(usual * self.share))


QUICK = Mode(rounds=3, share=0.25, in_flight=100, patience=2.0)


class Failed(Exception):  # noqa: N818  # a result
    """A measurement that gave no number, and why."""


@define
class Series:
    """What one thing measured, round by round; `failure` ends it."""

    values: list[float] = field(factory=list)
    failure: str = ""

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def middle(self) -> tuple[float, float]:
        """What the middle half of the rounds lies between."""
        if len(self.values) < 2:
            return (self.values[0], self.values[0])
        low, _, high = quantiles(self.values, n=4, method="inclusive")
        return (low, high)

    def __truediv__(self, other: "Series") -> "Series":
        """The ratios, round by round."""
        return self._paired(other, lambda mine, theirs: mine / theirs)

    def __sub__(self, other: "Series") -> "Series":
        return self._paired(other, lambda mine, theirs: mine - theirs)

    def __mul__(self, factor: float) -> "Series":
        return Series([value * factor for value in self.values], self.failure)

    def _paired(self, other: "Series", combine: Callable[[float, float], float]) -> "Series":
        failure = self.failure or other.failure
        return Series([] if failure else list(map(combine, self.values, other.values)), failure)


def interleave(mode: Mode, runs: Mapping[K, Callable[[], float]]) -> dict[K, Series]:
    """Run each once a round, every other round in reverse; one that failed or took too long does not run again."""
    results = {key: Series() for key in runs}
    spent = dict.fromkeys(runs, 0.0)
    for number in range(mode.rounds):
        print(f"  round {number + 1} of {mode.rounds}", file=sys.stderr, flush=True)
        for key in _in_turn(list(runs), number):
            if results[key].failure or spent[key] > mode.patience:
                continue
            started = time.monotonic()
            try:
                results[key].values.append(runs[key]())
            except Failed as failed:
                results[key].failure = str(failed)
            spent[key] += time.monotonic() - started
    return results


def _in_turn(keys: Sequence[K], number: int) -> Sequence[K]:
    return keys if number % 2 == 0 else keys[::-1]
