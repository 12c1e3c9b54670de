"""What failed and what stays broken is told once, with the next step; the address of the webhook is never shown."""

import json
import threading
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from uuid import uuid4

import dagster as dg
import pytest
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from connector import EVENTS, SettingsError
from connector.dagster import (
    ConnectorTranslator,
    OpenPanelResource,
    WarehouseResource,
    connector_alerts,
    openpanel_assets,
)
from connector.dagster.alerts import Alert
from connector.dagster.openpanel.drift import openpanel_drift_sensor
from connector.dagster.openpanel.schedules import openpanel_nightly_schedule
from connector.http.webhook import Webhook
from connector.sandbox import READ
from connector.warehouse.coverage import record_counts

# Yesterday: of a table whose newest landed day is older, the days since are missing, and that is told as well.
DAY = datetime.now(UTC).date() - timedelta(days=1)
SECRET_PATH = "/services/T000/very-secret-path?token=very-secret-token"


@contextmanager
def receiver(statuses=()):
    """A webhook's other end; answers with the given statuses, then with 200."""
    got, left = [], list(statuses)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            status = left.pop(0) if left else 200
            if status == 200:
                got.append((self.path, json.loads(body)))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"ok" if status == 200 else f"no such {self.path}".encode())

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", got
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def instance():
    with dg.instance_for_test() as one:
        yield one


@pytest.fixture
def made(url, tmp_path):
    """The events' asset, bound to the sandbox; its warehouse resource."""
    store = WarehouseResource(database=str(tmp_path / "warehouse.duckdb"), spool_dir=str(tmp_path / "spool"))
    source = OpenPanelResource(api_url=url, client_id=READ.id, client_secret=READ.secret, project_id="demo")
    (asset,) = openpanel_assets(
        start_date=date(2026, 3, 1), streams=[EVENTS], openpanel=source, warehouse=store, retry_policy=None
    )
    return asset, store


def run(asset, instance, day=DAY, **tags):
    return dg.materialize([asset], instance=instance, partition_key=str(day), raise_on_error=False, tags=tags)


def failed_run(sensor, result, instance, assets=()):
    """Evaluate the sensor for a run, as the daemon does; ``assets`` are those of the code location."""
    event = next(e for e in result.all_events if e.event_type == dg.DagsterEventType.RUN_FAILURE)
    context = dg.build_run_status_sensor_context(
        sensor_name=sensor.name,
        dagster_event=event,
        dagster_instance=instance,
        dagster_run=result.dagster_run,
        repository_def=dg.Definitions(assets=[*assets], sensors=[sensor]).get_repository_def(),
    ).for_run_failure()
    return sensor(context)


def tick(sensor, instance, cursor=None, asset=None):
    assets = asset if isinstance(asset, list) else [asset]
    repository = dg.Definitions(assets=assets, sensors=[sensor]).get_repository_def() if asset else None
    with dg.build_sensor_context(instance=instance, cursor=cursor, repository_def=repository) as context:
        return sensor.evaluate_tick(context)


def test_a_failed_run_is_told_in_the_connectors_own_words(vendor, made, instance):
    asset, store = made
    vendor.faults.add("status", "/export/events", status=401, times=None)
    told = []
    sensor, _ = connector_alerts([asset], tell=told.append, warehouse=store)
    result = run(asset, instance)
    failed_run(sensor, result, instance)

    (alert,) = told
    assert (alert.state, alert.where, alert.run_id) == ("failed", f"openpanel.events[{DAY}]", result.run_id)
    assert "401" in alert.what
    assert "OPENPANEL_CLIENT_SECRET" in alert.next_step
    assert READ.secret not in repr(alert)


def test_runs_that_dagster_starts_again_and_runs_of_other_assets_are_not_told(vendor, made, instance):
    asset, store = made
    vendor.faults.add("status", "/export/events", status=401, times=None)
    told = []
    sensor, _ = connector_alerts([asset], tell=told.append, warehouse=store)
    again = run(asset, instance, **{"dagster/will_retry": "true"})
    assert "started again" in failed_run(sensor, again, instance).skip_message

    @dg.asset
    def theirs():
        raise ValueError("theirs")

    other = dg.materialize([theirs], instance=instance, raise_on_error=False)
    assert "not the connector" in failed_run(sensor, other, instance).skip_message
    assert told == []


