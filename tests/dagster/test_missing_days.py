"""A closed day that never landed is asked for by itself, oldest first, and told of if it stays missing."""

from datetime import UTC, datetime, time, timedelta
from uuid import uuid4

import dagster as dg
import pytest
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from connector import EVENTS, Warehouse
from connector.catalogue.own import LANDINGS
from connector.dagster import (
    OpenPanelResource,
    UserpilotResource,
    WarehouseResource,
    connector_alerts,
    openpanel_assets,
    openpanel_definitions,
    userpilot_definitions,
)
from connector.nights import RANGES_A_NIGHT
from connector.sandbox import READ
from connector.warehouse.own_tables import create_receipts, insert

TODAY = datetime.now(UTC).date()
NIGHT = datetime.combine(TODAY, time(3, 15), UTC)
START, END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


def ago(*backs):
    return [TODAY - timedelta(days=back) for back in sorted(backs, reverse=True)]


@pytest.fixture
def store(tmp_path):
    return WarehouseResource(database=str(tmp_path / "warehouse.duckdb"), spool_dir=str(tmp_path / "spool"))


@pytest.fixture
def source(url):
    return OpenPanelResource(api_url=url, client_id=READ.id, client_secret=READ.secret, project_id="demo")


@pytest.fixture
def instance():
    with dg.instance_for_test() as one:
        yield one


@pytest.fixture
def received(warehouse):
    """Receipts of landed days, as a landing writes them; by default a night after the day."""

    def write(table, days, *, at=None, status="landed", requests=1):
        rows = [
            {
                "table_name": table, "day": day, "load_id": uuid4().hex, "announced": 1, "received": 1, "landed": 1,
                "duplicates": 0, "replaced": 0, "misfits": 0, "requests": requests, "refused": 0, "bytes": 1,
                "seconds": 1.0, "incremental": False, "warnings": None, "status": status, "error": "e",
                "landed_at": at or datetime.combine(day, time(3, 20), UTC) + timedelta(days=1),
            }
            for day in days
        ]  # fmt: skip
        with warehouse.write() as connection:
            create_receipts(connection)
            insert(connection, LANDINGS, rows)

    return write


def night(defs, instance, name="openpanel_nightly", at=NIGHT):
    """What a night asks for: names of tables and the days, in the order of the requests."""
    schedule = next(schedule for schedule in defs.schedules if schedule.name == name)
    context = dg.build_schedule_context(
        instance=instance, scheduled_execution_time=at, repository_def=defs.get_repository_def()
    )
    result = schedule.evaluate_tick(context)
    assert len({request.run_key for request in result.run_requests}) == len(result.run_requests)
    return [
        ("+".join(key.path[-1] for key in request.asset_selection), request.tags[START], request.tags[END])
        for request in result.run_requests
    ]


def older(asked):
    """What is asked for beside the lookback."""
    return [piece for piece in asked if piece[1] < str(*ago(4))]


def of(table, *backs):
    first, last = ago(*backs)[0], ago(*backs)[-1]
    return (table, str(first), str(last))


def events(store, start=60, **options):
    return openpanel_definitions(start_date=ago(start)[0], tables=["events"], warehouse=store, **options)


def test_days_of_a_daemon_that_was_down_are_asked_for_in_the_first_night(store, received, instance):
    received("openpanel.events", ago(12, 11, 10, 9))
    assert night(events(store), instance) == [of("events", 4, 1), of("events", 8, 5)]


def test_what_is_asked_for_lands_and_is_not_asked_for_again(vendor, source, store, sync, instance, query):
    for day in ago(*range(1, 13)):
        vendor.add(f"e{day}", at=f"{day}T01:00:00Z")
    for day in ago(12, 11, 10, 9):
        sync(day)
    defs = events(store, openpanel=source)
    job = defs.resolve_job_def("openpanel_nightly")
    for _, first, last in night(defs, instance):
        tags = {START: first, END: last}
        assert job.execute_in_process(instance=instance, tags=tags).success
    assert query("select count(distinct _day) from openpanel.events") == [(12,)]
    assert older(night(defs, instance, at=NIGHT + timedelta(days=1))) == []


