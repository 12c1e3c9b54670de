"""Sends the requests for reports, and checks that the answers are JSON of the expected shape."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from connector.errors import ContractError
from connector.http.client import Http
from connector.meter import Meter
from connector.openpanel.encoding import segment
from connector.records.fit import parsed
from connector.redaction import excerpt
from connector.stream import Stream

Row = dict[str, object]


@dataclass(frozen=True)
class ReportRows:
    """The rows of one answer, and a warning for readers of the table."""

    rows: Sequence[Row]
    warning: str = ""


@dataclass(frozen=True)
class ReportRequest:
    """One local day of a stream to read, with its meter; ``part`` names a chart or a funnel in messages."""

    stream: Stream
    day: date
    meter: Meter | None
    part: str = ""

    @property
    def where(self) -> str:
        return f"{self.stream.partition(self.day)} {self.part}".rstrip()

    def of(self, part: str) -> "ReportRequest":
        """The same day of one chart or funnel."""
        return replace(self, part=part)


class ReportApi:
    """The requests of one project.

    Args:
        http: sends the requests.
        project_id: the project.
    """

    def __init__(self, http: Http, project_id: str) -> None:
        self._http, self.project_id = http, project_id

    def head(self, request: ReportRequest) -> Row:
        """The columns that every row of a day has."""
        return {"projectId": self.project_id, "date": request.day.isoformat()}

    def path(self, path: str, dimension: str = "") -> str:
        """A path of the catalogue for this project."""
        return path.format(project=segment(self.project_id), dimension=dimension)

    def list_of(self, path: str, params: Sequence[tuple[str, str]], request: ReportRequest) -> list[Row]:
        """An answer that must be a list of objects."""
        answer = self.get(path, params, request)
        if not isinstance(answer, list) or not all(isinstance(row, dict) for row in answer):
            raise wrong_shape(path, "a list of objects", answer, request.where)
        return answer

    def get(self, path: str, params: Sequence[tuple[str, str]], request: ReportRequest) -> Any:
        """An answer's JSON."""
        return self.fetch(path, params, request.where, request.meter)

    def fetch(self, path: str, params: Sequence[tuple[str, str]], where: str, meter: Meter | None = None) -> Any:
        """An answer's JSON.

        Raises:
            ContractError: it is not JSON.
        """
        body = self._http.get(path, params, where=where, meter=meter)
        try:
            return parsed(body)
        except (ValueError, RecursionError) as fault:
            raise wrong_shape(path, "JSON", str(fault), where) from None


def merged(*parts: Mapping[Any, Any]) -> Row:
    """Parts of an answer as one row; of equal keys, the last counts."""
    return {str(key): value for part in parts for key, value in part.items()}


def wrong_shape(path: str, expected: str, got: object, where: str) -> ContractError:
    """The error for an answer of another shape than promised."""
    return ContractError(
        f"{path} should answer {expected} and answered {excerpt(json.dumps(got, default=str), 160)}",
        where=where,
        next_step="check OPENPANEL_API_URL; if it is right, the server's format changed: report this message.",
    )
