"""Every mart computed a second time, in pandas, from the landed rows and from what docs/models.md says a mart means.

Written without looking at the SQL, and plainly: loops where a reader follows them better than a trick.
"""

import itertools
import json
import math
from datetime import timedelta

import duckdb
import pandas as pd

from .project import frame

MARKS = {"session_start", "session_end"}
TOLD = {"identify_user", "identify_company"}


def openpanel(warehouse):
    rows = frame(warehouse, "select * exclude (groups), to_json(groups) as groups from openpanel.events")
    for name in (
        "device_id",
        "profile_id",
        "session_id",
        "path",
        "origin",
        "referrer",
        "referrer_name",
        "referrer_type",
    ):
        rows[name] = objects([value if isinstance(value, str) and value else None for value in rows[name]])
    rows["groups"] = objects([json.loads(value) if isinstance(value, str) else [] for value in rows["groups"]])
    rows["day"] = objects([str(at)[:10] for at in rows["created_at"]])
    rows["user"] = objects(
        [p if p and p != d else None for p, d in zip(rows["profile_id"], rows["device_id"], strict=True)]
    )
    rows["visitor"] = objects([d or p for p, d in zip(rows["profile_id"], rows["device_id"], strict=True)])
    return rows.sort_values(["created_at", "id"], kind="stable").reset_index(drop=True)


def userpilot(warehouse):
    try:
        rows = frame(warehouse, "select * from userpilot.events")
    except duckdb.CatalogException:  # nothing of it has landed
        return pd.DataFrame(
            columns=["event_type", "event_name", "user_id", "company_id", "inserted_at", "metadata", "day"]
        )
    for name in ("user_id", "company_id", "event_name"):
        rows[name] = objects([value if isinstance(value, str) and value else None for value in rows[name]])
    rows["day"] = objects([str(at)[:10] for at in rows["inserted_at"]])
    rows["metadata"] = objects([json.loads(value) if isinstance(value, str) else {} for value in rows["metadata"]])
    return rows.sort_values("inserted_at", kind="stable").reset_index(drop=True)


def objects(values):
    """A column that keeps None; pandas would make texts with gaps into texts with NaN."""
    return pd.Series(list(values), dtype=object)


def some(values):
    return {value for value in values if value is not None and value == value}  # NaN is no person


def percent(part, whole):
    return None if not whole else part * 100 / whole


def daily_active(events, pilot):
    active = pilot[~pilot["event_type"].isin(TOLD)]
    found = []
    for day in sorted({*events["day"], *active["day"]}):
        ours, theirs = events[events["day"] == day], active[active["day"] == day]
        groups = {group for row in ours["groups"] for group in row}
        found.append(
            {
                "day": day,
                "visitors": len(some(ours["visitor"])),
                "users": len(some(ours["user"]) | some(theirs["user_id"])),
                "openpanel_users": len(some(ours["user"])),
                "userpilot_users": len(some(theirs["user_id"])),
                "companies": len(groups | some(theirs["company_id"])),
                "openpanel_events": len(ours),
                "userpilot_events": len(theirs),
            }
        )
    return pd.DataFrame(found)


def channel(row):
    utm = {key: (utm_of(row, key) or "") for key in ("medium", "source", "campaign")}
    medium = utm["medium"].lower()
    if medium in {"cpc", "ppc", "cpm", "cpv", "display"} or medium.startswith("paid"):
        return "paid"
    if medium in {"email", "e-mail", "newsletter"} or row["referrer_type"] == "email":
        return "email"
    if row["referrer_type"] == "search":
        return "search"
    if row["referrer_type"] == "social" or medium.startswith("social"):
        return "social"
    if any(utm.values()):
        return "campaign"
    return "referral" if row["referrer"] or row["referrer_name"] else "direct"


def utm_of(row, key):
    properties = json.loads(row["properties"]) if isinstance(row["properties"], str) else {}
    nested = properties.get("__query")
    flat = properties.get(f"__query.utm_{key}")
    return flat or (nested.get(f"utm_{key}") if isinstance(nested, dict) else None) or None


