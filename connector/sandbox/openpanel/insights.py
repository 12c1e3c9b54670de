"""``GET /insights/{projectId}/...``: the documented routes of today's server, of an older one or of the documentation.

A read client always gets its own project; the project in the path counts for root clients only, and an unknown
project is a 500. Older servers did not check the project. Search Console is not simulated.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from connector.sandbox.messages import Answer, RefusalError, Request
from connector.sandbox.openpanel import auth, insights_sums
from connector.sandbox.openpanel.answers import as_json, server_error
from connector.sandbox.openpanel.funnel import insights_funnel
from connector.sandbox.openpanel.insights_lists import UNDOCUMENTED
from connector.sandbox.openpanel.insights_sums import DIMENSIONS, PREFIXES, Report, Row
from connector.sandbox.openpanel.newer_insights import NewerInsights
from connector.sandbox.openpanel.periods import Period, documented_period, local_period, usual_interval
from connector.sandbox.openpanel.place_names import COUNTRIES, REGIONS
from connector.sandbox.openpanel.report_query import ReportQuery, report_query
from connector.sandbox.openpanel.state import State
from connector.sandbox.openpanel.store import NO_COUNTRY, Client, Project

Handler = Callable[[Request], Answer]
LIVE_MS = 5 * 60_000
OLD_LIMIT = 50


class Insights:
    """The Insights routes of one server."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._old = state.insights == "paged"
        self._documented = state.documented
        self._newer = NewerInsights(state)

    @property
    def is_old(self) -> bool:
        """Whether this is a published server from before ``/documentation/json``."""
        return self._old and not self._documented

    def newer(self) -> list[str]:
        """The names of the routes that are not documented."""
        funnel = ["funnel"] if self.state.funnel == "insights" else []
        return funnel if self._old or self._documented else [*funnel, *self._newer.names()]

    def route(self, path: str) -> Handler | None:
        """The handler of a path; None where there is no such route."""
        family, _, rest = path.removeprefix("/").partition("/")
        project, _, name = rest.partition("/")
        if family != "insights" or not project or not name:
            return None
        named = unquote(project)
        if name == "metrics":
            return lambda request: self._metrics(request, named)
        if name == "live":
            return lambda request: self._live(request, named)
        if name == "pages" or name in DIMENSIONS:
            return lambda request: self._rows(request, named, name)
        if name == "funnel" and self.state.funnel == "insights":
            return lambda request: insights_funnel(self.state, request, lambda: self.project(request, named))
        if name in UNDOCUMENTED if self._documented else not self._old:
            return self._newer.route(name, lambda request: self.project(request, named))
        return None

    def project(self, request: Request, named: str) -> Project:
        """The project a request is about. The checks: credentials, project, event store."""
        if self._documented:
            project = auth.export_project(self.state, request, named)
        else:
            project = self._found(auth.reader(self.state, request, "Export"), named)
        self.state.check_event_store()
        return project

    def _found(self, client: Client, named: str) -> Project:
        own = client.type == "read" and client.project is not None and not self._old
        project = self.state.projects.get(client.project if own and client.project else named)
        if project is None or (project.organisation.id != client.organisation and not self._old):
            raise RefusalError(server_error())
        return project

    def _live(self, request: Request, named: str) -> Answer:
        project, now = self.project(request, named), self.state.now()
        seen = {
            event.profile_id or event.device_id
            for part in project.events.parts(now - LIVE_MS, now + 1)
            for event in part
        }
        return as_json({"visitors": len(seen - {""})})

    def _metrics(self, request: Request, named: str) -> Answer:
        asked = report_query(request.params, self.state.wording, "7d", paging=False, documented=self._documented)
        report = self._report(self.project(request, named), asked)
        totals, series = insights_sums.metrics(report, usual_interval(report.period))
        if self._old or self._documented:
            for row in (totals, *series):
                row.pop("total_revenue")
        if self._documented:
            for row in series:
                for key in [key for key in row if key not in totals and key != "date"]:
                    del row[key]
        return as_json({"metrics": totals, "series": series})

    def _rows(self, request: Request, named: str, name: str) -> Answer:
        usual = "30d" if self._old and not self._documented else "7d"
        asked = report_query(request.params, self.state.wording, usual, paging=True, documented=self._documented)
        report = self._report(self.project(request, named), asked)
        if not self._old:
            rows = insights_sums.pages(report) if name == "pages" else insights_sums.dimension(report.sessions, name)
            return as_json(rows)
        rows = insights_sums.older_pages(report) if name == "pages" else self._older(report, name)
        take = int(min(max(asked.limit, 1), OLD_LIMIT))
        skip = int((max(asked.cursor, 1) - 1) * take)
        return as_json(rows[skip : skip + take])

    def _older(self, report: Report, column: str) -> list[Row]:
        rows = []
        prefix_column = PREFIXES.get(column, "")
        for prefix, value, sessions in insights_sums.by_column(report.sessions, column):
            row: dict[str, Any] = {} if prefix is None else {"prefix": self._word(prefix_column, prefix)}
            word = self._word(column, value, prefix)
            rows.append({**row, "name": None if word in ("", NO_COUNTRY) else word, **insights_sums.rates(sessions)})
        return rows

    def _word(self, column: str, value: str, prefix: str | None = None) -> str:
        """The documentation shows names of countries and regions; the server answers with their codes."""
        if not self._documented:
            return value
        if column == "country":
            return "" if value == NO_COUNTRY else COUNTRIES.get(value, value)
        return REGIONS.get((prefix or "", value), value) if column == "region" else value

    def _report(self, project: Project, asked: ReportQuery) -> Report:
        return Report(project, self.state.sessions_of(project), self._period(project, asked), asked.filters)

    def _period(self, project: Project, asked: ReportQuery) -> Period:
        zone, now = project.organisation.timezone, self.state.now()
        if self._documented:
            return documented_period(asked.start, asked.end, asked.range, now, zone, self.state.wording)
        return local_period(asked.start, asked.end, asked.range, now, zone)