def test_sensors_without_a_list_watch_all_of_ours_in_the_code_location_and_nothing_else(
    vendor, url, tmp_path, instance
):
    """Also where a translator calls the assets something else: receipts and counts are kept by table."""

    class Ours(ConnectorTranslator):
        def key(self, stream):
            return dg.AssetKey(["web", "raw", stream.name])

    @dg.asset(partitions_def=dg.DailyPartitionsDefinition("2026-03-01"))
    def theirs():
        raise ValueError("theirs")

    elsewhere = dg.AssetSpec("elsewhere")
    store = WarehouseResource(database=str(tmp_path / "warehouse.duckdb"), spool_dir=str(tmp_path / "spool"))
    source = OpenPanelResource(api_url=url, client_id=READ.id, client_secret=READ.secret, project_id="demo")
    (asset,) = openpanel_assets(
        start_date=date(2026, 3, 1), streams=[EVENTS], openpanel=source, warehouse=store, retry_policy=None,
        translator=Ours(),
    )  # fmt: skip
    told, every = [], [asset, theirs, elsewhere]
    failures, broken = connector_alerts(tell=told.append, warehouse=store, broken_hours=0)
    vendor.add("e", at=f"{DAY}T01:00:00Z")
    assert run(asset, instance).success
    record_counts(store.warehouse(), EVENTS, {DAY: 5})
    vendor.faults.add("status", "/export/events", status=401, times=None)

    assert "not the connector" in failed_run(failures, run(theirs, instance), instance, every).skip_message
    failed_run(failures, run(asset, instance, DAY + timedelta(days=1)), instance, every)
    assert [one.where for one in told] == [f"openpanel.events[{DAY + timedelta(days=1)}]"]
    told.clear()
    tick(broken, instance, asset=every)

    assert sorted((one.state, one.where) for one in told) == [
        ("broken", "openpanel.events"),
        ("moved", "openpanel.events"),
    ]


def test_any_other_exception_of_our_assets_is_told_as_well(made, instance, monkeypatch):
    import connector.sync

    def broken(*_, **__):
        raise ZeroDivisionError("a bug")

    asset, store = made
    monkeypatch.setattr(connector.sync, "sync_day", broken)
    told = []
    sensor, _ = connector_alerts([asset], tell=told.append, warehouse=store)
    failed_run(sensor, run(asset, instance), instance)
    assert "a bug" in told[0].what
    assert "open the run" in told[0].next_step


def test_a_webhook_gets_the_fields_and_one_line(vendor, made, instance, monkeypatch):
    asset, store = made
    vendor.faults.add("status", "/export/events", status=401, times=None)
    sensor, _ = connector_alerts([asset], warehouse=store)
    with receiver() as (base, got):
        monkeypatch.setenv("CONNECTOR_ALERT_WEBHOOK", base + SECRET_PATH)
        assert failed_run(sensor, run(asset, instance), instance) is None
    ((path, message),) = got
    assert path == SECRET_PATH
    assert message["state"] == "failed"
    assert message["text"].startswith(f"failed: openpanel.events[{DAY}]: ")
    assert {"what", "where", "next_step", "run_id"} <= message.keys()


def test_without_a_webhook_the_sensor_says_so(vendor, made, instance):
    asset, store = made
    vendor.faults.add("status", "/export/events", status=401, times=None)
    sensor, _ = connector_alerts([asset], warehouse=store)
    assert "set CONNECTOR_ALERT_WEBHOOK" in failed_run(sensor, run(asset, instance), instance).skip_message


ALERT = Alert(state="failed", what="w.", where="x", next_step="n.")


@pytest.mark.parametrize(("statuses", "sent"), [((), 1), ((503,), 1), ((503, 502, 503), 0), ((404,), 0), ((410,), 0)])
def test_a_webhook_is_asked_a_few_times_and_never_shown(statuses, sent, no_pauses):
    with receiver(statuses) as (base, got), Webhook(base + SECRET_PATH) as hook:
        assert "very-secret" not in repr(hook)
        if sent:
            hook.post(ALERT.message())
        else:
            with pytest.raises(Exception, match="the webhook at") as caught:
                hook.post(ALERT.message())
            assert "very-secret" not in str(caught.value)
            assert "very-secret" not in repr(caught.value.__context__ if not caught.value.__suppress_context__ else "")
    assert len(got) == sent


