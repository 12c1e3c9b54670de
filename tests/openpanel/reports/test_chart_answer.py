"""Charts as pages and servers spell them: each number lands where it belongs, or the landing says why not."""

import json
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import httpx
import pytest

from connector import ContractError, OpenPanel, Warehouse, sync_day
from connector.catalogue.reports import Chart, Series
from connector.http.budget import Unlimited
from connector.openpanel.reports.chart_days import buckets, chart_requests, period_of
from connector.openpanel.reports.config import Questions, streams
from connector.sandbox import READ, serve
from connector.sandbox import OpenPanel as Vendor

DAY = date(2026, 11, 10)
STOCKHOLM, CAIRO = "Europe/Stockholm", "Africa/Cairo"
VIEWS = (Series(event="screen_view"),)


def answered(points, ident="A", name="screen_view", names=None, **more):
    """One series as a server answers it; ``points`` is label -> count."""
    data = [{"date": label, "count": count} for label, count in points.items()]
    event = {"id": ident, "name": name}
    return {"id": "slug", "names": names or [name], "event": event, "metrics": {"sum": 1}, "data": data} | more


@pytest.fixture
def land(tmp_path):
    """Land one day of a chart from a server that answers what it is told to; returns the receipt and the rows."""
    asked = []

    def run(chart, *series, timezone="UTC", day=DAY, daily=()):
        def answer(request):
            if request.url.path == "/export/events":
                return httpx.Response(
                    200, json={"meta": {"count": 0, "totalCount": 0, "pages": 0, "current": 1}, "data": []}
                )
            asked.append(request.url.params["interval"])
            probed = chart.interval != asked[-1]
            sent = series[0](request.url.params) if callable(series[0]) else series
            return httpx.Response(200, json={"series": list(daily if probed else sent)})

        client = OpenPanel(
            url="https://panel.example.com", client_id=READ.id, client_secret=READ.secret, project_id="demo",
            timezone=timezone, budget=Unlimited(), transport=httpx.MockTransport(answer),
        )  # fmt: skip
        warehouse = Warehouse(tmp_path / "w.duckdb")
        stream = next(one for one in streams(Questions(charts=(chart,))) if one.name == "charts")
        with client:
            receipt = sync_day(client, stream, day, warehouse=warehouse, spool_dir=tmp_path / "s", pauses=())
        with warehouse.read() as connection:
            rows = connection.execute(
                "select series, breakdowns, date, starts_at, value from openpanel.charts order by all"
            ).fetchall()
        return receipt, [(series, json.loads(broken), at, starts, value) for series, broken, at, starts, value in rows]

    run.asked = asked
    return run


# ---------- labels


@pytest.mark.parametrize(
    "label",
    [
        "2026-11-10 00:00:00", "2026-11-10", "2026-11-10T00:00:00.000Z", "2026-11-10T00:00:00",
        "2026-11-09T23:00:00.000Z", "2026-11-09T23:00:00Z", "2026-11-10T00:00:00+01:00", "2026-11-09T23:00:00+00:00",
    ],
)  # fmt: skip
def test_a_local_label_and_a_true_instant_are_the_same_day(land, label):
    _, rows = land(Chart(name="c", series=VIEWS), answered({label: 45}), timezone=STOCKHOLM)
    assert [(row[2], row[4]) for row in rows] == [(datetime(2026, 11, 10), 45.0)]


def instants(start, count):
    return [(start + timedelta(hours=n)).isoformat() for n in range(count)]


def hours(first, count):
    """Hourly labels with a Z, a different count in each."""
    return {f"{label}.000Z": n + 1 for n, label in enumerate(instants(datetime.fromisoformat(first), count))}


@pytest.mark.parametrize("first", ["2026-11-09T23:00:00", "2026-11-10T00:00:00"])
def test_all_labels_of_an_answer_are_read_one_way(land, first):
    """23 of the 24 labels are hours of the day in local time and in UTC."""
    _, rows = land(
        Chart(name="c", series=VIEWS, interval="hour"), answered(hours(first, 24)),
        timezone=STOCKHOLM, daily=[answered({f"{first}.000Z": 300})],
    )  # fmt: skip
    assert [row[4] for row in rows] == [float(n + 1) for n in range(24)]


