"""Delivers an outbox: its rows to ``POST /track``, each exactly once or reported as unknown.

Profiles, groups and memberships are upserts: sending one twice changes nothing, so they are retried. Events and
counters are not: their intent is written down before the request, and what got no clear answer is never sent again by
itself; what never left, or met the rate limit, is. What was sent is remembered by content, so a second run sends only
what changed. This module writes no tables (``journal.py`` does) and decides no schedule.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connector.errors import ConnectorError, SettingsError
from connector.openpanel.track.journal import Journal, Outcome, journal, remember, remembered
from connector.openpanel.track.plan import Message, Outbox, plan
from connector.openpanel.track.sender import Track
from connector.privacy.forget import is_forgotten
from connector.redaction import excerpt
from connector.warehouse.connection import Warehouse

__all__ = ["Delivery", "Track", "deliver", "describe", "describe_outcome"]


@dataclass(frozen=True)
class Delivery:
    """What a run did: rows by outcome.

    Attributes:
        forgotten: rows of people who are to be forgotten; they are not sent.
        verified: rows that were seen stored afterwards, of those sent.
    """

    sent: int
    unchanged: int
    rejected: int
    failed: int
    unknown: int
    forgotten: int = 0
    verified: int = 0


def deliver(
    outbox: Outbox,
    track: Track,
    *,
    warehouse: Warehouse,
    folder: Path,
    dry_run: Callable[[Message], None] | None = None,
    tell: Callable[[Outcome], None] | None = None,
) -> Delivery:
    """Send the rows that changed since the last run.

    Args:
        warehouse: holds the rows, and remembers what was sent in ``connector.sent`` and ``connector.rejected``.
        folder: for the journal that survives a kill.
        dry_run: gets every message instead of the vendor; nothing is sent or remembered.
        tell: gets every outcome as it comes; in a dry run, that of each row that would be rejected.

    Raises:
        BusyError: another run is sending this outbox.
        RejectedError: the credentials are refused; rows sent until then are recorded.
        SettingsError: the outbox's query fails.
    """
    with journal(folder, outbox.name) as book:
        if not dry_run:  # what a killed run left
            _settle_accounts(warehouse, outbox, book, fates=track.fates(book.open_steps()))
        gone, rows = is_forgotten(warehouse), list(_rows(warehouse, outbox))
        left = [row for row in rows if not gone(str(row.get("profile_id") or ""))]
        chosen = plan(outbox, left, remembered(warehouse, outbox.name))
        for outcome in chosen.refused:
            if tell:
                tell(outcome)
        if dry_run:
            for message in chosen.messages:
                dry_run(message)
            return Delivery(0, chosen.unchanged, len(chosen.refused), 0, 0, len(rows) - len(left))
        verified = track.verified
        try:
            track.send(outbox, chosen.messages, book, tell=tell)
        finally:
            outcomes = _settle_accounts(warehouse, outbox, book, chosen.refused)
        count = Counter(outcome.status for outcome in outcomes)
        return Delivery(
            count["sent"],
            chosen.unchanged,
            count["rejected"],
            count["failed"],
            count["unknown"],
            len(rows) - len(left),
            track.verified - verified,
        )


def _settle_accounts(
    warehouse: Warehouse,
    outbox: Outbox,
    book: Journal,
    refused: Sequence[Outcome] = (),
    fates: Mapping[str, Outcome | None] | None = None,
) -> Sequence[Outcome]:
    noted = ((fates or {}).get(one.key, one) for one in book.outcomes())
    outcomes = [*refused, *(one for one in noted if one)]
    if outcomes:
        remember(warehouse, outbox.name, outcomes)
    book.clear()
    return outcomes


def _rows(warehouse: Warehouse, outbox: Outbox) -> Iterator[dict[str, Any]]:
    try:
        with warehouse.read() as connection:
            cursor = connection.execute(outbox.query)
            names = [column[0] for column in cursor.description]
            rows = cursor.fetchall()
    except ConnectorError:
        raise
    except Exception as fault:  # noqa: BLE001  the user's query may raise any error of DuckDB
        raise SettingsError(
            f"outbox {outbox.name}.query", f"fails: {excerpt(str(fault), 200)}", next_step="try it in the warehouse."
        ) from None
    return (dict(zip(names, row, strict=True)) for row in rows)


def describe(message: Message) -> str:
    """One line of a dry run."""
    return f"{', '.join(message.keys)}: {json.dumps(message.body, ensure_ascii=False)}"


def describe_outcome(outcome: Outcome) -> str:
    """One line about a row that is not sent."""
    return f"{excerpt(outcome.key, 80)}: {outcome.status}: {outcome.said}"