def test_every_table_has_gaps_of_its_own_and_shares_a_run_where_it_can(store, received, instance):
    received("openpanel.events", ago(*range(20, 4, -1)))
    received("openpanel.insights_metrics", ago(20, 19, 8, 6, 5))
    received("openpanel.insights_pages", ago(20, 19, 8, 7, 6, 5))
    names = ["events", "insights_metrics", "insights_pages", "charts"]
    defs = openpanel_definitions(start_date=ago(60)[0], tables=names, warehouse=store)
    assert older(night(defs, instance)) == [
        of("insights_metrics+insights_pages", 18, 9),
        of("insights_metrics", 7),
    ]


def test_a_day_that_landed_only_while_it_was_open_is_missing(store, received, instance):
    """The hourly schedule landed half of it, and then the machine was off."""
    received("openpanel.events", ago(9, 8))
    (half,) = ago(7)
    received("openpanel.events", [half], at=datetime.combine(half, time(14, 5), UTC))
    received("openpanel.events", ago(6, 5))
    assert older(night(events(store), instance)) == [of("events", 7)]


def test_days_that_failed_are_missing_and_wait_behind_those_that_did_not(store, received, instance):
    received("openpanel.events", ago(12, 11), requests=3000)
    for _ in range(3):
        received("openpanel.events", ago(10, 9), status="failed")
    assert older(night(events(store), instance)) == [of("events", 8, 7)]
    received("openpanel.events", ago(8, 7, 6, 5))
    assert older(night(events(store), instance)) == [of("events", 10, 9)]


def test_a_night_spends_its_share_and_the_next_goes_on(store, received, instance):
    received("openpanel.events", ago(20), requests=2400)
    assert older(night(events(store), instance)) == [of("events", 19, 17)]
    received("openpanel.events", ago(19, 18, 17), requests=2400)
    assert older(night(events(store), instance)) == [of("events", 16, 14)]


def test_a_day_that_costs_more_than_a_night_is_asked_for_all_the_same(store, received, instance):
    received("openpanel.events", ago(20), requests=10**6)
    assert older(night(events(store), instance)) == [of("events", 19)]


def test_days_before_the_first_landed_one_are_the_users_choice(store, received, instance):
    assert older(night(events(store), instance)) == []
    received("openpanel.events", ago(6, 5))
    assert older(night(events(store), instance)) == []


def test_days_before_the_first_partition_are_not_asked_for(store, received, instance):
    received("openpanel.events", ago(30, 10))
    assert older(night(events(store, start=8), instance)) == [of("events", 8, 5)]


def queued(instance, key, first, last, **tags):
    """A run over a range of days that has not begun, whatever started it."""
    run = dg.DagsterRun(
        job_name="j",
        run_id=str(uuid4()),
        status=dg.DagsterRunStatus.QUEUED,
        tags={START: str(first), END: str(last), **tags},
        asset_selection=frozenset([key]),
        remote_job_origin=RemoteJobOrigin(RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("here"), "r"), "j"),
    )
    instance.run_storage.add_run(run)


def test_days_that_a_run_is_about_to_land_are_not_asked_for(store, received, instance):
    received("openpanel.events", ago(12, 11, 10, 9))
    queued(instance, dg.AssetKey(["openpanel", "events"]), *ago(8, 7))
    assert older(night(events(store), instance)) == [of("events", 6, 5)]


def test_runs_of_another_code_location_that_lands_elsewhere_do_not_count(store, received, instance, tmp_path):
    received("openpanel.events", ago(12, 11, 10, 9))
    elsewhere = WarehouseResource(database=str(tmp_path / "staging.duckdb")).fingerprint()
    key = dg.AssetKey(["openpanel", "events"])
    queued(instance, key, *ago(8, 5), **{"connector/warehouse": elsewhere})
    queued(
        instance, key, *ago(4, 1), **{"connector/warehouse": elsewhere, "dagster/schedule_name": "openpanel_nightly"}
    )
    assert night(events(store), instance) == [of("events", 4, 1), of("events", 8, 5)]


