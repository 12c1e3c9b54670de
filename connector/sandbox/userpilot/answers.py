"""The bodies of the API's answers, and what a planted fault makes of an answer of either host.

Nothing here decides when a request is refused. The file host has its own refusals.
"""

from collections.abc import Callable
from typing import Any

from connector.sandbox.faults import INSTEAD, LOGIN_PAGE, Fault
from connector.sandbox.messages import Answer, is_json, json_bytes

JSON = "application/json; charset=utf-8"
TITLES = {400: "Bad Request", 401: "Unauthorized", 403: "Unauthorized", 404: "Resource not found", 409: "Conflict"}
TITLES |= {422: "Unprocessable Entity", 429: "Too Many Requests", 500: "Internal Server Error"}
UNAUTHORIZED = "You are not authorized to perform the requested action."


def as_json(body: Any, status: int = 200) -> Answer:
    """A JSON answer."""
    return Answer(status=status, headers=[("content-type", JSON)], body=json_bytes(body))


def refused(status: int, message: str, details: str | None = None, *, code: int | None = None) -> Answer:
    """A refusal in the vendor's envelope; ``code`` is for a body that names another status than the answer's."""
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
    """The plan lacks the feature: 401 or 403; the body says 401 in both cases."""
    details = f"Your current plan for application {app_token} does not support the feature you are trying to access."
    return refused(status, UNAUTHORIZED, details, code=401)


def conflict() -> Answer:
    """409: the one slot is taken."""
    details = "There is already an export job in progress, you can only have one export job in progress at a time."
    message = "The request could not be completed due to a conflict with the current state of the target resource."
    return refused(409, message, details)


def no_job(job_id: str, app_token: str) -> Answer:
    """404: the job never existed, or it is forgotten."""
    return refused(404, f"Failed to retrieve job with id {job_id} for application {app_token}: job not found")


def invalid(status: int, details: str) -> Answer:
    """400 or 422; the vendor's pages do not show the wording."""
    return refused(status, "The request body is invalid.", details)


def too_many(seconds: int) -> Answer:
    """429, with the seconds to wait."""
    return refused(429, "Rate limit exceeded.").with_headers({"retry-after": str(seconds)})


def no_route() -> Answer:
    """The framework's own 404, whose envelope has another shape."""
    return as_json({"errors": {"detail": "Not Found"}}, 404)


def with_fault(fault: Fault | None, proper: Callable[[], Answer], standard: Callable[[int], Answer]) -> Answer:
    """The proper answer, or what a fault makes of it; ``standard`` gives a host's usual answer with a status."""
    if fault is None or fault.kind not in INSTEAD:
        return proper().with_fault(fault)
    if fault.kind == "redirect":
        status = fault.status if 300 <= fault.status < 400 else 302
        return Answer(status=status, headers=[("location", fault.location)])
    if fault.kind == "html_200":
        return Answer(headers=[("content-type", "text/html")], body=fault.body or LOGIN_PAGE)
    answer = standard(fault.status)
    if fault.body is not None:
        content_type = JSON if is_json(fault.body) else "text/plain; charset=utf-8"
        answer = Answer(status=fault.status, headers=[("content-type", content_type)], body=fault.body)
    return answer.with_headers(fault.headers or {})
