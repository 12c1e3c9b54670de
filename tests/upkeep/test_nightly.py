"""Ten nights by `connector nightly` from cron alone, and the same ten by Dagster's schedules and sensors."""

import json
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta

import dagster as dg
import pytest
import time_machine

from connector import Questions, Warehouse
from connector.catalogue.openpanel import DIMENSIONS, EVENTS
from connector.catalogue.userpilot import EVENTS as EXPORTED
from connector.cli.main import main
from connector.cli.output import DONE, FAILED, IN_PROGRESS
from connector.dagster import (
    OpenPanelResource,
    UserpilotResource,
    WarehouseResource,
    openpanel_assets,
    openpanel_drift_sensor,
    openpanel_lists_schedule,
    openpanel_nightly_schedules,
    userpilot_assets,
    userpilot_export_sensor,
    userpilot_lookups_schedule,
    userpilot_nightly_export_schedule,
)
from connector.openpanel.reports.config import asked_for, streams
from connector.sandbox import READ, USERPILOT_KEY, OpenPanel, Userpilot, serve, serve_userpilot, vendor_variables
from connector.state.place import of_folder

START = date(2026, 3, 2)
REPORTS = """
charts: {signups: {series: [screen_view]}}
insights: {dimensions: [country]}
also: [profiles, groups, sessions]
"""
# Columns that tell when and by what a row was landed.
BOOKS = {"_load_id", "_landed_at", "_first_seen", "_last_seen"}


def day(number):
    return START + timedelta(days=number)


def at(number, hour=3, minute=15):
    return datetime.combine(day(number), time(hour, minute), UTC)


class Vendors:
    """Both vendors as they are before each night: a new day, and rows that come late."""

    def __init__(self):
        self.panel, self.pilot, self.count = OpenPanel(rate_limit=None), Userpilot(polls_to_complete=1), 0

    def add(self, *days):
        for one in days:
            self.count += 1
            moment = f"{one}T{self.count % 24:02}:10:00Z"
            who = {"session_id": f"s{self.count}", "profile_id": f"p{self.count % 7}", "device_id": "d"}
            self.panel.add(f"e{self.count}", at=moment, name="screen_view", **who)
            self.panel.add_group(f"g{self.count % 5}", type="company", name="G")
            self.pilot.add_event(at=moment, inserted_at=moment, event_name=f"n{self.count}")

    @contextmanager
    def down(self, *vendors):
        for vendor in vendors:
            vendor.faults.add("status", path="*", status=503, times=None)
        yield
        for vendor in vendors:
            vendor.faults.clear()

    def night(self, number):
        """The rows that arrived since the night before."""
        self.add(*[day(number - 1)] * (number + 3))
        if number > 2:
            self.add(day(number - 3))  # late, and within the lookback
        if number == 8:
            self.add(day(0))  # late, long after the lookback


@pytest.fixture
def vendors():
    return Vendors()


@pytest.fixture
def settings(vendors, tmp_path, monkeypatch, no_pauses):
    (tmp_path / "reports.yaml").write_text(REPORTS)
    with serve(vendors.panel.app) as url, serve_userpilot(vendors.pilot) as (api, _):
        for name, value in {
            **vendor_variables(openpanel=url, userpilot=api),
            "WAREHOUSE": str(tmp_path / "warehouse.duckdb"),
            "SPOOL_DIR": str(tmp_path / "spool"),
            "START_DATE": START.isoformat(),
            "OPENPANEL_REPORTS": str(tmp_path / "reports.yaml"),
        }.items():
            monkeypatch.setenv(name, value)
        yield url, api


@pytest.fixture
def clock():
    with time_machine.travel(at(1), tick=True) as traveller:
        yield traveller


def until_done(clock, calls=6):
    """Call as cron would, every ten minutes while the code is 75."""
    for _ in range(calls):
        code = main(["nightly"])
        if code != IN_PROGRESS:
            return code
        clock.shift(600)
    return IN_PROGRESS


