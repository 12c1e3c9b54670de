"""The body of a request for an export: parsing, refusals, and the filters it sets.

Unknown keys are ignored silently, so a misspelt filter filters nothing.
"""

import json
from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import date
from typing import Any

from connector.sandbox.messages import RefusalError, Request
from connector.sandbox.userpilot.answers import as_json, invalid
from connector.sandbox.userpilot.behaviour import World
from connector.sandbox.userpilot.store import DEFAULT_TYPES, Event


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """A valid request for an export; ``unknown`` are the keys that were ignored."""

    first: date
    last: date
    types: frozenset[str] = frozenset(DEFAULT_TYPES)
    users: frozenset[str] = frozenset()
    companies: frozenset[str] = frozenset()
    segment: str | None = None
    format: str = "json"
    exclusions: bool = False
    emails: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


KNOWN = ("from", "to", "emails", "event_type", "user_id", "company_id", "segment_id", "format", "exclusions")


def parse_export_request(request: Request, world: World, segments: Mapping[str, Set[str]]) -> ExportRequest:
    """The request in the body of a POST.

    Raises:
        RefusalError: 400 or 422; its text names the key.
    """
    body: Any = {}
    if "json" in request.headers.get("content-type", ""):  # other content types are not parsed
        try:
            body = json.loads(request.body or b"{}")
        except ValueError as error:
            raise RefusalError(as_json({"errors": {"detail": "Bad Request"}}, 400)) from error
    if not isinstance(body, dict):
        raise _wrong(world, "the body must be an object")
    first, last = _day(body, "from", world), _day(body, "to", world)
    if first > last:
        raise _wrong(world, f"from must not be after to: {first}, {last}")
    segment = body.get("segment_id")
    if segment is not None and (not isinstance(segment, str) or segment not in segments):
        raise _wrong(world, f"segment_id must be the id of a segment, as a string: {segment!r}")
    form = body.get("format", world.formats[0])
    if form not in world.formats:
        raise _wrong(world, f"format must be one of {', '.join(world.formats)}: {form!r}")
    exclusions = body.get("exclusions", False)
    if world.exclusions_as_text and exclusions in ("true", "false"):
        exclusions = exclusions == "true"
    if not isinstance(exclusions, bool):
        raise _wrong(world, f"exclusions must be a boolean: {exclusions!r}")
    return ExportRequest(
        first=first,
        last=last,
        types=frozenset(_texts(body, "event_type", world)) or frozenset(DEFAULT_TYPES),
        users=frozenset(_texts(body, "user_id", world)),
        companies=frozenset(_texts(body, "company_id", world)),
        segment=segment,
        format=form,
        exclusions=exclusions,
        emails=_texts(body, "emails", world),
        unknown=tuple(name for name in body if name not in KNOWN),
    )


def matching(
    events: list[Event], asked: ExportRequest, segments: Mapping[str, Set[str]], excluded: tuple[Set[str], Set[str]]
) -> list[Event]:
    """The events that pass the filters; ``excluded`` are the users and companies excluded in the web app."""

    def passes(row: dict[str, Any]) -> bool:
        user, company = row.get("user_id", ""), row.get("company_id", "")
        return (
            row["event_type"] in asked.types
            and (not asked.users or user in asked.users)
            and (not asked.companies or company in asked.companies)
            and (asked.segment is None or user in segments[asked.segment])
            and not (asked.exclusions and (user in excluded[0] or company in excluded[1]))
        )

    return [event for event in events if passes(event.row)]


def _day(body: dict[str, Any], name: str, world: World) -> date:
    text = body.get(name)
    try:
        found = date.fromisoformat(text if isinstance(text, str) else "")
    except ValueError as error:
        raise _wrong(world, f"{name} must be a date, YYYY-MM-DD: {text!r}") from error
    if found.isoformat() != text:  # fromisoformat also accepts 20240502 and 2024-W18-4
        raise _wrong(world, f"{name} must be a date, YYYY-MM-DD: {text!r}")
    return found


def _texts(body: dict[str, Any], name: str, world: World) -> tuple[str, ...]:
    found = body.get(name, [])
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise _wrong(world, f"{name} must be an array of strings: {found!r}")
    return tuple(found)


def _wrong(world: World, details: str) -> RefusalError:
    return RefusalError(invalid(world.invalid_status, details))