def test_hours_of_zeros_tell_how_the_others_are_meant(land):
    points = hours("2026-11-09T23:00:00", 24)
    points = {label: 7 if label.startswith("2026-11-10T08") else 0 for label in points}
    _, rows = land(Chart(name="c", series=VIEWS, interval="hour"), answered(points), timezone=STOCKHOLM)
    assert [row[2] for row in rows if row[4]] == [datetime(2026, 11, 10, 9)]


@pytest.mark.parametrize(("day_label", "hour"), [("2026-11-09T23:00:00.000Z", 9), ("2026-11-10T00:00:00.000Z", 8)])
def test_labels_that_fit_both_ways_are_settled_by_the_days_label(land, day_label, hour):
    _, rows = land(
        Chart(name="c", series=VIEWS, interval="hour"), answered({"2026-11-10T08:00:00.000Z": 7}),
        timezone=STOCKHOLM, daily=[answered({day_label: 7})],
    )  # fmt: skip
    assert [(row[2], row[4]) for row in rows if row[4]] == [(datetime(2026, 11, 10, hour), 7.0)]
    assert land.asked == ["hour", "day"]


def test_labels_that_nothing_settles_are_not_guessed(land):
    with pytest.raises(ContractError, match="local time or UTC"):
        land(
            Chart(name="c", series=VIEWS, interval="hour"),
            answered({"2026-11-10T08:00:00.000Z": 7}),
            timezone=STOCKHOLM,
        )


@pytest.mark.parametrize(
    "points",
    [
        {"2026-11-09 00:00:00": 45},  # a server that counts another zone's days
        {"2026-11-09 23:00:00": 45},
        {"2026-11-09T22:00:00.000Z": 45},
        {"2026-11-10 00:00:00": 1, "2026-11-09T23:00:00.000Z": 2},  # one of each
        {"1762729200000": 45},
        {"Nov 10": 45},
        {"": 45},
        {"2026-11-10T00:00:00.000Z": 4, "2026-11-10 00:00:00": 5},
    ],
)
def test_a_value_that_fits_no_bucket_is_told_and_not_a_zero(land, points):
    with pytest.raises(ContractError, match=r"OPENPANEL_TIMEZONE|two points"):
        land(Chart(name="c", series=VIEWS), answered(points), timezone=STOCKHOLM)


@pytest.mark.parametrize("point", [{"date": "2026-11-10", "value": 4}, 4, None])
def test_a_point_without_a_count_is_no_zero(land, point):
    with pytest.raises(ContractError, match="points with a count"):
        land(Chart(name="c", series=VIEWS), answered({}, data=[point]))


def test_a_sum_without_points_is_no_zero(land):
    with pytest.raises(ContractError, match="points with a count"):
        land(Chart(name="c", series=VIEWS), answered({}, metrics={"sum": 45}))


@pytest.mark.parametrize("beside", ["2026-11-11 00:00:00", "2026-11-10T23:00:00.000Z"])
def test_the_bucket_that_begins_with_the_end_is_the_next_days(land, beside):
    """The question ends with the next midnight, so what happened in that second is answered, too."""
    first = "2026-11-10 00:00:00" if " " in beside else "2026-11-09T23:00:00.000Z"
    _, rows = land(Chart(name="c", series=VIEWS), answered({first: 45, beside: 1}), timezone=STOCKHOLM)
    assert [row[4] for row in rows] == [45.0]


@pytest.mark.parametrize("label", ["2026-04-24 00:00:00", "2026-04-24 01:00:00", "2026-04-23T22:00:00Z"])
def test_a_day_without_a_midnight_has_its_value(land, label):
    _, rows = land(Chart(name="c", series=VIEWS), answered({label: 45}), timezone=CAIRO, day=date(2026, 4, 24))
    assert [(row[3], row[4]) for row in rows] == [(datetime(2026, 4, 23, 22, tzinfo=UTC), 45.0)]


