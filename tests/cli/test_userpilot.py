"""The same exports without Dagster: exit codes for a scheduler, JSON for a program."""

import json
from datetime import timedelta

import pytest

import connector.userpilot.exports.machine as machine
from connector.cli.main import main
from connector.cli.output import DONE, FAILED, IN_PROGRESS, WRONG_ARGUMENTS
from connector.sandbox import USERPILOT_KEY, Userpilot, serve_userpilot
from tests.factories import DAYS, FIRST, LAST

DAYS_OF = ["--from", FIRST.isoformat(), "--to", LAST.isoformat()]


@pytest.fixture
def vendor(monkeypatch, tmp_path):
    pilot = Userpilot(polls_to_complete=10**6)
    pilot.load_sample(FIRST, LAST)
    with serve_userpilot(pilot) as (api, _):
        monkeypatch.setenv("USERPILOT_API_URL", api)
        monkeypatch.setenv("USERPILOT_API_KEY", USERPILOT_KEY)
        monkeypatch.setenv("WAREHOUSE", str(tmp_path / "warehouse.duckdb"))
        monkeypatch.setenv("SPOOL_DIR", str(tmp_path / "spool"))
        yield pilot


def said(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_asked_looked_at_and_landed_by_three_commands(vendor, capsys, query):
    assert main(["export", "request", *DAYS_OF, "--json"]) == DONE
    (asked,) = said(capsys)
    assert asked["state"] == "polling"
    assert main(["export", "status", "--json"]) == IN_PROGRESS
    assert main(["export", "land", *DAYS_OF]) == IN_PROGRESS
    vendor.finish_job(asked["job_id"])
    capsys.readouterr()

    assert main(["export", "land", *DAYS_OF, "--wait", "30", "--json"]) == DONE
    landed = said(capsys)
    truth = {day: vendor.count(day, types=vendor.jobs.all[0].asked.types, distinct=True) for day in DAYS}
    assert {line["day"]: line["landed"] for line in landed} == {day.isoformat(): n for day, n in truth.items()}
    assert dict(query("select _day, count(*) from userpilot.events group by 1")) == truth
    assert main(["export", "status", "--json"]) == DONE
    assert said(capsys)[0]["state"] == "landed"
    assert len(vendor.jobs.all) == 1


def test_days_that_landed_in_two_halves_are_not_under_way(vendor, capsys, monkeypatch):
    monkeypatch.setattr(machine, "BACK_OFF", (timedelta(0),) * 3)
    monkeypatch.setattr(machine, "POLL_FIRST", timedelta(0))
    vendor.polls_to_complete = 1
    vendor.fail_next_job(2)
    assert main(["export", "land", *DAYS_OF, "--wait", "30"]) == DONE
    capsys.readouterr()
    assert main(["export", "status", "--json"]) == DONE
    assert sorted(job["state"] for job in said(capsys)) == ["halved", "landed", "landed"]


def test_rows_without_a_usable_time_are_left_out_once_that_is_allowed(vendor, capsys, query):
    vendor.polls_to_complete = 0
    vendor.add_event(at=f"{FIRST}T10:00:00Z", inserted_at="infinity", event_name="lost")
    land = ["export", "land", *DAYS_OF, "--wait", "30"]
    assert main(land) == FAILED
    assert "--allow-undated" in capsys.readouterr().err
    assert main([*land, "--allow-undated"]) == DONE
    assert "1 rows without a usable inserted_at were left out: chunk-" in capsys.readouterr().err
    assert query("select rows_undated from connector.export_jobs") == [(1,)]
    assert len(vendor.jobs.all) == 1


def test_a_slot_that_is_taken_is_not_a_failure(vendor, capsys):
    vendor.foreign_job(seconds=3600)
    assert main(["export", "request", *DAYS_OF]) == IN_PROGRESS
    assert "held by" in capsys.readouterr().out


def test_a_refusal_is_a_failure(vendor, monkeypatch, capsys):
    monkeypatch.setenv("USERPILOT_API_KEY", "key-of-no-one-zq")
    assert main(["export", "request", *DAYS_OF]) == FAILED
    assert "USERPILOT_API_KEY" in capsys.readouterr().err
    assert main(["export", "request", *DAYS_OF, "--event-type", "trak"]) == WRONG_ARGUMENTS


def test_lookups_land(vendor, capsys, query):
    assert main(["lookups", "flows", "surveys", "--json"]) == DONE
    assert [line["table"] for line in said(capsys)] == [
        "userpilot.flows", "userpilot.surveys", "userpilot.surveys_modules",
    ]  # fmt: skip
    assert main(["lookups", "flws"]) == WRONG_ARGUMENTS


@pytest.mark.parametrize(("status", "others"), [(404, True), (400, True), (401, False), (403, False)])
def test_a_lookup_that_is_refused_keeps_no_other_back_unless_the_key_is_refused(vendor, capsys, status, others):
    vendor.faults.add("status", path="*flows*", status=status, times=None)
    assert main(["lookups", "flows", "segments", "--json"]) == FAILED
    first, *rest = said(capsys)
    assert first["error"] == "RejectedError"
    assert [line["table"] for line in rest] == (["userpilot.segments"] if others else [])


def test_a_warehouse_that_is_refused_is_told_once(vendor, capsys, monkeypatch):
    monkeypatch.setenv("WAREHOUSE", "userpilot.duckdb")
    assert main(["lookups", "--json"]) == FAILED
    assert [line["error"] for line in said(capsys)] == ["SettingsError"]


def test_a_lookup_that_is_not_as_promised_keeps_no_other_back(vendor, capsys):
    vendor.faults.add("status", path="*flows", status=200, body='{"flows": 1}', times=None)
    assert main(["lookups", "flows", "surveys", "--json"]) == FAILED
    first, *others = said(capsys)
    assert first["error"] == "ContractError"
    assert [line["table"] for line in others] == ["userpilot.surveys", "userpilot.surveys_modules"]