@pytest.mark.parametrize(
    "value", ["http://hooks.example.com/x?very-secret", "ftp://x/very-secret", "very-secret", "https://[very-secret"]
)
def test_an_address_that_is_none_is_refused_without_repeating_it(value):
    with pytest.raises(SettingsError, match="CONNECTOR_ALERT_WEBHOOK") as caught:
        Webhook(value)
    assert "very-secret" not in str(caught.value)


def test_a_webhook_that_is_down_does_not_fail_the_sensor(made, vendor, instance, monkeypatch, no_pauses):
    asset, store = made
    vendor.faults.add("status", "/export/events", status=401, times=None)
    monkeypatch.setenv("CONNECTOR_ALERT_WEBHOOK", "http://127.0.0.1:9/very-secret")
    sensor, _ = connector_alerts([asset], warehouse=store)
    said = failed_run(sensor, run(asset, instance), instance).skip_message
    assert "not told" in said
    assert "very-secret" not in said


# ---------- days that stay broken


def test_a_day_that_stays_broken_is_told_once_and_once_more_when_it_is_mended(vendor, made, instance):
    asset, store = made
    vendor.faults.add("status", "/export/events", status=401, times=1)
    run(asset, instance)
    told = []
    (_, patient), (_, hasty) = (
        connector_alerts([asset], tell=told.append, warehouse=store, broken_hours=hours) for hours in (1.0, 0.0)
    )
    result = tick(patient, instance)
    assert (told, "1 days are in a bad state" in result.skip_message) == ([], True)

    cursor = tick(hasty, instance, result.cursor).cursor
    (alert,) = told
    assert (alert.state, alert.where) == ("broken", "openpanel.events")
    assert str(DAY) in alert.what
    assert "401" in alert.what, "the last failure's own words"
    assert "OPENPANEL_CLIENT_SECRET" in alert.next_step
    cursor = tick(hasty, instance, cursor).cursor
    assert len(told) == 1, "told once, not every tick"

    vendor.add("e", at=f"{DAY}T01:00:00Z")
    assert run(asset, instance).success
    cursor = tick(hasty, instance, cursor).cursor
    assert [one.state for one in told] == ["broken", "mended"]
    tick(hasty, instance, cursor)
    assert len(told) == 2


def test_a_range_run_that_failed_leaves_every_one_of_its_days_broken(vendor, made, instance):
    asset, store = made
    vendor.faults.add("status", "/export/events", status=401, times=None)
    first = DAY - timedelta(days=2)
    dg.materialize(
        [asset],
        instance=instance,
        raise_on_error=False,
        tags={"dagster/asset_partition_range_start": str(first), "dagster/asset_partition_range_end": str(DAY)},
    )
    told = []
    _, sensor = connector_alerts([asset], tell=told.append, warehouse=store, broken_hours=0)
    tick(sensor, instance)
    assert all(str(first + timedelta(days=n)) in told[0].what for n in range(3))


def test_a_landed_day_that_failed_again_is_broken(vendor, made, instance):
    """Its old rows are in place, but the lookback that would have brought the late ones did not land."""
    asset, store = made
    vendor.add("e", at=f"{DAY}T01:00:00Z")
    run(asset, instance)
    vendor.faults.add("status", "/export/events", status=401, times=None)
    run(asset, instance)
    told = []
    _, sensor = connector_alerts([asset], tell=told.append, warehouse=store, broken_hours=0)
    tick(sensor, instance)
    assert [one.state for one in told] == ["broken"]


def test_a_count_that_stays_another_one_is_told(vendor, made, instance):
    asset, store = made
    vendor.add("e", at=f"{DAY}T01:00:00Z")
    run(asset, instance)
    record_counts(store.warehouse(), EVENTS, {DAY: 5})
    told = []
    _, sensor = connector_alerts([asset], tell=told.append, warehouse=store, broken_hours=0)
    cursor = tick(sensor, instance).cursor
    assert (told[0].state, "1 -> 5" in told[0].what) == ("moved", True)
    record_counts(store.warehouse(), EVENTS, {DAY: 1})
    tick(sensor, instance, cursor)
    assert [one.state for one in told] == ["moved", "mended"]


