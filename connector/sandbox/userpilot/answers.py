"""The bodies the API answers with, the exception that carries a refusal to the front door, and planted faults.

Nothing here decides when to refuse, and the file host has words of its own.
"""

import json
from collections.abc import Callable
from typing import Any

from connector.sandbox.faults import IN_THE_BODY, INSTEAD, LOGIN_PAGE, ON_THE_SOCKET, Fault
from connector.sandbox.wire import Answer

JSON = "application/json; charset=utf-8"
TITLES = {400: "Bad Request", 401: "Unauthorized", 403: "Unauthorized", 404: "Resource not found", 409: "Conflict"}
TITLES |= {422: "Unprocessable Entity", 429: "Too Many Requests", 500: "Internal Server Error"}
UNAUTHORIZED = "You are not authorized to perform the requested action."


class RefusalError(Exception):
    """An answer that ends a request early."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"{answer.status} {answer.body[:200]!r}")
        self.answer = answer


def as_json(body: Any, status: int = 200) -> Answer:
    """A JSON answer."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return Answer(status=status, headers=[("content-type", JSON)], body=text.encode())


def refused(status: int, message: str, details: str | None = None, *, code: int | None = None) -> Answer:
    """The vendor's envelope; ``code`` where the body and the status disagree."""
    error = {
        "details": details,
        "error": TITLES.get(status, "Error"),
        "error_code": str(code or status),
        "message": message,
    }
    return as_json({"errors": [error]}, status)


def bad_key() -> Answer:
    """401: no key, another scheme, an unknown key."""
    return refused(401, "Unauthorized - Invalid API key or insufficient permissions")


def no_plan(status: int, app_token: str) -> Answer:
    """The plan lacks the feature: 401 or 403, and the body says 401 either way."""
    details = f"Your current plan for application {app_token} does not support the feature you are trying to access."
    return refused(status, UNAUTHORIZED, details, code=401)


def conflict() -> Answer:
    """409: the one slot is taken."""
    details = "There is already an export job in progress, you can only have one export job in progress at a time."
    message = "The request could not be completed due to a conflict with the current state of the target resource."
    return refused(409, message, details)


def no_job(job_id: str, app_token: str) -> Answer:
    """404 of a job that never was, or is forgotten."""
    return refused(404, f"Failed to retrieve job with id {job_id} for application {app_token}: job not found")


def invalid(status: int, details: str) -> Answer:
    """400 or 422; the pages do not say how it is worded."""
    return refused(status, "The request body is invalid.", details)


def too_many(seconds: int) -> Answer:
    """429 with the hint when to come back."""
    return refused(429, "Rate limit exceeded.").with_headers({"retry-after": str(seconds)})


def no_route() -> Answer:
    """The framework's own 404: an envelope of another shape."""
    return as_json({"errors": {"detail": "Not Found"}}, 404)


def proxy(status: int) -> Answer:
    """What the proxy in front says when nobody stands behind it."""
    page = f"<html><head><title>{status}</title></head><body><h1>{status}</h1><hr>nginx</body></html>"
    return Answer(status=status, headers=[("content-type", "text/html")], body=page.encode())


def misbehaved(fault: Fault | None, proper: Callable[[], Answer], standard: Callable[[int], Answer]) -> Answer:
    """The proper answer, spoilt by a fault if there is one; ``standard`` is what a host says with a status."""
    if fault is not None and fault.kind in INSTEAD:
        return _instead(fault, standard)
    answer = proper()
    if fault is not None and fault.kind in IN_THE_BODY and answer.status in (200, 206):
        answer.body = fault.spoil(answer.body)
    if fault is not None and fault.kind in ON_THE_SOCKET:
        answer.fault = fault
    return answer


def _instead(fault: Fault, standard: Callable[[int], Answer]) -> Answer:
    if fault.kind == "redirect":
        status = fault.status if 300 <= fault.status < 400 else 302
        return Answer(status=status, headers=[("location", fault.location)])
    if fault.kind == "html_200":
        return Answer(headers=[("content-type", "text/html")], body=fault.body or LOGIN_PAGE)
    answer = standard(fault.status)
    if fault.body is not None:
        kind = JSON if fault.body.lstrip()[:1] in (b"{", b"[") else "text/plain; charset=utf-8"
        answer = Answer(status=fault.status, headers=[("content-type", kind)], body=fault.body)
    return answer if fault.headers is None else answer.with_headers(fault.headers)
