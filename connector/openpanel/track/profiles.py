"""What the server has stored of a profile, compared with what was sent to it. Reads one profile a request."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from connector.errors import ConnectorError, RejectedError
from connector.openpanel.encoding import segment
from connector.openpanel.track.journal import Step
from connector.openpanel.track.plan import COUNTERS, Message

if TYPE_CHECKING:
    from connector.http.client import Http

Profile = Mapping[str, Any]
_FIELDS = {"firstName": "first_name", "lastName": "last_name", "email": "email", "avatar": "avatar"}


class UnreadableError(Exception):
    """Profiles cannot be read with this client or from this server; the message says why."""


class Profiles:
    """The profiles of a project.

    Args:
        http: with the credentials of the client, on the budget of all reading.
    """

    def __init__(self, http: "Http", project_id: str) -> None:
        self._http, self._project = http, project_id

    def read(self, profile_id: str) -> Profile | None:
        """A profile as it is stored; None if there is none.

        Raises:
            UnreadableError: the client may not read, the server is too old, or it does not answer.
        """
        try:
            path = f"/insights/{segment(self._project)}/profiles/{segment(profile_id)}"
            body = json.loads(self._http.get(path, (("eventLimit", "1"),), where="track"))
        except RejectedError as refused:
            if refused.status == 404 and "Profile not found" in refused.what:
                return None
            raise UnreadableError(refused.what) from None
        except ConnectorError as failed:
            raise UnreadableError(failed.what) from None
        except (ValueError, RecursionError):
            raise UnreadableError("the answer is no JSON") from None
        match body:
            case {"profile": {"properties": dict()} as profile}:
                return dict(profile)
        raise UnreadableError("the answer holds no profile")


def step_of(message: Message, profile: Profile) -> Step | None:
    """What a message does to a counter; None if what is stored is no whole number."""
    payload = message.body["payload"]
    before = stored_number(profile, payload["property"])
    if before is None:
        return None
    change = int(payload["value"]) if message.body["type"] == "increment" else -int(payload["value"])
    return Step(payload["profileId"], payload["property"], before, before + change)


def stored_number(profile: Profile, name: str) -> int | None:
    """A counter as it is stored, 0 if it is missing; None if it is no whole number."""
    stored = profile["properties"].get(name)
    try:
        return 0 if stored is None else int(str(stored))
    except ValueError:
        return None


def differing(message: Message, profile: Profile | None, step: Step | None) -> list[str]:
    """What of a message is not stored: names of fields, properties and groups; empty if all of it is.

    A value whose stored form cannot be told, such as a nested one, is not compared.
    """
    payload = message.body["payload"]
    if profile is None:
        return ["the profile"]
    if message.body["type"] in COUNTERS:
        name = payload["property"]
        return [] if step and stored_number(profile, name) == step.after else [name]
    if message.body["type"] == "assign_group":
        return [f"group {name}" for name in payload["groupIds"] if name not in (profile.get("groups") or ())]
    given = {_FIELDS[name]: payload[name] for name in _FIELDS if payload.get(name)}
    found = [name for name, value in given.items() if not _is_kept(value, profile.get(name))]
    properties, stored = payload.get("properties") or {}, profile["properties"]
    return found + [name for name, value in properties.items() if not _is_kept(value, stored.get(name))]


def is_compared(message: Message) -> bool:
    """Whether :func:`differing` compares every value of a message, so that nothing of it can be under way unseen."""
    return not any(map(_is_untold, (message.body["payload"].get("properties") or {}).values()))


def _is_untold(sent: object) -> bool:
    return isinstance(sent, dict | list) or (isinstance(sent, str) and sent.strip()[:1] in ("{", "[", ""))


def _is_kept(sent: object, stored: object) -> bool:
    if sent is None or _is_untold(sent):
        return True
    if isinstance(sent, bool):
        return stored == ("true" if sent else "false")
    if isinstance(sent, str):
        return isinstance(stored, str) and stored.strip() == sent.strip()
    try:
        return float(str(stored)) == sent
    except ValueError:
        return False
