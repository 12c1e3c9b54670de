"""Proves that the pages of one day are complete and fit together, or tells why they do not."""

from collections.abc import Sequence

from connector.errors import ContractError, IncompleteError
from connector.openpanel.event_page import EventPage
from connector.stream import Page

# A billion rows a day at a thousand a page.
MOST_PAGES = 1_000_000


class RepeatedIdError(IncompleteError):
    """Ids came twice although the total did not change: rows shifted between pages, or the server stores repeats.

    Attributes:
        fingerprint: of all ids in order; give it to the next reading as ``settled``.
    """

    def __init__(self, *, where: str, announced: int, received: int, fingerprint: str, because: str = "") -> None:
        because = because or f"{announced - received} ids came twice"
        super().__init__(where=where, announced=announced, received=received, because=because, fingerprint=fingerprint)


class DayProof:
    """Checks every page of a reading against the total of the first page, and looks for repeated ids.

    The vendor sends the newest rows first. So a repeated row breaks the order of times, or its id is among those of
    the newest millisecond of its page. Only these are kept, and a million rows take no memory. If the order breaks, the
    second reading keeps all ids, for a server that does not sort.

    Two rows with the same id and time are neighbours if rows have an order. Elsewhere they mean that rows with the same
    time have no order (servers before 2026-03-03), so a page may have left out others. A second reading does not
    excuse that.
    """

    def __init__(self, total: int, size: int, where: str, settled: str | None) -> None:
        self.total, self.size, self.where, self._settled = total, size, where, settled
        self.pages = -(-total // size)
        if self.pages > MOST_PAGES:
            raise ContractError(
                f"the server counts {total} rows, which would be {self.pages} pages",
                where=where,
                next_step="no day is so large: report the count with the server's version.",
            )
        self.received = 0
        # The last id of a page is also the first of the next: stored twice, or a row that shifted by one.
        self.repeat_at_edge = False
        self._last_time, self._last_key = "", ""
        self._tied: set[str] = set()
        self._seen: set[int] | None = None if settled is None else set()
        self._moments: set[int] = set()
        self._repeats = self._repeats_in_moment = 0
        self.last_keys: Sequence[str] = ()
        self._fingerprint = 0

    def accept(self, answer: EventPage) -> Page:
        """The next page of the reading, checked.

        Raises:
            IncompleteError: the total changed, or the page has another number of rows than the total requires.
        """
        meta, rows, number = answer.meta, answer.rows, answer.number
        if meta.total != self.total:
            raise self.incomplete(meta.total, "the total moved while we read")
        expected = min(self.size, max(0, self.total - (number - 1) * self.size))
        if len(rows.keys) != expected or (meta.count is not None and meta.count != len(rows.keys)):
            raise self.incomplete(
                self.total, f"page {number} holds {len(rows.keys)} rows where {expected} were due", len(rows.keys)
            )
        if rows.keys:
            self._look_for_repeats(rows.keys, rows.times)
        self.last_keys = rows.keys
        self.received += len(rows.keys)
        return Page(
            number=number,
            of=self.pages,
            rows=len(rows.keys),
            announced=self.total,
            body=rows.body,
            strangers=rows.strangers,
            misfits=rows.misfits,
            warnings=answer.warnings,
        )

    @property
    def is_full(self) -> bool:
        """Whether the last page is full, so that one more row would be on another page."""
        return self.total > 0 and self.total % self.size == 0

    def _look_for_repeats(self, keys: Sequence[str], times: Sequence[str]) -> None:
        """Count ids that repeat on different pages. On one page they come from one query, so they are stored twice."""
        self._fingerprint = hash((self._fingerprint, tuple(keys)))
        edge = keys[0] == self._last_key
        self.repeat_at_edge |= edge
        if self._seen is not None:
            marks = set(map(hash, keys))
            self._repeats += len(marks & self._seen) - edge
            self._seen |= marks
            moments = set(map(hash, zip(keys, times, strict=True)))
            self._repeats_in_moment += len(moments & self._moments) - (edge and times[0] == self._last_time)
            self._moments |= moments
        else:
            if self._last_time and times[0] > self._last_time:
                self._repeats += 1
            elif times[0] == self._last_time:
                ties = {key for key, time in zip(keys, times, strict=True) if time == self._last_time}
                self._repeats_in_moment += len(ties & self._tied) - edge
            self._repeats += list(times) != sorted(times, reverse=True)
            if times[0] != times[-1] or times[-1] != self._last_time:
                self._tied = set()
            self._tied |= {key for key, time in zip(keys, times, strict=True) if time == times[-1]}
        self._last_time, self._last_key = times[-1], keys[-1]

    def no_repeats(self) -> None:
        """Check that no id repeats, unless an earlier reading saw exactly the same.

        Raises:
            RepeatedIdError: ids repeat on different pages.
        """
        fingerprint = f"{self.total}:{self._fingerprint:x}"
        if self._repeats_in_moment or (self._repeats and fingerprint != self._settled):
            because = ""
            if self._repeats_in_moment and fingerprint == self._settled:
                because = (
                    f"{self._repeats_in_moment} ids of one moment are on two pages each time: OpenPanel before "
                    "2026-03-03 gives rows of one moment no order, in which case the server must be updated"
                )
            raise RepeatedIdError(
                where=self.where,
                announced=self.total,
                received=max(self.total - max(self._repeats, self._repeats_in_moment), 0),
                fingerprint=fingerprint,
                because=because,
            )

    def incomplete(self, announced: int, because: str, more: int = 0) -> IncompleteError:
        return IncompleteError(where=self.where, announced=announced, received=self.received + more, because=because)
