"""The client of one OpenPanel project: credentials, request budget, and the reader of each stream.

The readers are in ``events.py`` (events) and ``reports/`` (insights, charts, funnels).
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from connector.catalogue.openpanel import EVENTS, EventsQuery
from connector.errors import SettingsError
from connector.http.budget import Budget, SharedBudget, Unlimited
from connector.http.client import Http
from connector.http.connection import Closing, Transport
from connector.meter import Meter
from connector.openpanel.events import EventPages
from connector.openpanel.settings import OpenPanelSettings
from connector.settings import Secret, checked_url
from connector.stream import Page, Stream

# Imported when they are needed: a process that only reads events does not load reports, rules and Track.
if TYPE_CHECKING:
    from connector.openpanel.reports.read import Reports
    from connector.openpanel.track.send import Track
    from connector.privacy.policy import Privacy

# Requests at the same time. Eight pages of events keep one core busy. Answers of reports are small and cost mostly
# waiting. More of either gain nothing, because the limit is 100 requests in 10 seconds.
PAGES_AT_ONCE, REPORTS_AT_ONCE = 8, 16

_ADVICE = {
    401: "check OPENPANEL_CLIENT_ID and OPENPANEL_CLIENT_SECRET; the client must be of type read or root.",
    403: "this client belongs to another project: check OPENPANEL_PROJECT_ID, or use a root client.",
    404: "check OPENPANEL_PROJECT_ID, and OPENPANEL_API_URL: a self-hosted API usually lives below /api.",
    431: "the request line is too long: ask for fewer event names at once.",
    500: "OpenPanel also answers 500 to a parameter it cannot read. If it repeats: check the parameters named here, "
    "then the server's log (its event store may be down).",
}


class OpenPanel(Closing):
    """One OpenPanel project, read through its Export and Insights APIs.

    Args:
        url: base URL; may carry a path prefix.
        client_id, client_secret: a ``read`` or ``root`` client. The secret is sent in one header only.
        project_id: the project to read.
        timezone: the organization's timezone, for insights and charts.
        privacy: rules for what is dropped or hashed in every page; None for no rules.
        budget: the request budget; by default shared with every process that uses the same client id.
        timeout, deadline: seconds without a byte, and seconds for one whole answer.
        sleep, transport: replaced in tests.

    Raises:
        SettingsError: the client id is not a UUID, or the URL is not allowed.
    """

    def __init__(
        self,
        *,
        url: str = "https://api.openpanel.dev",
        client_id: str,
        client_secret: str | Secret,
        project_id: str,
        timezone: str = "UTC",
        privacy: "Privacy | None" = None,
        budget: Budget | None = None,
        timeout: float = 60.0,
        deadline: float = 600.0,
        sleep: Callable[[float], None] = time.sleep,
        transport: Transport | None = None,
    ) -> None:
        # The server compares ids as texts in lower case.
        client_id = client_id.strip().lower()
        if not re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", client_id):
            raise SettingsError(
                "OPENPANEL_CLIENT_ID", "is not a UUID", next_step="copy the client id from the project's settings."
            )
        secret = client_secret if isinstance(client_secret, Secret) else Secret(client_secret)
        url = checked_url("OPENPANEL_API_URL", url)
        self.project_id, self.timezone, self.privacy = project_id, timezone, privacy

        def http(budget: Budget) -> Http:
            return Http(
                url,
                headers={"openpanel-client-id": client_id, "openpanel-client-secret": secret.reveal()},
                budget=budget,
                advice=_ADVICE,
                setting="OPENPANEL_API_URL",
                connections=REPORTS_AT_ONCE,
                timeout=timeout,
                deadline=deadline,
                sleep=sleep,
                transport=transport,
            )

        # Export and Insights share one request budget for each client id. Track has no limit.
        self._http = http(budget or SharedBudget(f"{url} {client_id}"))
        self._track_http: Callable[[], Http] = lambda: http(Unlimited())
        self._events = EventPages(self._http, project_id, at_once=PAGES_AT_ONCE)

    @classmethod
    def from_settings(cls, settings: OpenPanelSettings) -> "OpenPanel":
        return cls(
            url=settings.api_url,
            client_id=settings.client_id,
            client_secret=settings.client_secret,
            project_id=settings.project_id,
            timezone=settings.timezone,
            privacy=settings.privacy,
        )

    def close(self) -> None:
        self._http.close()

    @property
    def last_headers(self) -> Mapping[str, str]:
        """The headers of the last answer; empty before the first."""
        return self._http.last_headers

    def count_day(self, stream: Stream, day: date, *, meter: Meter | None = None) -> int:
        """The vendor's own count of rows for one day of a ``counted`` stream; see :class:`EventPages`."""
        reader = self._events if isinstance(stream.query, EventsQuery) else self.reports
        return reader.count_day(stream, day, meter=meter)

    def read_day(
        self, stream: Stream, day: date, *, settled: str | None = None, meter: Meter | None = None
    ) -> Iterator[Page]:
        """One complete day of any stream; see :class:`EventPages` and :class:`Reports`."""
        if isinstance(stream.query, EventsQuery):
            pages = self._events.read_day(stream, day, settled=settled, meter=meter)
        else:
            pages = self.reports.read_day(stream, day, meter=meter)
        return self.privacy.pages(stream, pages) if self.privacy else pages

    def verify_timezone(self) -> None:
        """Refuse a timezone that is not the organization's. A project without an event today tells nothing.

        Raises:
            SettingsError: OPENPANEL_TIMEZONE is not the organization's timezone.
        """
        self.reports.verify(None, "openpanel")

    def describe(self) -> bytes:
        """The server's OpenAPI description, which tells its version; old servers answer 404, a RejectedError."""
        return self._http.get("/documentation/json", where="openpanel")

    @cached_property
    def reports(self) -> "Reports":
        """Insights and charts for any period, as answered."""
        from connector.openpanel.reports.read import Reports

        return Reports(
            self._http, self.project_id, self.timezone, at_once=REPORTS_AT_ONCE, newest_today=self._newest_today
        )

    @contextmanager
    def track(self, **options: Any) -> Iterator["Track"]:
        """Sends rows back, on a connection of its own; options as for ``track.sender.Track``."""
        from connector.openpanel.track.profiles import Profiles
        from connector.openpanel.track.sender import Track  # and with it the journal, which readers do not need

        with self._track_http() as http:
            profiles = Profiles(self._http, self.project_id)
            yield Track(http, profiles=profiles, project=f"{http.base_url} {self.project_id}", **options)

    def _newest_today(self, meter: Meter | None, where: str) -> datetime | None:
        """Ask Export, which refuses a client of another project. Insights would answer with that project's numbers."""
        return self._events.newest(EVENTS, datetime.now(UTC).date(), meter=meter, reported_as=where)

    def read_newest(self, stream: Stream, day: date, *, since: datetime, meter: Meter | None = None) -> Iterator[Page]:
        """The newest pages of a growing day; see :class:`EventPages`."""
        pages = self._events.read_newest(stream, day, since=since, meter=meter)
        return self.privacy.pages(stream, pages) if self.privacy else pages