def test_gaps_that_stand_alone_do_not_fill_the_queue(store, received, instance):
    received("openpanel.events", ago(*range(119, 4, -2)))
    asked = older(night(events(store, start=200), instance))
    assert len(asked) == RANGES_A_NIGHT
    assert asked[0] == of("events", 118)


def test_while_the_warehouse_is_busy_the_last_days_are_asked_for_all_the_same(store, received, instance, monkeypatch):
    received("openpanel.events", ago(12))
    monkeypatch.setattr("connector.dagster.days.LOCK_WAIT", 0.1)
    with store.warehouse().write():
        assert night(events(store), instance) == [of("events", 4, 1)]
    assert older(night(events(store), instance)) == [of("events", 11, 5)]


def test_a_second_project_and_another_timezone_have_gaps_of_their_own(store, received, instance):
    received("openpanel.insights_metrics", ago(*range(12, 0, -1)))
    received("openpanel_shop.insights_metrics", ago(12, 11))
    defs = openpanel_definitions(
        start_date=ago(60)[0], warehouse=store, timezone="Asia/Tokyo", instance="shop",
        tables=["events", "insights_metrics"],
    )  # fmt: skip
    assert older(night(defs, instance, "openpanel_shop_nightly_reports")) == [of("insights_metrics", 10, 5)]
    # A day of Tokyo ends at 15:00 UTC; what landed at 14:00 was a part of it.
    (day,) = ago(10)
    received("openpanel_shop.insights_metrics", [day], at=datetime.combine(day, time(14), UTC))
    assert older(night(defs, instance, "openpanel_shop_nightly_reports")) == [of("insights_metrics", 10, 5)]
    received("openpanel_shop.insights_metrics", [day], at=datetime.combine(day, time(15, 1), UTC))
    assert older(night(defs, instance, "openpanel_shop_nightly_reports")) == [of("insights_metrics", 9, 5)]


# ---------- Userpilot


def pilot(store, start=60):
    return userpilot_definitions(start_date=ago(start)[0], warehouse=store, userpilot=UserpilotResource())


def export(defs, instance):
    return night(defs, instance, "userpilot_nightly_export", NIGHT + timedelta(minutes=75))


def test_gaps_of_exports_come_right_behind_the_last_days_and_the_oldest_first(store, received, instance):
    received("userpilot.events", ago(30, 29, 27, 26, 24, 23, 21, 20, 19, 18, 16, 15))
    for _ in range(2):
        received("userpilot.events", ago(28), status="failed")
    days = {28, 25, 22, 17}
    received("userpilot.events", ago(*(set(range(30, 4, -1)) - days)))
    asked = export(pilot(store), instance)
    assert asked == [
        of("export_job", 4, 1),
        of("export_job", 25),
        of("export_job", 22),
        of("export_job", 17),
    ]
    received("userpilot.events", ago(25, 22, 17))
    assert export(pilot(store), instance)[1:] == [of("export_job", 28), of("export_job", 60, 31)]


def test_an_export_that_a_run_is_about_to_ask_for_or_land_is_not_asked_for_again(store, received, instance):
    received("userpilot.events", ago(*(set(range(60, 4, -1)) - {9, 7})))
    queued(instance, dg.AssetKey(["userpilot", "events"]), *ago(9), *ago(9))
    assert export(pilot(store), instance) == [of("export_job", 4, 1), of("export_job", 7)]


def test_what_another_environment_landed_under_the_same_key_is_not_landed_here(store, received, instance):
    """Dagster keeps one log for both; the receipts in the warehouse tell whose days they are."""
    for day in ago(9, 8, 7, 6, 5):
        instance.report_runless_asset_event(dg.AssetMaterialization(["userpilot", "events"], partition=str(day)))
    assert export(pilot(store, start=9), instance) == [of("export_job", 4, 1)]
    received("userpilot.events", ago(9, 8))
    assert export(pilot(store, start=9), instance) == [of("export_job", 7, 1)]


