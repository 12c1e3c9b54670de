"""A few landed rows as a Markdown table, for people who want to see that it is really their data.

The rows come with the receipt, from the landing's own connection; nothing here opens the warehouse.
"""

from collections.abc import Mapping, Sequence

from connector.errors import excerpt
from connector.stream import Receipt

WIDTH = 40


def preview(receipt: Receipt) -> str:
    """The receipt's sample as a table; a sentence where the day has no rows."""
    return rows_as_table(receipt.sample)


def rows_as_table(sample: Sequence[Mapping[str, str | None]]) -> str:
    """Rows as a Markdown table; a sentence where there are none."""
    if not sample:
        return "no rows on this day"
    columns = list(sample[0])
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(_cell(value) for value in row.values()) + " |" for row in sample]
    return "\n".join(lines)


def _cell(value: str | None) -> str:
    return "" if value is None else excerpt(value, WIDTH).replace("|", "\\|").replace("<", "&lt;")
