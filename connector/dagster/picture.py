"""A landed day as a small picture: events per hour as bars, the usual day as a line across them.

A count says how much, a picture says whether it looks like a day. Drawn from numbers alone; nothing is opened here.
"""

import base64
from collections.abc import Callable, Sequence

from connector.receipts import Hours

_WIDTH, _HEIGHT, _STEP, _LABELS = 480, 96, 20, 14
_BARS, _USUAL, _TEXT = "#4f6bed", "#e8832a", "#8a8f98"


def picture(hours: Hours) -> str:
    """Markdown with the picture inside it, and a sentence for whoever cannot see it."""
    svg = base64.b64encode(_drawn(hours).encode()).decode()
    return f"![events per hour](data:image/svg+xml;base64,{svg})\n\n{sentence(hours)}"


def sentence(hours: Hours) -> str:
    """The day in words: how much, compared with the usual, and when most came."""
    total, usual = sum(hours.counts), sum(hours.usual)
    if not total:
        return "no events" + (f"; usually {usual:,.0f}" if usual else "")
    busiest = max(range(24), key=lambda hour: hours.counts[hour])
    compared = f", {total / usual:.0%} of the usual {usual:,.0f} ({hours.days} days before)" if usual else ""
    return f"{total:,} events{compared}; most between {busiest:02}:00 and {busiest + 1:02}:00 UTC"


def _drawn(hours: Hours) -> str:
    top = max(*hours.counts, *hours.usual, 1)
    floor = _HEIGHT - _LABELS

    def height(value: float) -> float:
        return round(value / top * (floor - 4), 1)

    bars = "".join(
        f'<rect x="{hour * _STEP + 2}" y="{floor - height(count)}" width="{_STEP - 4}" height="{height(count)}"/>'
        for hour, count in enumerate(hours.counts)
    )
    labels = "".join(f'<text x="{hour * _STEP + 2}" y="{_HEIGHT - 3}">{hour:02}</text>' for hour in range(0, 24, 6))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}">'
        f'<g fill="{_BARS}">{bars}</g>{_line(hours.usual, floor, height) if hours.days else ""}'
        f'<g fill="{_TEXT}" font-family="sans-serif" font-size="10">{labels}'
        f'<text x="{_WIDTH - 2}" y="10" text-anchor="end">{top:,.0f}</text></g></svg>'
    )


def _line(usual: Sequence[float], floor: int, height: Callable[[float], float]) -> str:
    points = " ".join(
        f"{x},{floor - height(value)}" for hour, value in enumerate(usual) for x in (hour * _STEP, (hour + 1) * _STEP)
    )
    return f'<polyline points="{points}" fill="none" stroke="{_USUAL}" stroke-width="1.5"/>'