def test_a_busy_warehouse_mends_nothing(vendor, made, instance, monkeypatch):
    asset, store = made
    vendor.add("e", at=f"{DAY}T01:00:00Z")
    run(asset, instance)
    record_counts(store.warehouse(), EVENTS, {DAY: 5})
    told = []
    _, sensor = connector_alerts([asset], tell=told.append, warehouse=store, broken_hours=0)
    cursor = tick(sensor, instance).cursor
    from connector import Warehouse

    monkeypatch.setattr("connector.dagster.alerts.Warehouse", lambda name, **_: Warehouse(name, lock_wait=0.1))
    with store.warehouse().write():
        cursor = tick(sensor, instance, cursor).cursor
    tick(sensor, instance, cursor)
    assert [one.state for one in told] == ["moved"]


def test_what_could_not_be_told_is_told_later(vendor, made, instance, monkeypatch, no_pauses):
    asset, store = made
    vendor.faults.add("status", "/export/events", status=401, times=None)
    run(asset, instance)
    _, sensor = connector_alerts([asset], warehouse=store, broken_hours=0)
    with receiver([503, 503, 503]) as (base, got):
        monkeypatch.setenv("CONNECTOR_ALERT_WEBHOOK", base + SECRET_PATH)
        first = tick(sensor, instance)
        assert "not told" in first.skip_message
        tick(sensor, instance, first.cursor)
    assert [message["state"] for _, message in got] == ["broken"]


@pytest.mark.parametrize("cursor", ["", "rubbish", "[]", '{"seen": [1]}', '{"seen": [["a","b","c","soon",1]]}'])
def test_a_cursor_that_is_not_one_starts_over(made, instance, cursor):
    asset, store = made
    _, sensor = connector_alerts([asset], warehouse=store)
    assert "0 days" in tick(sensor, instance, cursor).skip_message


# ---------- a queue that cannot pile up


def queued(instance, asset, status="QUEUED", **tags):
    """A run of the asset, as a daemon would have made it, in a given state."""
    run = dg.DagsterRun(
        job_name="j",
        run_id=str(uuid4()),
        status=dg.DagsterRunStatus[status],
        tags=tags,
        asset_selection=frozenset([asset.key]),
        remote_job_origin=RemoteJobOrigin(RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("here"), "r"), "j"),
    )
    instance.run_storage.add_run(run)


@pytest.mark.parametrize("status", ["QUEUED", "STARTED", "SUCCESS", "FAILURE"])
def test_a_night_behind_a_night_that_has_not_ended_requests_nothing(made, instance, status):
    asset, _ = made
    schedule = openpanel_nightly_schedule([asset])
    queued(instance, asset, status, **{"dagster/schedule_name": "openpanel_nightly"})
    context = dg.build_schedule_context(
        instance=instance,
        scheduled_execution_time=datetime(2026, 3, 5, 3, 15, tzinfo=UTC),
        repository_def=dg.Definitions(assets=[asset], schedules=[schedule]).get_repository_def(),
    )
    result = schedule.evaluate_tick(context)
    if status in ("QUEUED", "STARTED"):
        assert result.run_requests == []
        assert f"is still {status.lower()}" in result.skip_message
    else:
        assert len(result.run_requests) == 1


def test_a_day_that_moved_is_not_requested_behind_its_own_run(vendor, made, instance, url):
    asset, store = made
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    vendor.add("e", at=f"{yesterday}T01:00:00Z")
    assert run(asset, instance, yesterday).success
    vendor.add("late", at=f"{yesterday}T02:00:00Z")
    source = OpenPanelResource(api_url=url, client_id=READ.id, client_secret=READ.secret, project_id="demo")
    sensor = openpanel_drift_sensor(asset, EVENTS, openpanel=source, warehouse=store)
    assert [request.partition_key for request in tick(sensor, instance, asset=asset).run_requests] == [str(yesterday)]
    queued(instance, asset, **{"dagster/sensor_name": sensor.name, "dagster/partition": str(yesterday)})
    result = tick(sensor, instance, asset=asset)
    assert (result.run_requests, "1 wait for a run" in result.skip_message) == ([], True)
