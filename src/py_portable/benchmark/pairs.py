"""The order of the starts, and the statistics of their times. Pure.

A machine's speed drifts by tens of percent within a minute, so a time by itself says little. Two starts right after
each other see the same machine: their ratio is what is kept, one for each pair, and which of the two goes first
alternates, so that what favours the second one cancels out.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95
SAME_CONFIDENCE = 0.99
"""For the comparison of a thing with itself: a quiet machine is called noisy in at most one of a hundred runs."""
MOST_SPREAD = 0.1
"""The largest half interval of a thing compared with itself. Above it, a run shows nothing about interesting
differences."""
LEAST_PAIRS = 8
"""The smallest number of values whose extremes bound a median with SAME_CONFIDENCE."""


@dataclass(frozen=True)
class Turn:
    """One pair: who is compared with its reference, and whether the reference goes first."""

    who: int
    reference_first: bool


def schedule(contenders: int, pairs: int, seed: int = 0) -> Iterator[tuple[Turn, ...]]:
    """`pairs` rounds; in each, every contender has one pair. The order in a round is drawn from `seed`.

    Each contender goes first in every other round, and where contenders are next to each other, they alternate
    between the orders too.
    """
    draw = random.Random(seed)
    for number in range(pairs):
        order = list(range(contenders))
        draw.shuffle(order)
        yield tuple(Turn(who, (number + who) % 2 == 0) for who in order)


@dataclass(frozen=True)
class Estimate:
    """A median, and an interval that holds the true median with at least the confidence that was asked for."""

    median: float
    low: float
    high: float

    @property
    def inverse(self) -> Estimate:
        return Estimate(1 / self.median, 1 / self.high, 1 / self.low)

    @property
    def spread(self) -> float:
        """Half the interval."""
        return (self.high - self.low) / 2

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high

    def told(self, digits: int = 4) -> dict[str, float]:
        return {name: round(getattr(self, name), digits) for name in ("median", "low", "high")}


def estimate(values: Sequence[float], confidence: float = CONFIDENCE) -> Estimate:
    """The median with its order-statistic (sign test) interval.

    It assumes nothing of how times are distributed: of n independent values, the number that lies below the true
    median is binomial (n, 1/2). Conservative: the confidence is reached or exceeded. See Hollander, Wolfe and
    Chicken, Nonparametric Statistical Methods, chapter 3. Raises ValueError for too few values.
    """
    rank = order_rank(len(values), confidence)
    if rank < 1:
        raise ValueError(f"{len(values)} values are too few for a confidence of {confidence:g}")
    ordered = sorted(values)
    return Estimate(statistics.median(ordered), ordered[rank - 1], ordered[-rank])


def noise(same: Estimate) -> str | None:
    """Why the ratio of a thing with itself shows that its run cannot be trusted; None if it can."""
    if not same.holds(1.0):
        return "without 1"
    if same.spread > MOST_SPREAD:
        return f"wider than ± {MOST_SPREAD:g}"
    return None


def order_rank(count: int, confidence: float) -> int:
    """The largest r for which the r-th lowest and the r-th highest value bound the median; 0 where none does."""
    tail, rank = 0, 0
    # In whole numbers: 2 * P(fewer than r below the median) <= 1 - confidence.
    allowed = math.floor((1 - confidence) / 2 * 2**count * (1 + 1e-12))
    while rank < count // 2:
        tail += math.comb(count, rank)
        if tail > allowed:
            break
        rank += 1
    return rank


def ratios(times: Sequence[float], references: Sequence[float]) -> list[float]:
    """Each time divided by the other time of its pair."""
    return [time / reference for time, reference in zip(times, references, strict=True)]


def sentence(name: str, reference: str, ratio: Estimate) -> str:
    """A line as hyperfine prints it, with the faster one first; `±` is half the interval of the ratio."""
    if ratio.holds(1.0):
        return f"{name} and {reference}: no difference seen ({ratio.median:.2f} ± {ratio.spread:.2f})"
    fast, slow, times = (name, reference, ratio.inverse) if ratio.high < 1 else (reference, name, ratio)
    return f"{fast} ran {times.median:.2f} ± {times.spread:.2f} times faster than {slow}"
