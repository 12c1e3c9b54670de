"""Funnels: how many sessions or people went through some events in order, in both routes' shapes.

The route under Insights exists since 2026-04-09; ``/export/funnel`` was documented for a year and never existed.
Each step is strictly later than the one before it, and within a time window after the first. The undocumented
settings of charts (several breakdowns, time to convert) are not simulated.
"""

import itertools
from collections.abc import Callable
from typing import Any

from connector.sandbox.messages import Answer, RefusalError, Request
from connector.sandbox.openpanel.answers import as_json
from connector.sandbox.openpanel.auth import export_project
from connector.sandbox.openpanel.filters import compile_filters
from connector.sandbox.openpanel.periods import Period, documented_period, newer_period
from connector.sandbox.openpanel.report_query import Given, SeriesQuery, chart_query
from connector.sandbox.openpanel.rounding import Number, share
from connector.sandbox.openpanel.state import State
from connector.sandbox.openpanel.store import Event, Project

Matches = Callable[[Event], bool]
DAY_HOURS = 24


def insights_funnel(state: State, request: Request, project_of: Callable[[], Project]) -> Answer:
    """``GET /insights/{projectId}/funnel``."""
    given = Given(request.params, state.wording)
    start, end, range_ = given.text("startDate"), given.text("endDate"), given.range_or_none()
    steps = given.texts("steps")
    if steps is None:
        if not given.problems:
            given.problems.append(("steps", "Invalid input"))
    elif not 2 <= len(steps) <= 10:
        given.problems.append(("steps", "steps must have between 2 and 10 items"))
    hours = given.whole("windowHours", DAY_HOURS, 1, 720)
    group = given.choice("groupBy", ["session_id", "profile_id"], "session_id")
    given.done()
    project = project_of()
    names = steps or []
    period = newer_period(start, end, range_, state.now(), project.organisation.timezone)
    counts = reached(project, period, [_named(name) for name in names], hours, group)
    lost = [before - after for before, after in itertools.pairwise(counts)]
    worst = lost.index(max(lost)) if max(lost) > 0 else -1
    body = {
        "steps": [
            {
                "step": at + 1,
                "eventName": names[at],
                "users": count,
                "conversionRateFromStart": share(count, counts[0]),
                "dropoffPercent": share(lost[at], count) if at < len(lost) else None,
                "isHighestDropoff": at == worst,
            }
            for at, count in enumerate(counts)
        ],
        "totalUsers": counts[0],
        "completedUsers": counts[-1],
        "overallConversionRate": share(counts[-1], counts[0]),
    }
    return as_json(body)


def export_funnel(state: State, request: Request) -> Answer:
    """``GET /export/funnel`` as it was documented: each step is an event with filters, counted by session."""
    asked = chart_query(request.params, state.wording, documented=True)
    if len(asked.series) < 2:
        raise RefusalError(state.wording.invalid("querystring", [("events", "Required")]))
    project = export_project(state, request, asked.project)
    state.check_event_store()
    zone = project.organisation.timezone
    period = documented_period(asked.start, asked.end, asked.range, state.now(), zone, state.wording)
    counts = reached(project, period, [_configured(item, project) for item in asked.series], DAY_HOURS, "session_id")
    steps: list[dict[str, Any]] = []
    for at, (item, count) in enumerate(zip(asked.series, counts, strict=True)):
        before = counts[at - 1] if at else counts[0]
        percent: Number = share(before - count, before)
        steps.append(
            {
                "event": {"name": item.name, "displayName": item.name},
                "count": count,
                "percent": share(count, counts[0]),
                "dropoffCount": before - count,
                "dropoffPercent": percent,
                "previousCount": before,
            }
        )
    return as_json({"totalSessions": counts[0], "steps": steps})


def _named(name: str) -> Matches:
    return lambda event: event.name == name


def _configured(item: SeriesQuery, project: Project) -> Matches:
    times = compile_filters(item.filters, project) if item.filters else None
    return lambda event: event.name == item.name and (times is None or times(event) > 0)


def reached(project: Project, period: Period, steps: list[Matches], hours: int, group: str) -> list[int]:
    """How many groups reached each step. All rows without a session form one group."""
    groups: dict[str, list[tuple[int, int]]] = {}  # of one instant, later steps sort first
    for part in project.events.parts(period.since, period.until + 1):
        for event in part:
            for step, matches in enumerate(steps):
                if matches(event):
                    groups.setdefault(getattr(event, group), []).append((event.at, -step))
    levels = [_level(sorted(found), len(steps), hours * 3_600_000) for found in groups.values()]
    return [sum(level > step for level in levels) for step in range(len(steps))]


def _level(moments: list[tuple[int, int]], steps: int, window: int) -> int:
    """The number of steps reached; each is later than the one before it, and within the window after the first."""
    walks: list[tuple[int, int] | None] = [
        None
    ] * steps  # first and latest time of the best walk that reached this step
    for at, minus in moments:
        step = -minus
        if step == 0:
            walks[0] = (at, at)
            continue
        before = walks[step - 1]
        if before is not None and before[1] < at <= before[0] + window:
            walks[step] = (before[0], at)
    return max((step + 1 for step, walk in enumerate(walks) if walk is not None), default=0)
