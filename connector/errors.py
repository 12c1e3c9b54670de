"""Every way the connector can fail, named by what the caller should do next.

* ConnectorError
  x TransientError      wait and retry
    + IncompleteError   the day arrived, but not whole; the old day is still in place
    + BusyError         another process holds a lock for longer than we were told to wait
    + InProgressError   the vendor is still working on our request; nothing is lost, ask again later
  x RejectedError       a rerun gets the same answer: credentials, plan or parameters
    + SettingsError     the answer is known before the first request: a setting is missing or malformed
  x ContractError       the answer does not have the promised shape: a person should look
    + SuddenDropError   the day shrank in a way that looks like a fault of the source
    + UndatedError      some rows of an export have no time that a day could hold

This module decides no policy: each caller decides what it retries.
"""

from connector.redaction import excerpt


class ConnectorError(Exception):
    """What went wrong, where, and what to do next: the three parts of every message.

    Attributes:
        what: the fact, with the received and the valid value.
        where: the text an operator searches for, such as ``openpanel.events[2026-03-04]``.
        next_step: one instruction.
    """

    def __init__(self, what: str, *, where: str, next_step: str) -> None:
        self.what, self.where, self.next_step = excerpt(what, 700), excerpt(where), excerpt(next_step, 700)
        super().__init__(f"{self.where}: {self.what} Next: {self.next_step}")


class TransientError(ConnectorError):
    """The same request may succeed later: network, overload, rate limit.

    Attributes:
        unsent: the vendor certainly received nothing: no connection was made, or the rate limit refused the request.
    """

    def __init__(self, what: str, *, where: str, next_step: str, unsent: bool = False) -> None:
        super().__init__(what, where=where, next_step=next_step)
        self.unsent = unsent


class IncompleteError(TransientError):
    """A day was read, but cannot be proven whole; the rows landed before are still in place.

    Attributes:
        announced: the vendor's count of rows for the day.
        received: rows that can be trusted.
        because: the reason, without the numbers.
        fingerprint: identifies the sequence of ids that was read, if repeated ids are the only problem. A second
            reading with the same fingerprint proves that the vendor stores these repeats. Otherwise None.
    """

    def __init__(
        self,
        *,
        where: str,
        announced: int,
        received: int,
        because: str = "",
        fingerprint: str | None = None,
        next_step: str = "rerun the partition; if it repeats, rows still arrive for this day: widen the lookback.",
    ) -> None:
        super().__init__(
            f"the vendor announced {announced} rows and sent {received}{': ' + because if because else ''}.",
            where=where,
            next_step=next_step,
        )
        self.announced, self.received, self.because, self.fingerprint = announced, received, because, fingerprint


class BusyError(TransientError):
    """Another process kept the warehouse, an export or an outbox locked for longer than we were told to wait."""


class InProgressError(TransientError):
    """The vendor is still working on our request. The request is remembered, so the next call continues it."""


class RejectedError(ConnectorError):
    """The vendor understood the request and refused it; a retry changes nothing.

    Attributes:
        status: HTTP status of the refusal; None if no request was sent.
    """

    def __init__(self, what: str, *, where: str, next_step: str, status: int | None = None) -> None:
        super().__init__(what, where=where, next_step=next_step)
        self.status = status

    @property
    def concerns_all(self) -> bool:
        """Whether the credentials or a setting are refused, so that every other request of the vendor's would be."""
        return isinstance(self, SettingsError) or self.status in (401, 403)


class SettingsError(RejectedError):
    """A setting is missing or malformed; the message names the variable."""

    def __init__(self, variable: str, problem: str, *, next_step: str) -> None:
        super().__init__(f"{variable} {problem}.", where="settings", next_step=next_step)
        self.variable = variable


class ContractError(ConnectorError):
    """The answer does not have the shape the vendor promised; nothing was landed from it."""


class SuddenDropError(ContractError):
    """A day that had rows came back empty or much smaller; the landed rows are still in place."""

    def __init__(self, *, where: str, landed: int, received: int) -> None:
        super().__init__(
            f"the day holds {landed} landed rows and the vendor now sends {received}.",
            where=where,
            next_step="look at the vendor's own count for this day; if the drop is real, land the day once more "
            "with --allow-drop (command line) or the run tag connector/allow_drop: true (Dagster).",
        )
        self.landed, self.received = landed, received


class UndatedError(ContractError):
    """Some rows of an export have no usable time, so no day can hold them; the landed rows are still in place."""

    def __init__(self, *, where: str, column: str, rows: int, places: str) -> None:
        super().__init__(
            f"{rows} rows have no usable {column}, so no day can hold them: {places}",
            where=where,
            next_step="report the rows to the vendor; to land all others and count these, allow it once: "
            "--allow-undated (command line) or the run tag connector/allow_undated: true (Dagster).",
        )
        self.rows = rows
