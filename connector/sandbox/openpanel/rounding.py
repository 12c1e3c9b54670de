"""Sums, averages and percentages, rounded as the vendor rounds them.

A whole number is always written without a fraction.
"""

import math
from collections.abc import Iterable, Sequence

Number = float | int


def plain(value: Number) -> Number:
    """A whole number as an integer: ``46.0`` is written ``46``."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def rounded(value: Number, digits: int = 2) -> Number:
    """Rounded half up."""
    factor = 10**digits
    return plain(math.floor((value + 2**-52) * factor + 0.5) / factor)


def total(values: Iterable[Number]) -> Number:
    """The sum, rounded to cents."""
    return rounded(sum(values))


def mean(values: Sequence[Number]) -> Number:
    """The average of the values that are not zero."""
    kept = [value for value in values if value]
    return plain(sum(kept) / len(kept)) if kept else 0


def share(part: Number, whole: Number) -> Number:
    """A percentage with two decimals."""
    return plain(round(part * 100 / whole, 2)) if whole else 0


def seconds(milliseconds: Sequence[int]) -> Number | None:
    """The average of the positive values, in seconds; None if there is none."""
    kept = [value for value in milliseconds if value > 0]
    return plain(round(sum(kept) / len(kept), 2) / 1000) if kept else None