@pytest.mark.parametrize("interval", ["hour", "day", "week", "month"])
@pytest.mark.parametrize("day", [date(2026, 3, 29), date(2026, 5, 31), date(2026, 10, 25)])
def test_nothing_of_the_published_server_is_refused_around_clock_changes(tmp_path, interval, day):
    vendor = Vendor()
    vendor.projects["demo"].organisation.timezone = STOCKHOLM
    midnight = datetime.combine(day, datetime.min.time(), ZoneInfo(STOCKHOLM)).astimezone(UTC)
    for n in range(0, 26 * 60, 20):  # the whole day, and what begins with the next
        vendor.add(f"e{n}", at=(midnight + timedelta(minutes=n)).isoformat(), name="screen_view")
    chart = Chart(name="c", series=VIEWS, interval=interval)
    stream = next(one for one in streams(Questions(charts=(chart,))) if one.name == "charts")
    warehouse = Warehouse(tmp_path / "w.duckdb")
    with (
        serve(vendor.app) as url,
        OpenPanel(
            url=url, client_id=READ.id, client_secret=READ.secret, project_id="demo", timezone=STOCKHOLM,
            budget=Unlimited(),
        ) as client,
    ):  # fmt: skip
        sync_day(client, stream, day, warehouse=warehouse, spool_dir=tmp_path / "s", pauses=())
    with warehouse.read() as connection:
        rows = connection.execute("select starts_at, value from openpanel.charts order by 1").fetchall()
    length = {3: 23, 5: 24, 10: 25}[day.month]
    if interval == "hour":
        assert [value for _, value in rows] == [3.0] * length
    elif interval != "month" or day.day == 31:
        assert sum(value for _, value in rows) == 3 * length
    else:
        assert rows == []  # a month lands on its last day


def test_the_repeated_hour_is_there_twice_in_true_instants(land):
    """The hour before the second question's filter comes back empty, and is no bucket that is due."""
    every = {f"{label}.000Z": n + 1 for n, label in enumerate(instants(datetime(2026, 10, 24, 22), 25))}

    def server(asked):
        start, end = (datetime.fromisoformat(asked[name]) for name in ("startDate", "endDate"))
        (series,) = json.loads(asked["events"])
        since = [datetime.fromisoformat(one["value"][0] + "Z") for one in series["filters"]] or [start]
        points = {label: n for label, n in every.items() if start <= datetime.fromisoformat(label) <= end}
        return [answered({label: n if datetime.fromisoformat(label) >= since[0] else 0 for label, n in points.items()})]

    _, rows = land(Chart(name="c", series=VIEWS, interval="hour"), server, timezone=STOCKHOLM, day=date(2026, 10, 25))
    assert [row[4] for row in sorted(rows, key=lambda row: row[3])] == [float(n + 1) for n in range(25)]
    assert land.asked == ["hour", "hour"]


def test_every_due_bucket_is_found_by_local_time_and_by_utc():
    for zone in map(ZoneInfo, (STOCKHOLM, CAIRO, "America/New_York", "Asia/Kolkata", "UTC")):
        for interval in ("hour", "day", "week", "month"):
            chart = Chart(name="c", series=VIEWS, interval=interval)
            for n in range(365):
                day = date(2026, 1, 1) + timedelta(days=n)
                for request in chart_requests(chart, period_of(chart, day) or (day, day), zone):
                    found = buckets(chart, request, zone)
                    due = set(found.due)
                    assert due == set(found.local_times.values()) - {""} == set(found.instants.values()) - {""}


# ---------- series

TWICE = Chart(
    name="c", series=(Series(event="screen_view", name="views"), Series(event="screen_view", name="people"))
)  # fmt: skip


