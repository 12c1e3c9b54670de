"""The bodies of the vendor's answers, in both dialects.

Nothing here decides when a request is refused.
"""

from collections.abc import Mapping
from typing import Any

from connector.sandbox.messages import Answer, Header, json_bytes

JSON = "application/json; charset=utf-8"
TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"
ALWAYS: tuple[Header, ...] = (("vary", "Origin"), ("access-control-allow-origin", "*"))


def as_json(body: Any, status: int = 200) -> Answer:
    """A JSON answer."""
    return raw(json_bytes(body), JSON, status)


def as_text(body: str, status: int = 200) -> Answer:
    """A plain text answer."""
    return raw(body.encode(), TEXT, status)


def raw(body: bytes, content_type: str, status: int = 200) -> Answer:
    """An answer whose body is given as bytes."""
    return Answer(status=status, headers=[*ALWAYS, ("content-type", content_type)], body=body)


def server_error() -> Answer:
    """The answer to any unexpected failure in production, even one caused by the client."""
    return as_text("Internal server error", 500)


def no_route(method: str, url: str) -> Answer:
    """The framework's own 404; it repeats the query."""
    return as_json({"message": f"Route {method}:{url} not found", "error": "Not Found", "statusCode": 404}, 404)


class ServerWording:
    """Refusals in the words of the published server."""

    def invalid(self, where: str, problems: list[tuple[str, str]]) -> Answer:
        """400. Each problem is the path of a parameter and what is wrong with it."""
        message = ", ".join(f"{where}/{path} {text}" for path, text in problems)
        return as_json({"status": 400, "error": "Error", "message": message}, 400)

    def unauthorized(self, message: str) -> Answer:
        """401 of every family of routes except Track."""
        return as_json({"error": "Unauthorized", "message": message}, 401)

    def not_ingested(self, message: str) -> Answer:
        """401 of Track."""
        return as_text(message, 401)

    def project(self, status: int, message: str) -> Answer:
        """400, 403 or 404 about the project."""
        return as_json({"status": status, "message": message}, status)

    def too_many(self, headers: Mapping[str, str], seconds: int) -> Answer:
        """429."""
        body = {
            "status": 429,
            "error": "Too Many Requests",
            "message": "You have exceeded the rate limit for this endpoint.",
        }
        return as_json(body, 429).with_headers({**headers, "retry-after": str(seconds)})


class DocumentedWording(ServerWording):
    """Refusals in the words of the vendor's documentation."""

    def invalid(self, where: str, problems: list[tuple[str, str]]) -> Answer:
        details = [
            {"path": [int(step) if step.isdigit() else step for step in path.split("/")], "message": text}
            for path, text in problems
        ]
        return as_json({"error": "Bad Request", "message": "Invalid query parameters", "details": details}, 400)

    def unauthorized(self, message: str) -> Answer:
        return as_json({"error": "Unauthorized", "message": "Invalid client credentials"}, 401)

    def not_ingested(self, message: str) -> Answer:
        return as_json({"error": "Invalid client credentials", "status": 401}, 401)

    def project(self, status: int, message: str) -> Answer:
        error = {400: "Bad Request", 403: "Forbidden"}.get(status, "Not Found")
        return as_json({"error": error, "message": message}, status)

    def too_many(self, headers: Mapping[str, str], seconds: int) -> Answer:
        body = {"error": "Too Many Requests", "message": "Rate limit exceeded"}
        return as_json(body, 429).with_headers(headers)