def sessions(events):
    found = []
    for session, rows in events[events["session_id"].notna()].groupby("session_id", sort=False):
        acts = rows[~rows["name"].isin(MARKS)]
        acts = rows if acts.empty else acts
        imported = bool((rows["sdk_name"] == "import-session-reconstruction").any())
        found.append({"session_id": session, **(of_an_import(rows, acts) if imported else as_it_grows(acts))})
        found[-1] |= {
            "is_imported": imported,
            "duration_seconds": (acts.iloc[-1]["created_at"] - acts.iloc[0]["created_at"]).total_seconds(),
            "events": len(acts),
            "revenue_cents": int(acts["revenue"].fillna(0).sum()),
            "company_ids": sorted({group for row in acts["groups"] for group in row}),
            **source_of(acts.iloc[0]),
        }
    for one in found:
        one["visitor_id"] = one["user_id"] or one.pop("first_profile")
        one.pop("first_profile", None)
        one["is_bounce"] = one["page_views"] <= 1
        one["day"] = str(one["started_at"])[:10]
    columns = {name: [one[name] for one in found] for name in found[0]}
    texts = {name for name, values in columns.items() if any(isinstance(value, str) for value in values)}
    return pd.DataFrame({name: objects(values) if name in texts else values for name, values in columns.items()})


def as_it_grows(acts):
    """The server looks at one event after another, and keeps what the last of them said, if it said anything."""
    one = None
    for _, row in acts.iterrows():
        shown = row["name"] == "screen_view"
        if one is None:
            one = dict.fromkeys(("user_id", "entry_path", "entry_origin", "exit_path", "exit_origin"))
            one |= {"started_at": row["created_at"], "first_profile": row["profile_id"], "page_views": int(shown)}
        elif shown and row["path"]:
            one["page_views"] += 1
        one["ended_at"] = row["created_at"]
        one["user_id"] = row["user"] or one["user_id"]
        for name in ("path", "origin"):
            one[f"entry_{name}"] = one[f"entry_{name}"] or row[name]
            one[f"exit_{name}"] = row[name] or one[f"exit_{name}"]
    return one


def of_an_import(rows, acts):
    """The server sums up a finished session, its marks included; they lie a second outside its events."""
    first, last = acts.iloc[0], acts.iloc[-1]
    known = [user for user in rows["user"] if user]
    return {
        "user_id": known[0] if known else None, "first_profile": first["profile_id"],
        "entry_path": first["path"], "entry_origin": first["origin"],
        "exit_path": last["path"], "exit_origin": last["origin"],
        "page_views": int((acts["name"] == "screen_view").sum()),
        "started_at": rows["created_at"].min(), "ended_at": rows["created_at"].max(),
    }  # fmt: skip


def source_of(first):
    return {
        "channel": channel(first),
        "source": utm_of(first, "source") or first["referrer_name"] or first["referrer"] or "(none)",
        "medium": utm_of(first, "medium") or "(none)",
        "campaign": utm_of(first, "campaign") or "(none)",
    }


def kept_by(vendor):
    """The sessions that the vendor keeps, in our columns."""
    return pd.DataFrame(
        {
            "session_id": one["id"], "visitor_id": one["profile_id"] or None, "page_views": one["screen_view_count"],
            "started_at": pd.Timestamp(one["created_at"]), "ended_at": pd.Timestamp(one["ended_at"]),
            "duration_seconds": one["duration"] / 1000, "is_bounce": one["is_bounce"],
            "events": one["screen_view_count"] + one["event_count"], "revenue_cents": one["revenue"],
            "company_ids": sorted(one["groups"]), "country_code": None if one["country"] == "\0\0" else one["country"],
            **{name: one[name] or None for name in ("entry_path", "entry_origin", "exit_path", "exit_origin")},
        }
        for one in vendor.sessions()
    )  # fmt: skip


def channel_performance(visits):
    found = []
    for key, rows in visits.groupby(["day", "channel", "source", "medium", "campaign"]):
        long = rows[rows["duration_seconds"] > 0]["duration_seconds"]
        bounces = int(rows["is_bounce"].sum())
        found.append(
            {
                **dict(zip(("day", "channel", "source", "medium", "campaign"), key, strict=True)),
                "sessions": len(rows),
                "visitors": len(some(rows["visitor_id"])),
                "users": len(some(rows["user_id"])),
                "page_views": int(rows["page_views"].sum()),
                "bounces": bounces,
                "bounce_percent": percent(bounces, len(rows)),
                "average_session_seconds": long.mean() if len(long) else math.nan,
                "revenue_cents": int(rows["revenue_cents"].sum()),
            }
        )
    return pd.DataFrame(found)


