"""The front door: which request goes where, in the order the real server checks things, and planted faults.

What a route answers stands in its own module; this one knows only its family: ``read`` and ``manage`` routes spend the
budget, ``write`` and ``open`` ones do not.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from connector.sandbox.faults import IN_THE_BODY, INSTEAD, LOGIN_PAGE, ON_THE_SOCKET, Fault
from connector.sandbox.openpanel import answers, manage
from connector.sandbox.openpanel.answers import RefusalError
from connector.sandbox.openpanel.charts import charts
from connector.sandbox.openpanel.export_events import events
from connector.sandbox.openpanel.funnel import export_funnel
from connector.sandbox.openpanel.import_events import import_events
from connector.sandbox.openpanel.insights import Insights
from connector.sandbox.openpanel.insights_sums import DIMENSIONS
from connector.sandbox.openpanel.openapi import openapi
from connector.sandbox.openpanel.request_budget import key_of
from connector.sandbox.openpanel.track import Tracker
from connector.sandbox.wire import Answer, Request

if TYPE_CHECKING:
    from connector.sandbox.openpanel.vendor import OpenPanel

HEADER_BYTES = 16 * 1024
Handler = Callable[[Request], Answer]


class Router:
    """Routes and order of checks of one server."""

    def __init__(self, vendor: "OpenPanel") -> None:
        self.vendor = vendor
        self.tracker = Tracker(vendor)
        self.insights = Insights(vendor)
        self._routes: dict[tuple[str, str], tuple[str, Handler]] = {
            ("GET", "/"): ("open", self._root),
            ("GET", "/healthcheck"): ("open", self._health),
            ("GET", "/export/events"): ("read", lambda request: events(vendor, request)),
            ("GET", "/export/charts"): ("read", lambda request: charts(vendor, request)),
            ("POST", "/import/events"): ("write", lambda request: import_events(vendor, request)),
        }
        if vendor.max_limit >= 1000 and not vendor.page_one_lookback and not self.insights.is_old:
            newer = self.insights.newer()  # older servers do not describe themselves
            self._routes["GET", "/documentation/json"] = (
                "open",
                lambda _: answers.as_json(openapi(DIMENSIONS, newer)),
            )
        if vendor.dialect == "server":
            self._routes["GET", "/manage/projects"] = ("manage", lambda request: manage.projects(vendor, request))
            self._routes["GET", "/manage/clients"] = ("manage", lambda request: manage.clients(vendor, request))
        if vendor.funnel == "export":
            self._routes["GET", "/export/funnel"] = ("read", lambda request: export_funnel(vendor, request))
        for (verb, path), handler in self.tracker.routes().items():
            self._routes[verb, path] = ("write", handler)

    def answer(self, request: Request) -> Answer:
        """Budget, fault, route: the answer to one request."""
        size = len(request.url) + sum(len(name) + len(value) + 4 for name, value in request.headers.items())
        if size + len(request.method) > HEADER_BYTES:
            return _too_long()
        path, prefix = request.path, self.vendor.prefix
        if prefix:
            if not path.startswith(prefix + "/"):
                return answers.raw(b"<!doctype html><title>404</title>", answers.HTML, 404)
            path = path.removeprefix(prefix)
        route = self._route("GET" if request.method == "HEAD" else request.method, path)
        if route is None:
            if request.method == "OPTIONS":
                return Answer(status=204, headers=[*answers.ALWAYS, ("access-control-max-age", "604800")])
            return answers.no_route(request.method, request.url.removeprefix(prefix))
        family, handler = route
        rate: dict[str, str] = {}
        if family in ("read", "manage"):
            key = key_of(request.headers, request.host)
            spent = self.vendor.budget.spend(key, manage=family == "manage")
            rate = spent.headers
            if spent.refused:
                self.vendor.refusals += 1
                return self.vendor.say.too_many(rate, spent.seconds)
        fault = self.vendor.faults.take(path, _page(request))
        if fault is not None and fault.kind in INSTEAD:
            return self._instead(fault, rate)
        try:
            answer = handler(request)
        except RefusalError as refusal:
            answer = refusal.answer
        return _spoilt(answer.with_headers(rate) if rate else answer, fault)

    def _route(self, verb: str, path: str) -> tuple[str, Handler] | None:
        route = self._routes.get((verb, path))
        if route is None and verb == "GET" and (handler := self.insights.route(path)) is not None:
            return "read", handler
        return route

    def _root(self, request: Request) -> Answer:
        return answers.as_json({"status": "ok", "message": "Successfully running OpenPanel.dev API"})

    def _health(self, request: Request) -> Answer:
        up = not self.vendor.event_store_down
        working = ["redis", "db", *(["ch"] if up else [])]
        body = {"ready": up, "redis": True, "db": True, "ch": up}
        failed = {"failedDependencies": [] if up else ["ch"], "workingDependencies": working}
        return answers.as_json({**body, **failed}, 200 if up else 503)

    def _instead(self, fault: Fault, rate: dict[str, str]) -> Answer:
        if fault.kind == "redirect":
            answer = answers.as_text("", fault.status if 300 <= fault.status < 400 else 302)
            return answer.with_headers({"location": fault.location})
        if fault.kind == "html_200":
            return answers.raw(fault.body or LOGIN_PAGE, answers.HTML)
        answer = self._standard(fault.status, rate)
        if fault.body is not None:
            json_like = fault.body.lstrip()[:1] in (b"{", b"[")
            answer = answers.raw(fault.body, answers.JSON if json_like else answers.TEXT, fault.status)
            answer = answer.with_headers(rate)
        if fault.headers is not None:
            kind = [(name, text) for name, text in answer.headers if name == "content-type"]
            answer = Answer(status=answer.status, headers=kind, body=answer.body).with_headers(fault.headers)
        return answer

    def _standard(self, status: int, rate: dict[str, str]) -> Answer:
        if status == 429:
            return self.vendor.say.too_many(rate, int(rate.get("x-ratelimit-reset", "1")))
        if status == 401:
            return self.vendor.say.unauthorized("Export: Invalid client secret").with_headers(rate)
        if status in (502, 503, 504):  # these come from the proxy in front, which knows no budget
            page = f"<html><head><title>{status}</title></head><body><h1>{status}</h1><hr>nginx</body></html>"
            return Answer(status=status, headers=[("content-type", "text/html")], body=page.encode())
        if status >= 500:
            return answers.as_text("Internal server error", status).with_headers(rate)
        return self.vendor.say.project(status, "Refused").with_headers(rate)


def _page(request: Request) -> int:
    text = request.param("page") or "1"
    return max(1, int(text)) if text.isdigit() else 1


def _spoilt(answer: Answer, fault: Fault | None) -> Answer:
    if fault is None:
        return answer
    if fault.kind in IN_THE_BODY and answer.status == 200:
        answer.body = fault.spoil(answer.body)
    if fault.kind in ON_THE_SOCKET:
        answer.fault = fault
    return answer


def _too_long() -> Answer:
    body = {
        "error": "Request Header Fields Too Large",
        "message": "Exceeded maximum allowed HTTP header size",
        "statusCode": 431,
    }
    answer = answers.as_json(body, 431)
    return Answer(status=431, headers=[("content-type", "application/json"), ("connection", "close")], body=answer.body)