class Scheduler:
    """Dagster's schedules and sensors of the same vendors, ticked without a daemon, in a warehouse of its own."""

    def __init__(self, url, api, folder, instance):
        store = WarehouseResource(database=str(folder / "dagster.duckdb"), spool_dir=str(folder / "dagster"))
        panel = OpenPanelResource(api_url=url, client_id=READ.id, client_secret=READ.secret, project_id="demo")
        pilot = UserpilotResource(api_url=api, api_key=USERPILOT_KEY)
        chosen = streams(Questions.load(folder / "reports.yaml", dimensions=DIMENSIONS))
        landed = openpanel_assets(
            start_date=START, streams=[one for one in chosen if one.by_default and asked_for(one)], openpanel=panel,
            warehouse=store, retry_policy=None,
        )  # fmt: skip
        exported = userpilot_assets(start_date=START, userpilot=pilot, warehouse=store, retry_policy=None)
        self.schedules = [
            *openpanel_nightly_schedules(landed, warehouse=store),
            openpanel_lists_schedule(landed, warehouse=store),
            userpilot_lookups_schedule(exported, warehouse=store),
            userpilot_nightly_export_schedule(exported, warehouse=store),
        ]
        self.sensors = [
            openpanel_drift_sensor(landed[0], EVENTS, openpanel=panel, warehouse=store, every_hours=1),
            userpilot_export_sensor(exported, EXPORTED, userpilot=pilot, warehouse=store),
        ]
        self.defs = dg.Definitions(
            assets=[*landed, *exported], schedules=self.schedules, sensors=self.sensors, executor=dg.in_process_executor
        )
        self.instance, self.cursors, self.keys = instance, {}, set()
        self.repository = self.defs.get_repository_def()

    def night(self, clock):
        for schedule in self.schedules:
            context = dg.build_schedule_context(
                instance=self.instance, scheduled_execution_time=datetime.now(UTC), repository_def=self.repository
            )
            self.run(schedule.evaluate_tick(context).run_requests, schedule.job_name)
        for _ in range(8):
            clock.shift(120)
            for sensor in self.sensors:
                context = dg.build_sensor_context(
                    instance=self.instance, cursor=self.cursors.get(sensor.name), repository_def=self.repository
                )
                result = sensor.evaluate_tick(context)
                self.cursors[sensor.name] = result.cursor or self.cursors.get(sensor.name)
                for event in result.asset_events:
                    self.instance.report_runless_asset_event(event)
                self.run(result.run_requests, "openpanel_late_days")

    def run(self, requests, job):
        for request in requests:
            if request.run_key in self.keys:
                continue
            self.keys.add(request.run_key)
            self.defs.resolve_job_def(request.job_name or job).execute_in_process(
                instance=self.instance,
                partition_key=request.partition_key,
                run_config=request.run_config,
                tags=request.tags,
                asset_selection=request.asset_selection,
                raise_on_error=False,
            )


def tables(file):
    """Every landed table's rows, without what tells when they were landed."""
    with Warehouse(file).read() as connection:
        names = connection.execute(
            "select schema_name || '.' || table_name, schema_name, table_name from duckdb_tables() "
            "where schema_name in ('openpanel', 'userpilot')"
        ).fetchall()
        found = {}
        for name, schema, table in names:
            columns = connection.execute(
                f"select column_name from duckdb_columns() where schema_name = '{schema}' and table_name = '{table}'"
            ).fetchall()
            chosen = ", ".join(f'"{column}"' for (column,) in columns if column not in BOOKS)
            found[name] = sorted(map(repr, connection.execute(f"select {chosen} from {name}").fetchall()))
    return found


@pytest.mark.timeout(900)
def test_ten_nights_by_cron_are_ten_nights_by_dagster(vendors, settings, tmp_path, clock):
    with dg.instance_for_test() as instance:
        dagster = Scheduler(*settings, tmp_path, instance)
        for number in range(1, 11):
            vendors.night(number)
            if number in (4, 5):  # the machine is off
                continue
            broken = {3: [vendors.panel], 7: [vendors.pilot], 8: [vendors.panel, vendors.pilot]}.get(number, [])
            with vendors.down(*broken):
                clock.move_to(at(number))
                assert until_done(clock) == (FAILED if broken else DONE), number
                clock.move_to(at(number, hour=6))
                dagster.night(clock)
    mine, theirs = tables(tmp_path / "warehouse.duckdb"), tables(tmp_path / "dagster.duckdb")
    assert mine.keys() == theirs.keys()
    assert {"openpanel.charts", "openpanel.insights_breakdowns", "userpilot.events", "userpilot.flows"} <= mine.keys()
    assert {"openpanel.sessions", "openpanel.profiles", "openpanel.groups"} <= mine.keys()
    assert "openpanel.insights_entry_exit" not in mine, "not asked for"
    for name, rows in mine.items():
        assert rows == theirs[name], name
    assert len(mine["openpanel.events"]) == vendors.count  # Userpilot tells no counts: late rows of old days stay away
    assert "openpanel.insights_live" not in mine