def page_performance(events, visits):
    pages = {}

    def page(day, origin, path):
        return pages.setdefault(
            (day, origin or "", path),
            {"views": 0, "sessions": set(), "visitors": set(), "seconds": [], "entries": 0, "exits": 0, "bounces": 0},
        )

    acts = events[~events["name"].isin(MARKS)]
    following = {}
    for (_, session), rows in acts[acts["session_id"].notna()].groupby(["day", "session_id"]):
        del session
        times = list(rows["created_at"])
        for index, (now, after) in zip(rows.index[:-1], itertools.pairwise(times), strict=True):
            following[index] = (after - now).total_seconds()
    for index, row in acts.iterrows():
        if row["name"] == "screen_view" and row["path"]:
            one = page(row["day"], row["origin"], row["path"])
            one["views"] += 1
            one["sessions"] |= some([row["session_id"]])
            one["visitors"] |= some([row["visitor"]])
            one["seconds"] += [following[index]] if index in following else []
    for _, visit in visits.iterrows():
        if visit["entry_path"]:
            one = page(visit["day"], visit["entry_origin"], visit["entry_path"])
            one["entries"] += 1
            one["bounces"] += bool(visit["is_bounce"])
        if visit["exit_path"]:
            page(visit["day"], visit["exit_origin"], visit["exit_path"])["exits"] += 1
    return pd.DataFrame(
        {
            "day": day, "origin": origin, "path": path, "page_views": one["views"], "sessions": len(one["sessions"]),
            "visitors": len(one["visitors"]),
            "average_seconds_on_page": sum(one["seconds"]) / len(one["seconds"]) if one["seconds"] else math.nan,
            "entries": one["entries"], "exits": one["exits"], "bounces": one["bounces"],
            "bounce_percent": percent(one["bounces"], one["entries"]),
        }
        for (day, origin, path), one in pages.items()
    )  # fmt: skip


def funnel(events, funnels):
    found = []
    for one in funnels:
        who = {"session": "session_id", "visitor": "visitor", "user": "user"}[one["by"]]
        best = {}
        for name, rows in events[events[who].notna()].groupby(who):
            times = {step: list(rows[rows["name"] == step]["created_at"]) for step in set(one["steps"])}
            for began in sorted(set(times[one["steps"][0]])):
                reached, at = 1, began
                for step in one["steps"][1:]:
                    later = [time for time in times[step] if at < time]
                    if not later or later[0] > began + timedelta(hours=one["within_hours"]):
                        break
                    reached, at = reached + 1, later[0]
                key = (str(began)[:10], name)
                best[key] = max(best.get(key, 0), reached)
        for day in sorted({day for day, _ in best}):
            levels = [level for (other, _), level in best.items() if other == day]
            before = None
            for place, step in enumerate(one["steps"], start=1):
                entrants = sum(level >= place for level in levels)
                found.append(
                    {
                        "funnel": one["name"], "day": day, "step": place, "event_name": step, "entrants": entrants,
                        "entrants_at_start": len(levels), "percent_of_start": percent(entrants, len(levels)),
                        "percent_of_previous": None if before is None else percent(entrants, before),
                    }
                )  # fmt: skip
                before = entrants
    return pd.DataFrame(found)


def people(events, pilot):
    """By user id, which is all the sample and the log need; addresses that differ are the unit tests' affair."""
    found = []
    for user in sorted(some(events["user"]) | some(pilot["user_id"])):
        ours, theirs = events[events["user"] == user], pilot[pilot["user_id"] == user]
        times = [*ours["created_at"], *theirs["inserted_at"]]
        found.append(
            {
                "person_id": user,
                "openpanel_user_id": user if len(ours) else None,
                "userpilot_user_id": user if len(theirs) else None,
                "matched_by": "user id" if len(ours) and len(theirs) else None,
                "openpanel_events": len(ours),
                "userpilot_events": len(theirs),
                "openpanel_active_days": ours["day"].nunique(),
                "userpilot_active_days": theirs[~theirs["event_type"].isin(TOLD)]["day"].nunique(),
                "devices": len(some(ours["device_id"])),
                "revenue_cents": int(ours["revenue"].fillna(0).sum()),
                "first_seen_at": min(times),
                "last_seen_at": max(times),
            }
        )
    return pd.DataFrame(found)