@pytest.mark.parametrize("ids", [("A", "B"), ("evt1", "evt2")])
def test_two_series_of_one_event_are_two(land, ids):
    """In either spelling and in either order: a server puts the largest first."""
    first, second = (answered({"2026-11-10": count}, ident) for ident, count in zip(ids, (7, 45), strict=True))
    for sent in ((first, second), (second, first)):
        _, rows = land(TWICE, *sent)
        assert [(row[0], row[4]) for row in rows] == [("people", 45.0), ("views", 7.0)]


def test_a_series_that_is_absent_is_a_zero_beside_its_twin(land):
    _, rows = land(TWICE, answered({"2026-11-10": 7}, "evt2"))
    assert [(row[0], row[4]) for row in rows] == [("people", 7.0), ("views", 0.0)]


def test_an_id_that_is_no_position_gives_way_to_the_events_name(land):
    """Ids that count only what is there, or count nothing, and a name that one series alone has."""
    chart = Chart(name="c", series=(Series(event="a"), Series(event="b"), Series(event="c")))
    _, rows = land(
        chart, answered({"2026-11-10": 2}, "evt1", "b"), answered({"2026-11-10": 3}, "0f3a", "c"),
    )  # fmt: skip
    assert [(row[0], row[4]) for row in rows] == [("a", 0.0), ("b", 2.0), ("c", 3.0)]


def test_the_27th_series_has_no_letter(land):
    chart = Chart(name="c", series=tuple(Series(event="a", name=f"s{n}") for n in range(28)))
    _, rows = land(chart, *(answered({"2026-11-10": n}, f"series-{n}", "a") for n in (26, 27)))
    assert {row[0]: row[4] for row in rows if row[4]} == {"s26": 26.0, "s27": 27.0}


@pytest.mark.parametrize("ids", [("x", "y"), ("A", "A"), ("evt0", "evt1")])
def test_series_that_nothing_tells_apart_are_not_guessed(land, ids):
    with pytest.raises(ContractError, match=r"of the chart.*separate charts"):
        land(TWICE, *(answered({"2026-11-10": 7 + n}, ident) for n, ident in enumerate(ids)))


def test_a_series_that_was_not_requested_is_reported(land):
    with pytest.raises(ContractError, match="signup"):
        land(Chart(name="c", series=VIEWS), answered({"2026-11-10": 7}, "C", "signup"))


# ---------- breakdowns


def test_series_with_the_same_breakdowns_are_all_there(land):
    """(Berlin, none) and (none, Berlin) are both named Berlin."""
    chart = Chart(name="c", series=VIEWS, breakdowns=("city", "region"))
    series = [
        answered({"2026-11-10": count}, names=["screen_view", *names])
        for count, names in ((5, ["Berlin"]), (3, ["Berlin"]), (3, ["Berlin"]), (2, ["Lund", "M"]), (1, ["Lund", "M"]))
    ]
    receipt, rows = land(chart, *series)
    assert receipt.warnings == ("chart 'c': 3 series had the breakdowns of another and got a number",)
    assert receipt.duplicates == 0
    assert sorted((json.dumps(row[1]), row[4]) for row in rows) == [
        ('{"city": "Lund", "region": "M", "number": 2}', 2.0), ('{"city": "Lund", "region": "M"}', 1.0),
        ('{"unplaced": ["Berlin"], "number": 2}', 3.0), ('{"unplaced": ["Berlin"], "number": 3}', 5.0),
        ('{"unplaced": ["Berlin"]}', 3.0),
    ]  # fmt: skip
    _, again = land(chart, *reversed(series))
    assert again == rows, "another order of the same answer is the same answer"


def test_a_missing_and_an_unknown_value_are_both_there(land):
    chart = Chart(name="c", series=VIEWS, breakdowns=("country",))
    _, rows = land(
        chart,
        answered({"2026-11-10": 5}, names=["screen_view"]),
        answered({"2026-11-10": 3}, names=["screen_view", "\0\0"]),
    )
    assert sorted(row[4] for row in rows) == [3.0, 5.0]
