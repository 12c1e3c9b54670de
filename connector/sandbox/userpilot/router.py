"""The router of the API: which request goes to which route, who may ask, how often, and planted faults.

What a route answers is in its own module. The file host has no routes.
"""

import math
from collections.abc import Callable

from connector.sandbox.faults import Fault
from connector.sandbox.messages import Answer, RefusalError, Request, proxy_error
from connector.sandbox.userpilot import answers
from connector.sandbox.userpilot.export_request import parse_export_request
from connector.sandbox.userpilot.jobs import Jobs
from connector.sandbox.userpilot.lookups import Lookups
from connector.sandbox.userpilot.state import State

EXPORTS = "/api/v1/analytics/exports"
JOBS = f"{EXPORTS}/jobs"
LOOKUPS = f"{EXPORTS}/lookups"
Handler = Callable[[Request], Answer]


class Router:
    """Routes and order of checks."""

    def __init__(self, state: State, jobs: Jobs, lookups: Lookups) -> None:
        self.state, self.jobs, self.lookups = state, jobs, lookups
        self._window: tuple[float, int] = (0.0, 0)

    def answer(self, request: Request) -> Answer:
        """The answer to one request. The order: fault, route, key, budget, handler."""
        path, prefix = request.path, self.state.prefix
        if not path.startswith(prefix + "/"):
            return answers.no_route()
        path = path.removeprefix(prefix)
        fault = self.state.faults.take(path.rstrip("/"), self.lookups.page_of(request))
        return answers.with_fault(fault, lambda: self._proper(request, path), _standard)

    def _proper(self, request: Request, path: str) -> Answer:
        try:
            handler = self._route("GET" if request.method == "HEAD" else request.method, path)
            self._admit(request)
            return handler(request)
        except RefusalError as refusal:
            return refusal.answer

    def _route(self, method: str, path: str) -> Handler:
        slash = self.state.world.slash
        bare = path.removesuffix("/")
        strict = slash == "required"
        match method:
            case "POST" if bare == EXPORTS:
                if path == bare:
                    if not strict:
                        return self._trigger
                elif isinstance(slash, str):
                    return self._trigger
                elif slash != 404:
                    moved = Answer(status=slash, headers=[("location", self.state.prefix + bare)])
                    raise RefusalError(moved)
            case "GET" if bare == JOBS and (path != bare or not strict):
                return lambda _: answers.as_json(self.jobs.listed())
            case "GET" if bare.startswith(JOBS + "/") and (path == bare or not strict):
                return lambda _: self._show(bare.removeprefix(JOBS + "/"))
            case "GET" if bare.startswith(LOOKUPS + "/") and (path == bare or not strict):
                name = bare.removeprefix(LOOKUPS + "/")
                if self.lookups.known(name):
                    return lambda request: self.lookups.answer(name, request)
        raise RefusalError(answers.no_route())

    def _admit(self, request: Request) -> None:
        """Refuse without exactly ``Token <key>``, a known key, a plan that has the feature, and some budget left."""
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        plan = self.state.keys.get(key)
        if scheme != "Token" or plan is None:
            raise RefusalError(answers.bad_key())
        if plan == "none":
            raise RefusalError(answers.no_plan(self.state.world.plan_status, self.state.app_token))
        if self.state.rate_limit is None:
            return
        most, seconds = self.state.rate_limit
        now, (began, count) = self.state.clock(), self._window
        if now >= began + seconds:
            began, count = now, 0
        self._window = (began, count + 1)
        if count >= most:
            raise RefusalError(answers.too_many(max(1, math.ceil(began + seconds - now))))

    def _trigger(self, request: Request) -> Answer:
        asked = parse_export_request(request, self.state.world, self.state.segments)
        if self.jobs.holder() is not None:
            return answers.conflict()
        drop = self.state.next_drop()
        if drop is not None and not drop.created:
            return _dropped(drop.status)
        job = self.jobs.start(asked)
        if drop is not None:
            return _dropped(drop.status)
        return answers.as_json(self.jobs.created(job), self.state.world.created_status)

    def _show(self, job_id: str) -> Answer:
        found = self.jobs.shown(job_id)
        return answers.no_job(job_id, self.state.app_token) if found is None else answers.as_json(found)


def _dropped(status: int | None) -> Answer:
    return Answer(fault=Fault(kind="drop", path="*")) if status is None else proxy_error(status)


def _standard(status: int) -> Answer:
    """What the API usually answers with a status."""
    match status:
        case 401:
            return answers.bad_key()
        case 409:
            return answers.conflict()
        case 429:
            return answers.too_many(5)
        case 502 | 503 | 504:
            return proxy_error(status)
    return answers.refused(status, "Refused" if status < 500 else "Something went wrong.")
