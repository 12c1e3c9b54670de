"""What the server would drop, cut, round or store as now is rejected before it is sent, row by row, with a reason."""

from datetime import UTC, datetime, timedelta

import pytest

from connector.openpanel.track.checks import instant
from connector.openpanel.track.plan import Outbox, plan
from connector.sandbox import vendor_variables

NOW = datetime(2026, 3, 5, 12, tzinfo=UTC)
EVENT = {"key": "k", "name": "order", "profile_id": "u-1"}
REVENUE = EVENT | {"name": "revenue"}
STEP = {"key": "k", "profile_id": "u-1", "property": "orders"}
PERSON = {"profile_id": "u-1"}


def planned(kind, row):
    return plan(Outbox(name="o", kind=kind, query="select 1"), [row], {}, now=NOW)


@pytest.mark.parametrize(
    ("kind", "row", "reason"),
    [
        ("track", EVENT | {"revenue": 4900}, "revenue counts only on the event named revenue"),
        ("track", EVENT | {"properties": {"__revenue": 4900}}, "revenue counts only on the event named revenue"),
        ("track", REVENUE | {"revenue": 12.5}, "whole number of the smallest unit"),
        ("track", REVENUE | {"revenue": -1}, "whole number of the smallest unit"),
        ("track", REVENUE | {"revenue": "4900"}, "whole number of the smallest unit"),
        ("track", REVENUE | {"revenue": 2**53 + 1}, "rounds"),
        ("track", REVENUE | {"revenue": 2.0**60}, "rounds"),
        ("track", EVENT | {"timestamp": NOW + timedelta(minutes=2)}, "in the future"),
        ("track", EVENT | {"timestamp": "2026-03-05 13:05:00+01"}, "in the future"),
        ("track", EVENT | {"timestamp": "soon"}, "reads as now"),
        ("track", EVENT | {"timestamp": "2026-W10-3"}, "reads as now"),
        ("track", EVENT | {"timestamp": "2026-02-30T00:00:00Z"}, "reads as now"),
        ("track", EVENT | {"timestamp": True}, "reads as now"),
        ("track", EVENT | {"properties": {"__timestamp": "soon"}}, "reads as now"),
        ("track", EVENT | {"__bot_name": "x"}, "__bot_name is a name of the server's own"),
        ("identify", PERSON | {"properties": {"__bot": "x"}}, "__bot is a name of the server's own"),
        ("increment", STEP | {"property": "__bots"}, "__bots is a name of the server's own"),
        ("increment", STEP | {"value": 2.5}, "whole numbers only"),
        ("decrement", STEP | {"value": 2**53 + 1}, "rounds"),
        ("identify", PERSON | {"account": 2**60}, "account is 1152921504606846976; the server rounds"),
        ("track", EVENT | {"deep": {"list": [1, 2**60]}}, "deep.list.1 is"),
        ("track", EVENT | {"note": "{unfinished"}, "note begins like JSON"),
        ("track", EVENT | {"note": " [1, 2 "}, "note begins like JSON"),
        ("track", EVENT | {"__deviceId": "d" * 65}, "__deviceId is longer than 64"),
    ],
)
def test_a_row_that_the_server_would_not_keep_is_rejected(kind, row, reason):
    chosen = planned(kind, row)
    assert chosen.messages == ()
    (outcome,) = chosen.refused
    assert outcome.status == "rejected"
    assert reason in outcome.said


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        ("track", EVENT | {"revenue": 0}),
        ("track", EVENT | {"revenue": None, "timestamp": None}),
        ("track", REVENUE | {"revenue": 2**53}),
        ("track", EVENT | {"timestamp": NOW + timedelta(seconds=59)}),
        ("track", EVENT | {"timestamp": "2026-03-05"}),
        ("track", EVENT | {"timestamp": 1_772_000_000_000}),
        ("track", EVENT | {"note": "{finished}", "robot": "x", "__deviceId": "d" * 64}),
        ("increment", STEP | {"value": 2.0}),
        ("identify", PERSON | {"note": "{unfinished", "account": str(2**60), "share": 0.5}),
    ],
)
def test_a_row_that_the_server_keeps_is_sent(kind, row):
    assert (len(planned(kind, row).messages), planned(kind, row).refused) == (1, ())


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("2026-03-04 01:00:00+00", "2026-03-04T01:00:00+00:00"),
        ("2026-03-04 01:00:00", "2026-03-04T01:00:00+00:00"),
        (datetime(2026, 3, 4, 1), "2026-03-04T01:00:00+00:00"),
        ("2026-03-04T01:00:00+0530", "2026-03-04T01:00:00+05:30"),
        (1_772_582_400_000, "2026-03-04T00:00:00+00:00"),
    ],
)
def test_a_time_is_sent_in_one_form_and_without_a_zone_it_is_utc(given, sent):
    (message,) = planned("track", EVENT | {"timestamp": given}).messages
    assert message.body["payload"]["properties"]["__timestamp"] == sent


@pytest.mark.parametrize("value", ["", "now", None, [], 1e30, float("inf"), "2026-03-04T25:00:00"])
def test_what_is_no_time_is_none(value):
    assert instant(value) is None


FILE = """
orders:
  kind: track
  query: >-
    select 'good' as key, 'order' as name, null as revenue
    union all select 'bad', 'order', 4900 union all select 'twice', 'order', null
    union all select 'twice', 'order', null
"""


@pytest.mark.parametrize("as_json", [False, True])
def test_a_dry_run_prints_each_row_that_is_sent_and_each_that_is_not(
    url, vendor, warehouse, tmp_path, monkeypatch, capsys, as_json
):
    from connector.cli.main import main

    with warehouse.write() as connection:
        connection.execute("create table x as select 1")
    file = tmp_path / "outboxes.yaml"
    file.write_text(FILE)
    variables = vendor_variables(openpanel=url) | {
        "WAREHOUSE": str(tmp_path / "warehouse.duckdb"),
        "SPOOL_DIR": str(tmp_path),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert main(["track", str(file), "--dry-run", *(["--json"] if as_json else [])]) == 1
    said = capsys.readouterr()
    rows = said.err if as_json else said.out
    assert "good: {" in rows
    assert "bad: rejected: revenue counts only on the event named revenue" in rows
    assert "twice: rejected: the query returned this key twice" in rows
    assert vendor.requests == []
    assert main(["track", str(file)]) == 1
    with warehouse.read() as connection:
        rejected = connection.execute("select key, said[:20] from connector.rejected order by key").fetchall()
    assert [key for key, _ in rejected] == ["bad", "twice"]
