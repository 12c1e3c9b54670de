"""Track: ``POST /track`` with all its types, ``GET /track/device-id``, and the deprecated ``/event`` and ``/profile``.

200 means accepted: a row can be read after the server's ``visible_after`` seconds, and an ``increment`` sees only what
can be read, as on the real server. Track has no rate limit.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from connector.sandbox.messages import Answer, RefusalError, Request
from connector.sandbox.openpanel.answers import as_json, as_text
from connector.sandbox.openpanel.auth import sender
from connector.sandbox.openpanel.ingestion import COLUMNS_NOT_PROPERTIES, LiveSessions, event_time, ingested
from connector.sandbox.openpanel.senders import Visitor, bot_of, page_of, referrer_of, visitor_of
from connector.sandbox.openpanel.state import State
from connector.sandbox.openpanel.store import Event, Group, Profile, Project
from connector.sandbox.openpanel.timestamps import day_of
from connector.sandbox.openpanel.track_validation import body_of, problems_of

TWIN_MS = 100


class Tracker:
    """The Track routes of one server."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.sessions = LiveSessions(state.new_id, state.later, self._keep)
        self._twins: dict[str, int] = {}

    def routes(self) -> dict[tuple[str, str], Callable[[Request], Answer]]:
        """The handlers by verb and path. These routes also accept a slash at the end."""
        found: dict[tuple[str, str], Callable[[Request], Answer]] = {("GET", "/track/device-id"): self._device}
        for path, handler in (("/track", self._track), ("/event", self._event), ("/profile", self._profile)):
            found["POST", path] = found["POST", path + "/"] = handler
        found["POST", "/profile/increment"] = lambda request: self._old_step(request, 1)
        found["POST", "/profile/decrement"] = lambda request: self._old_step(request, -1)
        return found

    # ---------- routes

    def _track(self, request: Request) -> Answer:
        body = body_of(request)
        problems = problems_of(body)
        if problems:
            raise RefusalError(self.state.wording.invalid("body", problems))
        if body["type"] != "replay" and self._is_twin(request):
            return as_text("Duplicate event")
        project, visitor = self._sender(request, body)
        payload = body["payload"]
        device_id, session_id = self._ids(project, self._placed(visitor, payload), payload)
        kind = body["type"]
        if kind == "alias":
            return as_json({"status": 400, "error": "Bad Request", "message": "Alias is not supported"}, 400)
        if kind == "track":
            self._store(project, visitor, payload, request.headers, device_id, session_id)
        elif kind == "identify":
            self._identify(project, visitor, payload)
        elif kind in ("increment", "decrement"):
            self._step(project, payload, 1 if kind == "increment" else -1)
        elif kind == "group":
            self._group(project, payload)
        elif kind == "assign_group":
            self._assign(project, payload, device_id)
        return as_json({"deviceId": device_id, "sessionId": session_id})

    def _device(self, request: Request) -> Answer:
        project, visitor = self._sender(request, None)
        if not visitor.agent:
            return as_text("Missing user-agent", 400)
        device_id, session_id = self._ids(project, visitor, {})
        live = self.sessions.live(project.id, device_id) is not None
        message = "current session exists for this device id" if live else "no session exists for this device id"
        return as_json({"deviceId": device_id, "sessionId": session_id if live else "", "message": message})

    def _event(self, request: Request) -> Answer:
        body = body_of(request)
        given: dict[str, Any] = body if isinstance(body, dict) else {}
        payload: dict[str, Any] = {name: given[name] for name in _OLD_EVENT if name in given}
        problems = problems_of({"type": "track", "payload": payload})
        if problems:
            shorter = [(path.removeprefix("payload/"), text) for path, text in problems]
            raise RefusalError(self.state.wording.invalid("body", shorter))
        if self._is_twin(request):
            return as_text("Duplicate event")
        project, visitor = self._sender(request, body)
        device_id, session_id = self._ids(project, visitor, payload)
        self._store(project, visitor, payload, request.headers, device_id, session_id)
        return as_text("ok", 202)

    def _profile(self, request: Request) -> Answer:
        body = body_of(request)
        project, visitor = self._sender(request, body)
        self._identify(project, visitor, body)
        return as_text(str(body.get("profileId", "")), 202)

    def _old_step(self, request: Request, sign: int) -> Answer:
        body = body_of(request)
        project, _ = self._sender(request, body)
        profile_id = _id(body.get("profileId"))
        if profile_id not in project.profiles:
            return as_text("Not found", 404)
        self._step(project, body, sign)
        return as_text(profile_id, 202)

    # ---------- before anything is stored

    def _sender(self, request: Request, body: Any) -> tuple[Project, Visitor]:
        project, secret = sender(self.state, request.headers, body)
        visitor = visitor_of(request.headers, request.host)
        bot = None if secret else bot_of(visitor.agent)
        if bot is not None and request.method == "POST":
            raise RefusalError(as_json({"bot": bot}, 202))
        return project, visitor

    def _is_twin(self, request: Request) -> bool:
        """Whether the same body came from the same origin within a tenth of a second."""
        origin, client = request.headers.get("origin"), request.headers.get("openpanel-client-id")
        if not origin or not client:
            return False
        seen = hashlib.sha256(request.body).hexdigest()
        key = f"{visitor_of(request.headers, request.host).address} {origin} {client} {seen}"
        now = self.state.now()
        before, self._twins[key] = self._twins.get(key), now
        return before is not None and now - before < TWIN_MS

    def _placed(self, visitor: Visitor, payload: Mapping[str, Any]) -> Visitor:
        address = (payload.get("properties") or {}).get("__ip")
        return Visitor(address, visitor.agent) if isinstance(address, str) and address else visitor

    def _ids(self, project: Project, visitor: Visitor, payload: Mapping[str, Any]) -> tuple[str, str]:
        now = self.state.now()
        own = (payload.get("properties") or {}).get("__deviceId")
        device_id = own[:64] if isinstance(own, str) and own else visitor.device_id(project.id, f"{day_of(now)}")
        live = self.sessions.live(project.id, device_id)
        if live is not None:
            return device_id, live.id
        if not device_id:
            return "", ""
        return device_id, base64.urlsafe_b64encode(hashlib.sha256(f"{device_id}{now}".encode()).digest())[:22].decode()

    # ---------- what is stored

    def _store(
        self,
        project: Project,
        visitor: Visitor,
        payload: Mapping[str, Any],
        headers: Mapping[str, str],
        device_id: str,
        session_id: str,
    ) -> None:
        properties: dict[str, Any] = payload.get("properties") or {}
        identity = properties.get("__identify")
        if isinstance(identity, dict) and len(identity) > 1 and "profileId" in identity:
            self._identify(project, visitor, identity)
        profile_id = _id(payload.get("profileId") or (identity or {}).get("profileId"))
        at, past = event_time(properties, self.state.now())
        place, more = page_of(str(properties.get("__path") or ""))
        kept = {name: value for name, value in properties.items() if name not in COLUMNS_NOT_PROPERTIES}
        stored = ingested(kept) | more
        columns: dict[str, Any] = {
            **place,
            **visitor.columns(properties),
            **referrer_of(str(properties.get("__referrer") or ""), place["origin"], stored),
            "id": self.state.new_id(),
            "at": at,
            "name": payload["name"],
            "properties": stored,
            "profile_id": profile_id,
            "groups": payload.get("groups") or [],
            "revenue": int(properties.get("__revenue") or 0) if payload["name"] == "revenue" else 0,
            "sdk_name": headers.get("openpanel-sdk-name", ""),
            "sdk_version": headers.get("openpanel-sdk-version", ""),
        }
        event = project.event(columns)
        if past:
            self._keep(project, event)
        elif visitor.is_program:
            self.sessions.keep_server(project, event)
        else:
            event.device_id = device_id
            event.profile_id = profile_id or device_id
            self.sessions.keep_visit(project, event, session_id)

    def _keep(self, project: Project, event: Event) -> None:
        self._when_flushed(lambda: project.events.add(event))

    def _when_flushed(self, action: Callable[[], object]) -> None:
        if self.state.visible_after <= 0:
            action()
        else:
            self.state.later(self.state.now() + int(self.state.visible_after * 1000), action)

    def _identify(self, project: Project, visitor: Visitor, payload: Mapping[str, Any]) -> None:
        given = {**(payload.get("properties") or {}), **visitor.columns({})}
        texts = {name: text for name, value in given.items() if (text := _profile_text(value))}
        names = (("first_name", "firstName"), ("last_name", "lastName"), ("email", "email"), ("avatar", "avatar"))
        fields = {column: str(payload[name]) for column, name in names if payload.get(name)}
        self._upsert(project, _id(payload["profileId"]), fields, texts)

    def _upsert(self, project: Project, profile_id: str, fields: Mapping[str, str], texts: Mapping[str, str]) -> None:
        now = self.state.now() // 1000 * 1000

        def merge() -> None:
            profile = project.profiles.setdefault(profile_id, Profile(id=profile_id, created_at=now))
            for column, value in fields.items():
                setattr(profile, column, value)
            for name, text in texts.items():
                _put(profile.properties, name.split("."), text)
            profile.last_seen_at = now

        self._when_flushed(merge)

    def _step(self, project: Project, payload: Mapping[str, Any], sign: int) -> None:
        profile = project.profiles.get(_id(payload["profileId"]))
        if profile is None:
            raise RefusalError(as_json({"status": 404, "message": "Profile not found"}, 404))
        value: Any = profile.properties
        for step in payload["property"].split("."):
            value = value.get(step, "0") if isinstance(value, dict) else "0"
        number = re.match(r"\s*-?\d+", str(value))
        if number is None:
            raise RefusalError(as_json({"status": 400, "message": "Property value is not a number"}, 400))
        result = int(number[0]) + sign * int(payload.get("value") or 1)
        self._upsert(project, profile.id, {}, {payload["property"]: str(result)})

    def _group(self, project: Project, payload: Mapping[str, Any]) -> None:
        now = self.state.now() // 1000 * 1000
        texts = {name: _profile_text(value) for name, value in (payload.get("properties") or {}).items()}

        def merge() -> None:
            group = project.groups.get(payload["id"])
            if group is None:
                group = project.groups[payload["id"]] = Group(id=payload["id"], type="", name="", created_at=now)
            group.type, group.name, group.updated_at = (payload["type"], payload["name"], now)
            group.properties.update(texts)

        self._when_flushed(merge)

    def _assign(self, project: Project, payload: Mapping[str, Any], device_id: str) -> None:
        profile_id = _id(payload.get("profileId")) or device_id
        known = bool(payload.get("profileId"))
        now = self.state.now() // 1000 * 1000

        def merge() -> None:
            fresh = Profile(id=profile_id, is_external=known, created_at=now, last_seen_at=now)
            profile = project.profiles.setdefault(profile_id, fresh)
            profile.groups = [*profile.groups, *(name for name in payload["groupIds"] if name not in profile.groups)]

        self._when_flushed(merge)


_OLD_EVENT = ("name", "properties", "profileId")


def _id(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None else str(value)


def _profile_text(value: Any) -> str:
    """A property of a profile or group as it is stored: as text; nested values become JSON text."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value.strip()
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _put(target: dict[str, Any], steps: list[str], value: str) -> None:
    for step in steps[:-1]:
        inner = target.get(step)
        if not isinstance(inner, dict):
            inner = target[step] = {}
        target = inner
    target[steps[-1]] = value
