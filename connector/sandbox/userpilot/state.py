"""Settings, contents and clock of one simulated Userpilot environment: what its API and its file host share.

It answers no request: `router` and `file_host` do, and `vendor` puts them together.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from connector.sandbox.faults import Faults
from connector.sandbox.messages import Request
from connector.sandbox.userpilot.behaviour import World
from connector.sandbox.userpilot.store import Events

APP_TOKEN = "NX-51f4acf7"  # noqa: S105 - names an environment, opens nothing


@dataclass(frozen=True)
class Drop:
    """A lost answer to a request for a job: whether the job is created, and a proxy's ``status`` (None: silence)."""

    created: bool
    status: int | None


@dataclass(kw_only=True, eq=False, repr=False)
class State:
    """One environment without its routes. `Userpilot` describes the settings.

    Attributes:
        requests: every request to the API, with the status of its answer.
        faults: misbehaviour on demand, by path, on both hosts; a fault without a path hits the next request.
        segments: user ids by segment id.
        excluded_users, excluded_companies: what ``exclusions`` leaves out.
        stored: the events.
        drops: the planted losses of answers, in order.
        failing: how many of the next jobs will fail.
    """

    world: World
    clock: Callable[[], float]
    keys: dict[str, str]
    polls_to_complete: int
    seconds_to_complete: float | None
    url_life: float
    job_life: float
    rate_limit: tuple[int, float] | None
    prefix: str
    seed: int
    app_token: str = APP_TOKEN
    requests: list[Request] = field(default_factory=list)
    faults: Faults = field(default_factory=lambda: Faults(usual_path="*"))
    segments: dict[str, set[str]] = field(default_factory=lambda: {"101": set(), "102": set(), "103": set()})
    excluded_users: set[str] = field(default_factory=set)
    excluded_companies: set[str] = field(default_factory=set)
    stored: Events = field(default_factory=Events)
    drops: deque[Drop] = field(default_factory=deque)
    failing: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)

    def next_drop(self) -> Drop | None:
        """The planted loss of the next answer to a request for a job, used up."""
        return self.drops.popleft() if self.drops else None