def companies(events, pilot):
    ours = {}
    for _, row in events.iterrows():
        for group in set(row["groups"]):
            ours.setdefault(group, []).append((row["user"], row["day"], row["revenue"] or 0))
    found = []
    for company in sorted({*ours, *some(pilot["company_id"])}):
        theirs = pilot[pilot["company_id"] == company]
        mine = ours.get(company, [])
        told = theirs[theirs["event_type"] == "identify_company"]
        names = [data["name"] for data in told["metadata"] if data.get("name")]
        found.append(
            {
                "company_id": company,
                "company_name": names[-1] if names else None,
                "people": len(some([user for user, _, _ in mine]) | some(theirs["user_id"])),
                "active_days": len({day for _, day, _ in mine} | {*theirs["day"]}),
                "openpanel_events": len(mine),
                "userpilot_events": len(theirs),
                "revenue_cents": int(sum(cents for _, _, cents in mine)),
            }
        )
    return pd.DataFrame(found)


def retention_cohorts(events, pilot):
    active = pilot[~pilot["event_type"].isin(TOLD)]
    seen = {(user, day) for user, day in zip(events["user"], events["day"], strict=True) if user}
    seen |= {(user, day) for user, day in zip(active["user_id"], active["day"], strict=True) if user}
    weeks = {}
    for user, day in seen:
        at = pd.Timestamp(day)
        weeks.setdefault(user, set()).add(at - timedelta(days=at.weekday()))
    last = max(week for found in weeks.values() for week in found)
    cohorts = {}
    for user, found in weeks.items():
        cohorts.setdefault(min(found), []).append(user)
    rows = []
    for first, users in cohorts.items():
        for since in range((last - first).days // 7 + 1):
            back = sum(first + timedelta(weeks=since) in weeks[user] for user in users)
            rows.append(
                {
                    "cohort_week": str(first)[:10], "weeks_since": since, "people": len(users), "active_people": back,
                    "retained_percent": percent(back, len(users)),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def feature_adoption(pilot, names):
    active = pilot[~pilot["event_type"].isin(TOLD)]
    found = []
    used = pilot[pilot["event_type"].isin(["track", "track_feature"]) & pilot["event_name"].notna()]
    for (day, kind, key), rows in used.groupby(["day", "event_type", "event_name"]):
        users, everybody = some(rows["user_id"]), some(active[active["day"] == day]["user_id"])
        found.append(
            {
                "day": day, "feature_kind": "feature" if kind == "track_feature" else "event", "feature_key": key,
                "feature_name": names.get(key, key), "uses": len(rows), "users": len(users),
                "companies": len(some(rows["company_id"])), "active_users": len(everybody),
                "adoption_percent": percent(len(users), len(everybody)),
            }
        )  # fmt: skip
    return pd.DataFrame(found)


def flow_adoption(pilot, titles):
    found = {}
    for _, row in pilot[pilot["event_type"] == "interaction"].iterrows():
        kind, rest = row["event_name"].split(":", 1)
        content, status = rest.rsplit(":", 1)
        kind = "flow" if kind == "experience" else kind
        found.setdefault((row["day"], kind, content), []).append((status, row["user_id"], row["company_id"]))
    rows = []
    for (day, kind, content), acts in found.items():
        row = {
            "day": day, "content_type": kind, "content_id": content,
            "title": titles.get((kind, content), titles.get((kind, content.rsplit(":", 1)[-1]), content)),
            "interactions": len(acts), "users": len(some(user for _, user, _ in acts)),
            "companies": len(some(company for _, _, company in acts)),
        }  # fmt: skip
        for word in ("seen", "completed", "dismissed"):
            those = [user for status, user, _ in acts if status == word.upper()]
            row |= {f"times_{word}": len(those), f"users_{word}": len(some(those))}
        for word in ("completed", "dismissed"):
            row[f"{word}_percent"] = percent(row[f"users_{word}"], row["users"])
        rows.append(row)
    return pd.DataFrame(rows)
