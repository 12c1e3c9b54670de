"""Answers of a running server, recorded, go through our readers: no key is lost, no type surprises."""

import json
from datetime import date
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from connector import EVENTS, OpenPanel, Warehouse, sync_day
from connector.catalogue.openpanel import DIMENSIONS
from connector.catalogue.reports import Chart, Funnel, Series
from connector.http.budget import Unlimited
from connector.openpanel.reports.config import Questions, streams
from connector.records.fit import read_rows
from connector.sandbox import READ, serve
from connector.sandbox import OpenPanel as Vendor

HEADERS = {"openpanel-client-id": READ.id, "openpanel-client-secret": READ.secret}
RECORDED = Path(__file__).parents[1] / "recorded" / "openpanel"
DAY = date(2026, 11, 20)  # the last day of the recorded world


def answers(*prefixes):
    found = []
    for file in sorted(RECORDED.glob("*.json")):
        if file.name.startswith(prefixes):
            document = json.loads(file.read_text())
            if document["status"] == 200:
                found.append(pytest.param(document, id=file.name.split(".")[0]))
    return found


@pytest.fixture
def land(tmp_path):
    """Land one day of a stream from a server that has one answer."""

    def run(name, body, questions=None, **others):
        def answer(request):
            route = request.url.path.partition("/insights/acme-web/")[2]
            if route in others:
                return httpx.Response(200, json=others[route])
            if request.url.path == "/export/events":
                return httpx.Response(
                    200, json={"meta": {"count": 0, "totalCount": 0, "pages": 0, "current": 1}, "data": []}
                )
            return httpx.Response(200, json=body)

        client = OpenPanel(
            url="https://panel.example.com", client_id=READ.id, client_secret=READ.secret, project_id="acme-web",
            budget=Unlimited(), transport=httpx.MockTransport(answer),
        )  # fmt: skip
        stream = next(one for one in streams(questions) if one.name == name)
        warehouse = Warehouse(tmp_path / "w.duckdb")
        with client:
            receipt = sync_day(client, stream, DAY, warehouse=warehouse, spool_dir=tmp_path / "s", pauses=())
        with warehouse.read() as connection:
            rows = connection.execute(f"select * from {stream.table}").fetchall()
            names = [column[0] for column in connection.description]
        return receipt, [dict(zip(names, row, strict=True)) for row in rows]

    return run


@pytest.mark.parametrize("answer", answers("ev", "pg", "im02", "tr30", "tr31"))
def test_events_fit_their_columns(answer):
    rows = read_rows(json.dumps(answer["body"]["data"]).encode(), EVENTS, where="recorded")
    assert rows.strangers == frozenset()
    assert rows.misfits == 0
    assert len(rows.keys) == len(answer["body"]["data"])


@pytest.mark.parametrize(
    "answer",
    [one for one in answers("in") if urlsplit(one.values[0]["request"]["url"]).path.split("/")[-1] in DIMENSIONS],
)
def test_breakdowns_land_whole(land, answer):
    dimension = urlsplit(answer["request"]["url"]).path.split("/")[-1]
    receipt, rows = land("insights_breakdowns", answer["body"], Questions(dimensions=(dimension,)))
    assert (receipt.strangers, receipt.misfits) == (frozenset(), 0)
    assert receipt.landed + receipt.duplicates == len(answer["body"])
    assert sum(row["sessions"] for row in rows) == sum(row["sessions"] for row in answer["body"])


@pytest.mark.parametrize(
    "answer", [one for one in answers("in") if "_pages_" in one.id and "performance" not in one.id]
)
def test_pages_land_whole(land, answer):
    receipt, _ = land("insights_pages", answer["body"])
    assert (receipt.strangers, receipt.misfits, receipt.landed) == (frozenset(), 0, len(answer["body"]))


@pytest.mark.parametrize("answer", [one for one in answers("in") if "metrics" in one.id])
def test_metrics_land_whole(land, answer):
    receipt, rows = land("insights_metrics", answer["body"])
    assert (receipt.strangers, receipt.misfits, receipt.landed) == (frozenset(), 0, 1)
    for name, value in answer["body"]["metrics"].items():
        assert rows[0][name] == pytest.approx(value)
    assert json.loads(rows[0]["series"]) == answer["body"]["series"]


def shape(name):
    return json.loads((RECORDED / f"{name}.shape.json").read_text())["body"]


