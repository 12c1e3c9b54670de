"""The router: which request goes to which route, in the order the real server checks things, and planted faults.

What a route answers is in its own module. Routes belong to families: ``read`` and ``manage`` routes spend the request
budget, ``write`` and ``open`` routes do not.
"""

from collections.abc import Callable
from functools import partial

from connector.sandbox.faults import INSTEAD, LOGIN_PAGE, Fault
from connector.sandbox.messages import Answer, RefusalError, Request, is_json, proxy_error
from connector.sandbox.openpanel import answers, manage
from connector.sandbox.openpanel.charts import charts
from connector.sandbox.openpanel.export_events import events
from connector.sandbox.openpanel.funnel import export_funnel
from connector.sandbox.openpanel.import_events import import_events
from connector.sandbox.openpanel.insights import Insights
from connector.sandbox.openpanel.insights_sums import DIMENSIONS
from connector.sandbox.openpanel.openapi import openapi
from connector.sandbox.openpanel.request_budget import key_of
from connector.sandbox.openpanel.state import State
from connector.sandbox.openpanel.track import Tracker

HEADER_BYTES = 16 * 1024
Handler = Callable[[Request], Answer]


class Router:
    """Routes and order of checks of one server."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.insights = Insights(state)
        self._routes: dict[tuple[str, str], tuple[str, Handler]] = {
            ("GET", "/"): ("open", self._root),
            ("GET", "/healthcheck"): ("open", self._health),
            ("GET", "/export/events"): ("read", partial(events, state)),
            ("GET", "/export/charts"): ("read", partial(charts, state)),
            ("POST", "/import/events"): ("write", partial(import_events, state)),
        }
        if state.max_limit >= 1000 and not state.page_one_lookback and not self.insights.is_old:
            self._routes["GET", "/documentation/json"] = ("open", self._openapi)  # older servers have no such route
        if not state.documented:
            self._routes["GET", "/manage/projects"] = ("manage", partial(manage.projects, state))
            self._routes["GET", "/manage/clients"] = ("manage", partial(manage.clients, state))
        if state.funnel == "export":
            self._routes["GET", "/export/funnel"] = ("read", partial(export_funnel, state))
        for (verb, path), handler in Tracker(state).routes().items():
            self._routes[verb, path] = ("write", handler)

    def answer(self, request: Request) -> Answer:
        """The answer to one request: budget first, then a planted fault, then the route."""
        size = len(request.url) + sum(len(name) + len(value) + 4 for name, value in request.headers.items())
        if size + len(request.method) > HEADER_BYTES:
            return _too_long()
        path, prefix = request.path, self.state.prefix
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
            spent = self.state.budget.spend(key, manage=family == "manage")
            rate = spent.headers
            if spent.refused:
                self.state.refusals += 1
                return self.state.wording.too_many(rate, spent.seconds)
        fault = self.state.faults.take(path, _page(request))
        if fault is not None and fault.kind in INSTEAD:
            return self._instead(fault, rate)
        try:
            answer = handler(request)
        except RefusalError as refusal:
            answer = refusal.answer
        return answer.with_headers(rate).with_fault(fault)

    def _route(self, verb: str, path: str) -> tuple[str, Handler] | None:
        route = self._routes.get((verb, path))
        if route is None and verb == "GET" and (handler := self.insights.route(path)) is not None:
            return "read", handler
        return route

    def _root(self, request: Request) -> Answer:
        return answers.as_json({"status": "ok", "message": "Successfully running OpenPanel.dev API"})

    def _openapi(self, request: Request) -> Answer:
        return answers.as_json(openapi(DIMENSIONS, self.insights.newer()))

    def _health(self, request: Request) -> Answer:
        up = not self.state.event_store_down
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
            content_type = answers.JSON if is_json(fault.body) else answers.TEXT
            answer = answers.raw(fault.body, content_type, fault.status).with_headers(rate)
        if fault.headers is not None:
            kept = [(name, text) for name, text in answer.headers if name == "content-type"]
            answer = Answer(status=answer.status, headers=kept, body=answer.body).with_headers(fault.headers)
        return answer

    def _standard(self, status: int, rate: dict[str, str]) -> Answer:
        """What the server usually answers with a status."""
        if status == 429:
            return self.state.wording.too_many(rate, int(rate.get("x-ratelimit-reset", "1")))
        if status == 401:
            return self.state.wording.unauthorized("Export: Invalid client secret").with_headers(rate)
        if status in (502, 503, 504):  # these come from the proxy in front, which has no rate headers
            return proxy_error(status)
        if status >= 500:
            return answers.as_text("Internal server error", status).with_headers(rate)
        return self.state.wording.project(status, "Refused").with_headers(rate)


def _page(request: Request) -> int:
    text = request.param("page") or "1"
    return max(1, int(text)) if text.isdigit() else 1


def _too_long() -> Answer:
    body = {
        "error": "Request Header Fields Too Large",
        "message": "Exceeded maximum allowed HTTP header size",
        "statusCode": 431,
    }
    answer = answers.as_json(body, 431)
    return Answer(status=431, headers=[("content-type", "application/json"), ("connection", "close")], body=answer.body)
