"""The front door of the API: which request goes where, who may ask, how often, and planted faults.

What a route answers stands in its own module. The file host has a door of its own.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from connector.sandbox.faults import Fault
from connector.sandbox.userpilot import answers
from connector.sandbox.userpilot.answers import RefusalError
from connector.sandbox.userpilot.export_request import parse_export_request
from connector.sandbox.wire import Answer, Request

if TYPE_CHECKING:
    from connector.sandbox.userpilot.vendor import Userpilot

EXPORTS = "/api/v1/analytics/exports"
JOBS = f"{EXPORTS}/jobs"
LOOKUPS = f"{EXPORTS}/lookups"
Handler = Callable[[Request], Answer]


class Router:
    """Routes and order of checks."""

    def __init__(self, vendor: "Userpilot") -> None:
        self.vendor = vendor
        self._window: tuple[float, int] = (0.0, 0)

    def answer(self, request: Request) -> Answer:
        """Fault, route, key, budget, handler: the answer to one request."""
        path, prefix = request.path, self.vendor.prefix
        if not path.startswith(prefix + "/"):
            return answers.no_route()
        path = path.removeprefix(prefix)
        fault = self.vendor.faults.take(path.rstrip("/"), self.vendor.lookups.page_of(request))
        return answers.misbehaved(fault, lambda: self._proper(request, path), _standard)

    def _proper(self, request: Request, path: str) -> Answer:
        try:
            handler = self._route("GET" if request.method == "HEAD" else request.method, path)
            self._admit(request)
            return handler(request)
        except RefusalError as refusal:
            return refusal.answer

    def _route(self, method: str, path: str) -> Handler:
        slash = self.vendor.world.slash
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
                    moved = Answer(status=slash, headers=[("location", self.vendor.prefix + bare)])
                    raise RefusalError(moved)
            case "GET" if bare == JOBS and (path != bare or not strict):
                return lambda _: answers.as_json(self.vendor.jobs.listed())
            case "GET" if bare.startswith(JOBS + "/") and (path == bare or not strict):
                return lambda _: self._show(bare.removeprefix(JOBS + "/"))
            case "GET" if bare.startswith(LOOKUPS + "/") and (path == bare or not strict):
                name = bare.removeprefix(LOOKUPS + "/")
                if self.vendor.lookups.known(name):
                    return lambda request: self.vendor.lookups.answer(name, request)
        raise RefusalError(answers.no_route())

    def _admit(self, request: Request) -> None:
        """Exactly ``Token <key>``, a key of this environment, a plan that has the feature, some budget left."""
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        plan = self.vendor.keys.get(key)
        if scheme != "Token" or plan is None:
            raise RefusalError(answers.bad_key())
        if plan == "none":
            raise RefusalError(answers.no_plan(self.vendor.world.plan_status, self.vendor.app_token))
        if self.vendor.rate_limit is None:
            return
        most, seconds = self.vendor.rate_limit
        now, (began, count) = self.vendor.clock(), self._window
        if now >= began + seconds:
            began, count = now, 0
        self._window = (began, count + 1)
        if count >= most:
            raise RefusalError(answers.too_many(max(1, math.ceil(began + seconds - now))))

    def _trigger(self, request: Request) -> Answer:
        vendor = self.vendor
        asked = parse_export_request(request, vendor.world, vendor.segments)
        if vendor.jobs.holder() is not None:
            return answers.conflict()
        drop = vendor.next_drop()
        if drop is not None and not drop.created:
            return _dropped(drop.status)
        job = vendor.start(asked)
        if drop is not None:
            return _dropped(drop.status)
        return answers.as_json(vendor.jobs.created(job), vendor.world.created_status)

    def _show(self, job_id: str) -> Answer:
        found = self.vendor.jobs.shown(job_id)
        return answers.no_job(job_id, self.vendor.app_token) if found is None else answers.as_json(found)


def _dropped(status: int | None) -> Answer:
    return Answer(fault=Fault(kind="drop", path="*")) if status is None else answers.proxy(status)


def _standard(status: int) -> Answer:
    """What the API says with a status."""
    match status:
        case 401:
            return answers.bad_key()
        case 409:
            return answers.conflict()
        case 429:
            return answers.too_many(5)
        case 502 | 503 | 504:
            return answers.proxy(status)
    return answers.refused(status, "Refused" if status < 500 else "Something went wrong.")