def said(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_night_that_is_called_again_reads_only_what_is_missing(vendors, settings, clock, capsys):
    vendors.night(1)
    vendors.pilot.polls_to_complete = 10**6
    assert main(["nightly", "--json"]) == IN_PROGRESS
    *first, summary = said(capsys)
    assert {one["where"] for one in first} >= {"openpanel.events[2026-03-02]", "userpilot.flows[2026-03-03]"}
    assert summary["exit_code"] == IN_PROGRESS
    vendors.panel.requests.clear()
    (job,) = vendors.pilot.jobs.all
    vendors.pilot.finish_job(job.id)
    vendors.pilot.polls_to_complete = 1
    clock.shift(600)
    assert main(["nightly", "--json"]) == DONE
    *second, summary = said(capsys)
    assert [one["where"] for one in second] == ["userpilot.events[2026-03-02]"]
    assert vendors.panel.requests == []
    assert main(["nightly", "--json"]) == DONE
    assert [line for line in said(capsys) if "outcome" in line] == []
    assert len(vendors.pilot.jobs.all) == 1
    assert main(["nightly", "--again", "--wait", "30", "--json"]) == DONE
    again = {one["where"] for one in said(capsys) if "where" in one}
    assert again >= {"openpanel.events[2026-03-02]", "userpilot.flows[2026-03-03]", "userpilot.events[2026-03-02]"}


def test_a_quiet_night_says_nothing_of_an_export_that_is_under_way(vendors, settings, clock, capsys):
    """cron sends a mail for every line, and a night's first call always leaves an export behind."""
    vendors.night(1)
    vendors.pilot.polls_to_complete = 10**6
    assert main(["nightly", "--quiet"]) == IN_PROGRESS
    assert capsys.readouterr() == ("", "")
    assert main(["nightly"]) == IN_PROGRESS
    assert "1 export is not complete" in capsys.readouterr().out


def test_a_refused_key_is_told_once_and_keeps_the_other_vendor_from_nothing(
    vendors, settings, clock, capsys, monkeypatch
):
    vendors.night(1)
    monkeypatch.setenv("USERPILOT_API_KEY", "key-of-no-one-zq")
    monkeypatch.setenv("OPENPANEL_CLIENT_SECRET", "another-secret")
    assert main(["nightly", "--json"]) == FAILED
    failed = [line["error"] for line in said(capsys) if line.get("outcome") == "failed"]
    assert failed == ["RejectedError", "RejectedError"]


def test_a_vendor_that_is_down_costs_a_few_requests_and_is_named_with_its_variable(vendors, settings, clock, capsys):
    vendors.night(1)
    clock.move_to(at(4))
    with vendors.down(vendors.panel, vendors.pilot):
        assert main(["nightly", "--quiet", "--log-format", "json"]) == FAILED
    assert len(vendors.panel.requests) <= 5 * 3
    assert len(vendors.pilot.requests) <= 5 * (3 + 1)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert {line["level"] for line in lines} == {"error"}
    assert sum("the rest is left to the next call" in line["message"] for line in lines) == 2
    assert lines[0]["error"] == "TransientError"


def test_two_at_once_are_one(settings, tmp_path, clock, capsys, each_state):
    """With a database also on two machines, whose folders have different names."""
    folder = tmp_path / ("spool" if each_state == "files" else "of another machine")
    with of_folder(folder, scope="spool").locked("nightly"):
        assert main(["nightly"]) == IN_PROGRESS
        assert "is under way" in capsys.readouterr().err
        assert main(["nightly", "--quiet"]) == IN_PROGRESS
    assert capsys.readouterr() == ("", "")


def test_without_any_vendor_there_is_nothing_to_do(capsys):
    assert main(["nightly"]) == FAILED
    assert "USERPILOT_API_KEY" in capsys.readouterr().err
