"""`connector status`: what is there and what is not, without asking a vendor."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from connector import EVENTS
from connector.catalogue.userpilot import EVENTS as EXPORTED
from connector.cli.main import main
from connector.cli.output import DONE, FAILED, IN_PROGRESS
from connector.userpilot.exports.job import Job, State
from connector.userpilot.exports.ledger import Ledger
from connector.userpilot.exports.request import Request
from connector.warehouse.coverage import record_counts

TODAY = datetime.now(UTC).date()


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("WAREHOUSE", str(tmp_path / "warehouse.duckdb"))
    monkeypatch.setenv("SPOOL_DIR", str(tmp_path / "spool"))


class Noon(datetime):
    """Of today: a day is missing two hours after its second night, so early in the morning one day fewer is."""

    @classmethod
    def now(cls, tz=None):
        return datetime(TODAY.year, TODAY.month, TODAY.day, 12, tzinfo=UTC)


def ago(back):
    return TODAY - timedelta(days=back)


def said(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_of_nothing_says_where_to_begin(place, capsys):
    assert main(["status"]) == DONE
    assert "connector doctor, then connector nightly" in capsys.readouterr().out


def test_whole_days_are_well(place, vendor, sync, capsys):
    for back in (4, 3):
        vendor.add(f"e{back}", at=f"{ago(back)}T01:00:00Z")
        sync(ago(back))
    assert main(["status"]) == DONE
    assert f"openpanel.events: 2 days, {ago(4)} to {ago(3)}, newest landing {TODAY}" in capsys.readouterr().out


def test_gaps_moved_days_and_failures_are_told_with_what_to_do(place, vendor, sync, warehouse, capsys, monkeypatch):
    monkeypatch.setattr("connector.upkeep.status.datetime", Noon)
    for back in (9, 6, 4):
        vendor.add(f"e{back}", at=f"{ago(back)}T01:00:00Z")
        sync(ago(back))
    record_counts(warehouse, EVENTS, {ago(4): 2})
    vendor.faults.add("status", "/export/events", status=401, times=1)
    with pytest.raises(Exception, match="401"):
        sync(ago(8))
    assert main(["status", "--json"]) == FAILED
    table, failure, last = said(capsys)
    assert table["missing"] == [str(ago(back)) for back in (8, 7, 5, 3)]
    assert table["moved"] == [str(ago(4))]
    assert (failure["day"], failure["times"], "401" in failure["error"]) == (str(ago(8)), 1, True)
    assert any("connector nightly" in step for step in last["next_steps"])
    assert main(["status"]) == FAILED
    assert f"missing {ago(8)}..{ago(7)}, {ago(5)}, {ago(3)}; moved {ago(4)}" in capsys.readouterr().out


def test_a_day_that_failed_and_landed_since_is_no_failure(place, vendor, sync, capsys):
    vendor.add("e", at=f"{ago(3)}T01:00:00Z")
    vendor.faults.add("status", "/export/events", status=401, times=1)
    with pytest.raises(Exception, match="401"):
        sync(ago(3))
    sync(ago(3))
    assert main(["status"]) == DONE


@pytest.mark.parametrize(
    ("state", "age", "code"),
    [(State.POLLING, 1, IN_PROGRESS), (State.LANDED, 1, DONE), (State.POLLING, 100, DONE)],
)
def test_an_export_under_way_is_told_while_the_vendor_can_know_it(place, tmp_path, capsys, state, age, code):
    asked = datetime.now(UTC) - timedelta(hours=age)
    job = Job(request=Request(first=ago(3), last=ago(1)), state=state, job_id="1a2b3c", started=asked)
    Ledger(tmp_path / "spool" / f"{EXPORTED.schema}.exports").write(job)
    assert main(["status"]) == code
    assert ("export under way" in capsys.readouterr().out) == (code == IN_PROGRESS)
