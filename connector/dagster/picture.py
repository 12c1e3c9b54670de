"""A landed day as a small picture: events per hour as bars, the usual day as a line across them.

A count says how much, a picture says whether it looks like a day. Drawn from numbers alone; nothing is opened here.
"""

from collections.abc import Sequence
from itertools import pairwise
from urllib.parse import quote

from connector.warehouse.coverage import Hours

# The UI shows longer Markdown only after a click, so the drawing is kept short.
SHOWN_AT_ONCE = 1000
_STEP, _BAR, _FLOOR = 20, 16, 82
_BARS, _USUAL, _TEXT = "#4f6bed", "#e8832a", "#8a8f98"
# Hours 0, 6, 12 and 18, digit by digit.
_LABELS = f"<text x='0 120 240 246 360 366' y='95' font-size='10' fill='{_TEXT}'>061218</text>"


def picture(hours: Hours) -> str:
    """Markdown with the picture inside it, and the same in a sentence."""
    drawn = quote(_drawn(hours), safe=" '/:=-,.")
    # A line for each half: the UI does not wrap a table's cell.
    return f"![events per hour](<data:image/svg+xml,{drawn}>)\n\n" + sentence(hours).replace("; ", "\n\n")


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
    bars, usual = ([round(value / top * (_FLOOR - 4)) for value in values] for values in (hours.counts, hours.usual))
    line = f"<path d='{_line(usual)}' fill='none' stroke='{_USUAL}'/>" if hours.days else ""
    return (
        "<svg xmlns='http://www.w3.org/2000/svg' width='480' height='96'>"
        f"<path d='{_bars(bars)}' fill='{_BARS}'/>{line}{_LABELS}</svg>"
    )


def _bars(heights: Sequence[int]) -> str:
    gap = _STEP - _BAR
    return f"M2 {_FLOOR}" + "".join(
        f"v-{height}h{_BAR}v{height}h{gap}" if height else f"h{_STEP}" for height in heights
    )


def _line(heights: Sequence[int]) -> str:
    steps = (f"v{before - after}h{_STEP}" if before != after else f"h{_STEP}" for before, after in pairwise(heights))
    return f"M0 {_FLOOR - heights[0]}h{_STEP}" + "".join(steps)