def test_sessions_land_whole(land):
    """Of two recorded sessions of the 11th, each in the part of the day in which it began."""
    (answer,) = answers("in54")
    body = answer.values[0]["body"]
    moved = [row | {name: row[name].replace("2026-11-11", "2026-11-20") for name in ("created_at", "ended_at")}
             for row in body]  # fmt: skip
    receipt, rows = land("sessions", moved, metrics={"metrics": {"total_sessions": 2}, "series": []})
    assert (receipt.strangers, receipt.misfits, receipt.landed, receipt.announced) == (frozenset(), 0, 2, 2)
    for row, sent in zip(rows, moved, strict=True):
        assert {name: row[name] for name in sent if name not in ("created_at", "ended_at", "country")} == {
            name: value for name, value in sent.items() if name not in ("created_at", "ended_at", "country")
        }
        assert f"{row['created_at']:%Y-%m-%d %H:%M:%S.%f}"[:-3] == sent["created_at"]
    assert [row["country"] for row in rows] == [None, "GB"]


def test_profiles_land_whole(land):
    (answer,) = answers("in53")
    body = answer.values[0]["body"]
    receipt, rows = land("profiles", body)
    assert (receipt.strangers, receipt.misfits, receipt.landed) == (frozenset(), 0, len(body))
    assert [json.loads(row["properties"]) for row in rows] == [sent["properties"] for sent in body]
    assert [(row["id"], row["is_external"], row["groups"]) for row in rows] == [
        (sent["id"], sent["is_external"], sent["groups"]) for sent in body
    ]


def test_groups_land_whole(land):
    (answer,) = answers("in55")
    body = answer.values[0]["body"]
    receipt, rows = land("groups", body, **{"groups/types": {"types": ["company"]}})
    assert (receipt.strangers, receipt.misfits, receipt.landed) == (frozenset(), 0, len(body))
    assert {(row["id"], row["type"], row["name"]) for row in rows} == {
        (sent["id"], sent["type"], sent["name"]) for sent in body
    }


def test_entry_and_exit_pages_land_whole(land):
    body = shape("in60_entry_exit")
    receipt, rows = land("insights_entry_exit", body)
    assert (receipt.strangers, receipt.misfits, receipt.landed) == (frozenset(), 0, 2 * len(body))
    assert [row["sessions"] for row in rows if row["mode"] == "exit"] == [row["sessions"] for row in body]


def test_the_simulated_server_answers_in_the_shapes_that_were_not_recorded():
    vendor = Vendor()
    vendor.add("e", at="2026-11-20T10:00:00Z", session_id="s", path="/", origin="https://shop.example.com")
    vendor.add_group("g", type="company", name="G")
    with serve(vendor.app) as base, httpx.Client(base_url=f"{base}/insights/demo", headers=HEADERS) as http:
        day = {"startDate": "2026-11-20", "endDate": "2026-11-21"}
        pages, types = http.get("pages/entry_exit", params=day).json(), http.get("groups/types").json()
    assert [(key, type(value)) for key, value in pages[0].items()] == [
        (key, type(value)) for key, value in shape("in60_entry_exit")[0].items()
    ]
    assert types == {"types": ["company"]}
    assert types.keys() == shape("in61_group_types").keys()


def test_live_lands(land):
    (answer,) = answers("in11")
    receipt, rows = land("insights_live", answer.values[0]["body"])
    assert rows[0]["visitors"] == answer.values[0]["body"]["visitors"]
    assert receipt.strangers == frozenset()


# A chart without series, which one recorded request had, is refused before it is sent.
@pytest.mark.parametrize("answer", [one for one in answers("ch") if one.id != "ch16_no_events"])
def test_charts_land_without_a_stranger(land, answer):
    asked = {name: values[0] for name, values in parse_qs(urlsplit(answer["request"]["url"]).query).items()}
    events = json.loads(asked.get("events") or asked.get("series") or "[]")
    breakdowns = tuple(one["name"] for one in json.loads(asked.get("breakdowns", "[]")))
    series = tuple(Series(event=one["name"], name=f"s{number}") for number, one in enumerate(events))
    interval = asked.get("interval", "day")
    breakdowns = tuple(name for name in breakdowns if name)
    preset = "" if interval == "minute" else "30d"  # a month of minutes is no answer that was recorded
    chart = Chart(name="c", series=series, breakdowns=breakdowns, interval=interval, range=preset)
    receipt, rows = land("charts", answer["body"], Questions(charts=(chart,)))
    assert (receipt.strangers, receipt.misfits) == (frozenset(), 0)
    for one in answer["body"]["series"]:
        values = {point["date"][:10]: point["count"] for point in one["data"]}
        assert set(values.values()) <= {row["value"] for row in rows} | {0}


def test_a_funnel_lands(land):
    (answer,) = answers("fn02")
    questions = Questions(funnels=(Funnel(name="f", steps=("screen_view", "add_to_cart", "purchase")),))
    receipt, rows = land("funnels", answer.values[0]["body"], questions)
    assert (receipt.strangers, receipt.misfits) == (frozenset(), 0)
    assert [(row["step"], row["users"]) for row in rows] == [(1, 2966), (2, 663), (3, 62)]