def test_a_range_longer_than_an_export_keeps_the_last_days_in_one_piece(store, instance):
    defs = userpilot_definitions(start_date=ago(200)[0], warehouse=store, userpilot=UserpilotResource())
    assert export(defs, instance) == [
        of("export_job", 92, 1),
        of("export_job", 184, 93),
        of("export_job", 200, 185),
    ]


# ---------- told


@pytest.fixture
def asset(source, store):
    (one,) = openpanel_assets(start_date=ago(60)[0], streams=[EVENTS], openpanel=source, warehouse=store)
    return one


class Told:
    """Ticks of the sensor that tells of days in a bad state."""

    def __init__(self, asset, store, instance, hours=0.0):
        self.alerts, self.instance, self.cursor, self.told = [], instance, None, 0
        _, self.sensor = connector_alerts([asset], tell=self.alerts.append, warehouse=store, broken_hours=hours)

    def tick(self):
        with dg.build_sensor_context(instance=self.instance, cursor=self.cursor) as context:
            self.cursor = self.sensor.evaluate_tick(context).cursor
        new, self.told = self.alerts[self.told :], len(self.alerts)
        return [(alert.state, alert.what) for alert in new]


def test_a_day_that_stays_missing_is_told_once_and_once_more_when_it_landed(asset, store, received, instance):
    received("openpanel.events", ago(8, 7, 4, 3, 2, 1))
    told = Told(asset, store, instance)
    ((state, what),) = told.tick()
    assert state == "missing"
    assert all(str(day) in what for day in ago(6, 5))
    assert told.tick() == []
    received("openpanel.events", ago(6, 5))
    ((state, what),) = told.tick()
    assert state == "mended"
    assert told.tick() == []


def test_a_gap_that_grows_is_told_once_and_another_gap_is_told_too(asset, store, received, instance, monkeypatch):
    received("openpanel.events", ago(9, 8, 6, 5))
    told = Told(asset, store, instance)
    monkeypatch.setattr("connector.dagster.alerts.TWO_NIGHTS", timedelta(days=4))
    assert [state for state, _ in told.tick()] == ["missing"]
    monkeypatch.setattr("connector.dagster.alerts.TWO_NIGHTS", timedelta(days=3))
    ((_, what),) = told.tick()
    assert str(*ago(4)) in what
    monkeypatch.setattr("connector.dagster.alerts.TWO_NIGHTS", timedelta(days=1))
    assert told.tick() == []


def test_yesterday_is_not_missing_before_two_nights_had_their_chance(asset, store, received, instance):
    received("openpanel.events", ago(4, 3))
    assert Told(asset, store, instance).tick() == []
    received("openpanel.events", ago(6))
    assert [state for state, _ in Told(asset, store, instance).tick()] == ["missing"]
    assert Told(asset, store, instance, hours=6.0).tick() == []


def test_a_missing_day_that_failed_is_told_as_the_failure_it_is(vendor, asset, store, received, instance):
    received("openpanel.events", ago(6, 4, 3))
    vendor.faults.add("status", "/export/events", status=401, times=None)
    tags = {"partition_key": str(*ago(5))}
    dg.materialize([asset], instance=instance, raise_on_error=False, **tags)
    ((state, what),) = Told(asset, store, instance).tick()
    assert (state, "401" in what) == ("broken", True)


def test_a_busy_warehouse_neither_mends_nor_misses(asset, store, received, instance, monkeypatch):
    received("openpanel.events", ago(8, 7))
    told = Told(asset, store, instance)
    assert len(told.tick()) == 1
    monkeypatch.setattr("connector.dagster.alerts.Warehouse", lambda name, **_: Warehouse(name, lock_wait=0.1))
    with store.warehouse().write():
        assert told.tick() == []
    assert told.tick() == []
