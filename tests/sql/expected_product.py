"""The marts for product teams computed a second time, in Python, from the landed rows and from what a mart means."""

from collections import defaultdict
from datetime import date, timedelta

import pandas as pd

from .expected import TOLD, percent, some

WEEK, MONTH = timedelta(days=6), timedelta(days=27)


def events_by_day(events, pilot):
    found = []
    for (day, name), rows in events.groupby(["day", "name"]):
        found.append(
            {
                "day": day, "vendor": "openpanel", "event_type": "event", "event_name": name, "events": len(rows),
                "visitors": len(some(rows["visitor"])), "users": len(some(rows["user"])),
                "sessions": len(some(rows["session_id"])),
                "companies": len({group for groups in rows["groups"] for group in groups}),
                "revenue_cents": int(rows["revenue"].fillna(0).sum()),
            }
        )  # fmt: skip
    named = pilot.assign(event_name=pilot["event_name"].fillna("(none)"))
    for (day, kind, name), rows in named.groupby(["day", "event_type", "event_name"]):
        found.append(
            {
                "day": day, "vendor": "userpilot", "event_type": kind, "event_name": name, "events": len(rows),
                "visitors": 0, "users": len(some(rows["user_id"])), "sessions": 0,
                "companies": len(some(rows["company_id"])), "revenue_cents": 0,
            }
        )  # fmt: skip
    return pd.DataFrame(found)


def days_of_members(events, pilot):
    """The days of each member of both audiences."""
    found = {"users": defaultdict(set), "visitors": defaultdict(set)}
    for audience, member, day in [
        *(("users", one.user, one.day) for one in events.itertuples()),
        *(("visitors", one.visitor, one.day) for one in events.itertuples()),
        *(("users", one.user_id, one.day) for one in pilot.itertuples() if one.event_type not in TOLD),
    ]:
        if isinstance(member, str) and member:
            found[audience][member].add(date.fromisoformat(day))
    return found


def active_users(events, pilot):
    found = []
    for audience, members in days_of_members(events, pilot).items():
        for day in sorted({day for days in members.values() for day in days}):
            within = [
                sum(any(day - back <= one <= day for one in days) for days in members.values())
                for back in (timedelta(0), WEEK, MONTH)
            ]
            found.append(
                {
                    "audience": audience, "day": str(day), "daily_active": within[0], "weekly_active": within[1],
                    "monthly_active": within[2], "stickiness_percent": percent(within[0], within[2]),
                }
            )  # fmt: skip
    return pd.DataFrame(found)


def user_lifecycle(events, pilot):
    found = []
    for audience, members in days_of_members(events, pilot).items():
        every = {day for days in members.values() for day in days}
        day = min(every, default=date.max)
        while every and day <= max(every):
            counts = dict.fromkeys(("active", "new", "returning", "resurrected", "churned"), 0)
            for days in members.values():
                past = sorted(one for one in days if one < day)
                if day in days:
                    counts["active"] += 1
                    kind = "new" if not past else "returning" if (day - past[-1]).days <= 28 else "resurrected"
                    counts[kind] += 1
                elif past and (day - past[-1]).days == 28:
                    counts["churned"] += 1
            found.append({"audience": audience, "day": str(day)} | {f"{key}_members": n for key, n in counts.items()})
            day += timedelta(days=1)
    return pd.DataFrame(found)


def retention_by_segment(events, pilot, visits):
    users = days_of_members(events, pilot)["users"]
    weeks = {user: {day - timedelta(days=day.weekday()) for day in days} for user, days in users.items()}
    newest = max(week for those in weeks.values() for week in those)
    known = visits[visits["user_id"].notna()].sort_values(["started_at", "session_id"])
    first = known.drop_duplicates("user_id").set_index("user_id")
    found = []
    for segment in ("channel", "country_code", "device_type"):
        cohorts = defaultdict(list)
        for user, those in weeks.items():
            value = first.loc[user][segment] if user in first.index else None
            cohorts[value if isinstance(value, str) and value else "(none)", min(those)].append(user)
        for (value, week), members in cohorts.items():
            for since in range((newest - week).days // 7 + 1):
                back = sum(week + timedelta(weeks=since) in weeks[user] for user in members)
                found.append(
                    {
                        "segment": segment, "segment_value": value, "cohort_week": str(week), "weeks_since": since,
                        "users": len(members), "active_users": back, "retained_percent": percent(back, len(members)),
                    }
                )  # fmt: skip
    return pd.DataFrame(found)


def revenue_by_day(events, visits):
    by_session = visits.set_index("session_id")
    rows = []
    for one in events[events["revenue"].fillna(0) != 0].itertuples():
        visit = by_session.loc[one.session_id] if one.session_id in by_session.index else None
        source = dict.fromkeys(("channel", "source", "medium", "campaign"), "(none)")
        if visit is not None:
            source = {name: visit[name] for name in source}
        rows.append({"day": one.day, **source, "user": one.user, "visitor": one.visitor, "cents": int(one.revenue)})
    found = []
    if not rows:
        return pd.DataFrame()
    for key, paid in pd.DataFrame(rows).groupby(["day", "channel", "source", "medium", "campaign"]):
        found.append(
            {
                **dict(zip(("day", "channel", "source", "medium", "campaign"), key, strict=True)),
                "payments": len(paid), "users": len(some(paid["user"])), "visitors": len(some(paid["visitor"])),
                "revenue_cents": int(paid["cents"].sum()),
            }
        )  # fmt: skip
    return pd.DataFrame(found)
