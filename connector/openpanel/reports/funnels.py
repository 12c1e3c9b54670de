"""Reads funnels: one row for each step of a configured funnel on one day."""

import json
from collections.abc import Iterator
from datetime import timedelta

from connector.catalogue.reports import Funnel
from connector.errors import RejectedError
from connector.openpanel.encoding import quoted
from connector.openpanel.reports.api import ReportApi, ReportRequest, ReportRows, Row, merged, wrong_shape


class Funnels:
    """Funnels of one project, from the present route or, after a 404, from the one that an older page documents."""

    def __init__(self, api: ReportApi) -> None:
        self._api = api
        self._old_funnel: bool | None = None  # whether the server has the older route; None: not known yet

    def read(self, funnel: Funnel, request: ReportRequest) -> ReportRows:
        """The steps of one funnel on one day.

        Raises:
            RejectedError: the server has neither route.
            ContractError: the answer has no list of steps.
        """
        request = request.of(f"funnel {funnel.name!r}")
        head = {"funnel": funnel.name, **self._api.head(request), "days": funnel.days}
        if self._old_funnel is not True:
            try:
                return ReportRows(list(self._new_funnel(funnel, head, request)))
            except RejectedError as refused:
                if refused.status != 404 or self._old_funnel is False:
                    raise
        return ReportRows(list(self._documented_funnel(funnel, head, request)), _not_asked(funnel))

    def _new_funnel(self, funnel: Funnel, head: Row, request: ReportRequest) -> Iterator[Row]:
        path = self._api.path(request.stream.path)
        params = [
            *(("steps", quoted(step)) for step in funnel.steps),
            ("windowHours", str(funnel.window_hours)),
            ("groupBy", funnel.group_by),
            ("startDate", f"{request.day - timedelta(days=funnel.days - 1)} 00:00:00"),
            # On this route a plain end date means its midnight, which would exclude the day itself.
            ("endDate", f"{request.day} 23:59:59"),
        ]
        match self._api.get(path, params, request):
            case {"steps": [*steps], **totals}:
                self._old_funnel = False
                for step in steps:
                    if not isinstance(step, dict):
                        raise wrong_shape(path, "steps that are objects", step, request.where)
                    yield merged(head, totals, step)
            case other:
                raise wrong_shape(path, "{steps: [...]}", other, request.where)

    def _documented_funnel(self, funnel: Funnel, head: Row, request: ReportRequest) -> Iterator[Row]:
        """Rows from the route of the vendor's older page, under the names of the newer one."""
        params = [
            ("projectId", quoted(self._api.project_id)),
            ("events", json.dumps([{"name": step, "filters": []} for step in funnel.steps])),
            ("startDate", (request.day - timedelta(days=funnel.days - 1)).isoformat()),
            ("endDate", request.day.isoformat()),
        ]
        match self._api.get("/export/funnel", params, request):
            case {"steps": [*steps], **others}:
                self._old_funnel = True
                total = others.pop("totalSessions", None)
                for number, step in enumerate(steps, start=1):
                    if not isinstance(step, dict):
                        raise wrong_shape("/export/funnel", "steps that are objects", step, request.where)
                    event = step.pop("event", None)
                    more = dict(event) if isinstance(event, dict) else {"name": event}
                    known = {
                        "step": number,
                        "eventName": more.pop("name", None),
                        "users": step.pop("count", None),
                        "conversionRateFromStart": step.pop("percent", None),
                        "dropoffPercent": step.pop("dropoffPercent", None),
                        "totalUsers": total,
                    }
                    # Other fields of the event and of the funnel have no column and land in `_extra`.
                    yield merged(head, others, known, {"event": more} if more else {}, step)
            case other:
                raise wrong_shape("/export/funnel", "{steps: [...]}", other, request.where)


def _not_asked(funnel: Funnel) -> str:
    """A warning about configured values for which the older route has no parameter; empty if there are none."""
    usual = Funnel(name="", steps=())
    own = [name for name in ("window_hours", "group_by") if getattr(funnel, name) != getattr(usual, name)]
    words = " and ".join(f"{name} {getattr(funnel, name)}" for name in own)
    return f"funnel {funnel.name!r} was counted without {words}, which this server's route does not know" if own else ""
