"""Asked in one run, waited for by the sensor, landed in another: what people see, and what survives."""

from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest

import connector.dagster.runs as silent
import connector.userpilot.exports.machine as machine
from connector.catalogue.userpilot import EVENT_TYPES, EVENTS, LOOKUPS
from connector.dagster import (
    UserpilotResource,
    userpilot_assets,
    userpilot_export_sensor,
    userpilot_nightly_export_schedule,
)
from connector.sandbox import USERPILOT_KEY
from connector.userpilot.client import FETCHES
from tests.dagster.userpilot.conftest import DAYS, RANGE, TYPES, Daemon, per_day, posts, row_counts, truth


def test_an_export_is_asked_for_waited_for_and_landed_without_a_click(pilot, daemon, instance, query, no_waits):
    assert daemon.materialize("export_job", tags=RANGE).success
    assert len(posts(pilot)) == 1
    daemon.ticks()

    assert per_day(query) == truth(pilot)
    assert len(posts(pilot)) == 1
    assert [key.split(":")[0] for key in daemon.keys] == ["land"]
    assert daemon.keys[0].endswith(":1")
    assert row_counts(instance) == {day.isoformat(): count for day, count in truth(pilot).items()}


def test_the_skip_reason_is_the_progress(pilot, daemon, monkeypatch):
    pilot.polls_to_complete = 9
    daemon.materialize("export_job", tags=RANGE)
    daemon.tick()
    assert daemon.reasons[-1].startswith("job ")
    assert "in progress" in daemon.reasons[-1]
    assert "chunks" in daemon.reasons[-1]


def test_the_sensor_only_reads(pilot, daemon, no_waits):
    pilot.fail_next_job()
    daemon.materialize("export_job", tags=RANGE)
    before = len(posts(pilot))
    for _ in range(4):
        daemon.tick(run=False)
    assert len(posts(pilot)) == before


def test_a_failed_job_is_asked_for_again_and_lands(pilot, daemon, query, no_waits):
    pilot.fail_next_job()
    daemon.materialize("export_job", tags=RANGE)
    daemon.ticks()
    assert per_day(query) == truth(pilot)
    assert len(posts(pilot)) == 2


def test_a_job_that_always_fails_is_halved_and_then_reported(pilot, daemon, instance, no_waits):
    pilot.fail_next_job(99)
    daemon.materialize("export_job", tags=RANGE)
    daemon.ticks(20)
    assert len(posts(pilot)) == 4, "twice whole, then each half once"
    lines = instance.fetch_observations(dg.AssetKey(["userpilot", "export_job"]), limit=100).records
    stages = [line.asset_observation.metadata["stage"].value for line in lines]
    assert stages.count("gave up") == 2


def test_a_forgotten_job_is_asked_for_again(pilot, daemon, query, no_waits, monkeypatch):
    monkeypatch.setattr(machine, "SETTLES", timedelta(0))
    daemon.materialize("export_job", tags=RANGE)
    pilot.lose_job(pilot.jobs.all[0].id)
    daemon.ticks()
    assert per_day(query) == truth(pilot)


def test_a_stranger_in_the_slot_costs_no_run_and_is_named(pilot, daemon, query, no_waits):
    foreign = pilot.foreign_job(seconds=3600)
    result = daemon.materialize("export_job", tags=RANGE)
    assert result.success
    assert not result.asset_materializations_for_node("userpilot__export_job")
    for _ in range(3):
        assert daemon.tick() == []
    assert f"held by job {foreign.id[:4]}…" in daemon.reasons[-1]

    pilot.finish_job(foreign.id)
    daemon.ticks()
    assert per_day(query) == truth(pilot)
    assert not any(foreign.id in request.path for request in pilot.file_requests)


def test_a_failed_landing_is_asked_for_again_up_to_a_limit(pilot, daemon, instance, query, no_waits):
    daemon.materialize("export_job", tags=RANGE)
    pilot.faults.add("cut", path="/exports/*", times=None)
    daemon.ticks()
    assert [key.rsplit(":", 1)[1] for key in daemon.keys] == ["1", "2", "3"]
    lines = instance.fetch_observations(dg.AssetKey(["userpilot", "export_job"]), limit=100).records
    assert "gave up" in [line.asset_observation.metadata["stage"].value for line in lines]


def test_a_landing_that_cannot_succeed_is_not_asked_for_again(pilot, daemon, instance, query, no_waits):
    """A day that shrank needs a decision; three runs would say the same three times."""
    daemon.materialize("export_job", tags=RANGE)
    daemon.ticks()
    before = per_day(query)
    for kind in EVENT_TYPES[:-1]:
        pilot.delete_events(event_type=kind)
    daemon.keys.clear()
    daemon.materialize("export_job", tags=RANGE)
    daemon.ticks()
    assert [key.rsplit(":", 1)[1] for key in daemon.keys] == ["1"]
    assert per_day(query) == before
    lines = instance.fetch_observations(dg.AssetKey(["userpilot", "export_job"]), limit=100).records
    told = [line.asset_observation for line in lines]
    (gave_up,) = [line for line in told if line.metadata["stage"].value == "gave up"]
    assert "allow_drop" in gave_up.description


def test_rows_without_a_usable_time_are_left_out_by_a_run_tag(pilot, daemon, instance, query, no_waits):
    """Until then it is one person's decision: the sensor lets go, and the days are as they were."""
    pilot.add_event(at="2026-03-04T10:00:00Z", inserted_at="infinity", event_name="lost")
    daemon.materialize("export_job", tags=RANGE)
    daemon.ticks()
    assert [key.rsplit(":", 1)[1] for key in daemon.keys] == ["1"]
    lines = instance.fetch_observations(dg.AssetKey(["userpilot", "export_job"]), limit=100).records
    told = [line.asset_observation for line in lines]
    (gave_up,) = [line for line in told if line.metadata["stage"].value == "gave up"]
    assert "connector/allow_undated: true" in gave_up.description

    assert daemon.materialize("events", tags={**RANGE, "connector/allow_undated": "true"}).success
    assert sum(per_day(query).values()) == sum(truth(pilot).values()) - 1
    assert query("select distinct rows_undated from connector.export_jobs") == [(1,)]
    assert len(posts(pilot)) == 1


def test_a_second_landing_run_succeeds_where_the_first_failed(pilot, daemon, query, no_waits):
    daemon.materialize("export_job", tags=RANGE)
    pilot.faults.add("cut", path="/exports/*", times=FETCHES)
    daemon.ticks()
    assert [key.rsplit(":", 1)[1] for key in daemon.keys] == ["1", "2"]
    assert per_day(query) == truth(pilot)


def test_a_landing_run_whose_process_died_is_noticed_and_landed_again(
    pilot, daemon, instance, query, no_waits, monkeypatch
):
    """After a power cut a run stays started for ever where Dagster cannot ask its worker."""
    daemon.materialize("export_job", tags=RANGE)
    while not (wanted := daemon.tick(run=False)):
        pass
    dead = dg.DagsterRun(job_name="landing", tags=dict(wanted[0].tags), status=dg.DagsterRunStatus.STARTED)
    instance.add_run(dead)
    instance.report_engine_event("downloading file 1", dead)
    daemon.tick()
    assert "landing" in daemon.reasons[-1]  # a run that spoke a moment ago is alive
    monkeypatch.setattr(silent, "SILENT", timedelta(0))
    daemon.ticks()
    assert instance.get_run_by_id(dead.run_id).status == dg.DagsterRunStatus.FAILURE
    assert [key.rsplit(":", 1)[1] for key in daemon.keys] == ["1", "2"]
    assert per_day(query) == truth(pilot)


def test_a_reset_cursor_repeats_nothing(pilot, daemon, query, no_waits):
    daemon.materialize("export_job", tags=RANGE)
    daemon.tick(run=False)
    daemon.cursor = None
    daemon.keys.clear()
    daemon.ticks()
    assert per_day(query) == truth(pilot)
    assert len(posts(pilot)) == 1
    done = list(daemon.keys)
    daemon.cursor = "{ not json"
    daemon.ticks()
    assert daemon.keys == done


def test_without_a_key_the_tick_says_so_and_nothing_is_lost(pilot, daemon, assets, resources, query, no_waits):
    daemon.materialize("export_job", tags=RANGE)
    good = daemon.sensor
    daemon.sensor = userpilot_export_sensor(
        assets, EVENTS, userpilot=UserpilotResource(), warehouse=resources["warehouse"]
    )
    daemon.tick()
    assert "USERPILOT_API_KEY" in daemon.reasons[-1]
    daemon.sensor = good
    daemon.ticks()
    assert per_day(query) == truth(pilot)


def test_by_hand_the_run_asks_and_waits_itself(pilot, daemon, query, no_waits):
    assert daemon.materialize("events", tags=RANGE).success
    assert per_day(query) == truth(pilot)
    daemon.ticks()
    assert daemon.keys == []


def test_by_hand_patience_ends_and_the_sensor_goes_on(pilot, daemon, query, no_waits, assets, resources):
    pilot.polls_to_complete = 10**6
    impatient = userpilot_assets(
        start_date=date(2026, 3, 1), options=TYPES, retry_policy=None, patience=0.5, **resources
    )
    daemon.assets = impatient
    assert not daemon.materialize("events", tags=RANGE).success
    pilot.finish_job(pilot.jobs.all[0].id)
    daemon.assets = assets
    daemon.ticks()
    assert per_day(query) == truth(pilot)
    assert len(posts(pilot)) == 1


def test_ninety_days_are_one_job_and_one_run_with_ninety_counts(pilot, daemon, instance, query, no_waits, resources):
    first = date(2026, 3, 1)
    tags = {
        "dagster/asset_partition_range_start": first.isoformat(),
        "dagster/asset_partition_range_end": (first + timedelta(days=89)).isoformat(),
    }
    daemon.materialize("export_job", tags=tags)
    daemon.ticks()
    counts = row_counts(instance)
    assert len(counts) == 90
    assert len(posts(pilot)) == 1
    assert len(daemon.keys) == 1
    assert {date.fromisoformat(day): n for day, n in counts.items() if date.fromisoformat(day) in DAYS} == truth(pilot)


def test_an_unknown_option_is_refused_before_anything_is_sent(pilot, daemon):
    result = daemon.materialize(
        "export_job", tags=RANGE, run_config={"ops": {"userpilot__export_job": {"config": {"event_type": ["trak"]}}}}
    )
    assert not result.success
    assert posts(pilot) == []


def test_options_of_a_run_reach_the_vendor(pilot, daemon):
    config = {"ops": {"userpilot__export_job": {"config": {"user_id": ["u-0001"], "format": "csv"}}}}
    assert daemon.materialize("export_job", tags=RANGE, run_config=config).success
    assert posts(pilot)[0].json() == {
        "from": "2026-03-03", "to": "2026-03-08", "format": "csv", "user_id": ["u-0001"],
        "event_type": list(EVENT_TYPES),
    }  # fmt: skip


def test_every_lookup_lands(pilot, assets, instance, query):
    chosen = [asset for asset in assets if asset.partitions_def is None]
    result = dg.materialize(chosen, instance=instance)
    assert result.success
    assert {asset.key.path[-1] for asset in chosen} == {stream.name for stream in LOOKUPS}
    assert query("select count(*) from userpilot.flows where _current") == [(3,)]


def test_every_night_asks_for_what_is_missing_and_the_last_days_again(assets, daemon):
    with dg.instance_for_test() as instance:
        check_the_night(assets, instance, daemon)


def check_the_night(assets, instance, daemon):
    schedule = userpilot_nightly_export_schedule(assets, lookback_days=1)
    for day in (date(2026, 3, 1), date(2026, 3, 2), date(2026, 3, 4), date(2026, 3, 5), date(2026, 3, 6)):
        instance.report_runless_asset_event(dg.AssetMaterialization(["userpilot", "events"], partition=day.isoformat()))
    context = dg.build_schedule_context(
        instance=instance,
        scheduled_execution_time=datetime(2026, 3, 7, 4, 30, tzinfo=UTC),
        repository_def=daemon.definitions.get_repository_def(),
    )
    found = [tuple(request.tags.values())[:2] for request in schedule.evaluate_tick(context).run_requests]
    assert found == [("2026-03-05", "2026-03-06"), ("2026-03-03", "2026-03-03")]


def test_no_secret_is_in_the_event_log(pilot, daemon, instance, no_waits):
    daemon.materialize("export_job", tags=RANGE)
    daemon.ticks()
    text = "".join(str(entry) for run in instance.get_runs() for entry in instance.all_logs(run.run_id)) + str(
        daemon.cursor
    )
    assert USERPILOT_KEY not in text
    assert "X-Amz-Signature" not in text


# ---------- days outside today's partitions


def later_start(daemon, resources, instance, start):
    """The same deployment after START_DATE moved: its sensor goes on where it was."""
    assets = userpilot_assets(start_date=start, options=TYPES, retry_policy=None, patience=5.0, **resources)
    after = Daemon(assets, resources, instance)
    after.cursor, after.keys = daemon.cursor, daemon.keys
    return after


def gave_up(instance):
    lines = instance.fetch_observations(dg.AssetKey(["userpilot", "export_job"]), limit=100).records
    told = [line.asset_observation for line in lines]
    return [line.description for line in told if line.metadata["stage"].value == "gave up"]


@pytest.mark.parametrize("seen_before", [True, False])
def test_an_export_that_begins_before_the_first_partition_lands_over_the_days_that_have_one(
    pilot, daemon, resources, instance, query, no_waits, seen_before
):
    pilot.polls_to_complete = 9
    daemon.materialize("export_job", tags=RANGE)
    if seen_before:
        assert daemon.tick() == []
    pilot.finish_job(pilot.jobs.all[0].id)
    after = later_start(daemon, resources, instance, DAYS[1])
    after.ticks()
    assert per_day(query) == truth(pilot)
    assert set(row_counts(instance)) == {str(day) for day in DAYS[1:]}
    assert len(after.keys) == 1
    assert gave_up(instance) == []


def test_a_landing_that_failed_before_the_move_is_repeated_over_the_days_that_are_left(
    pilot, daemon, resources, instance, query, no_waits
):
    daemon.materialize("export_job", tags=RANGE)
    pilot.faults.add("cut", path="/exports/*", times=FETCHES)
    while not daemon.keys:
        daemon.tick()
    after = later_start(daemon, resources, instance, DAYS[2])
    after.ticks()
    assert [key.rsplit(":", 1)[1] for key in after.keys] == ["1", "2"]
    assert per_day(query) == truth(pilot)


def test_an_export_without_any_partition_is_let_go_in_one_sentence(pilot, daemon, resources, instance, no_waits):
    daemon.materialize("export_job", tags=RANGE)
    after = later_start(daemon, resources, instance, DAYS[-1] + timedelta(days=1))
    assert after.tick() == []
    (said,) = gave_up(instance)
    assert "START_DATE" in said
    assert after.tick() == []
    assert after.reasons[-1] == "no export is under way"


def test_a_request_without_any_partition_is_not_asked_for_when_the_slot_is_free(
    pilot, daemon, resources, instance, no_waits
):
    foreign = pilot.foreign_job(seconds=3600)
    daemon.materialize("export_job", tags=RANGE)
    daemon.tick()
    pilot.finish_job(foreign.id)
    after = later_start(daemon, resources, instance, DAYS[-1] + timedelta(days=1))
    before = len(posts(pilot))
    for _ in range(3):
        assert after.tick() == []
    assert len(posts(pilot)) == before


def test_a_days_metadata_is_that_days_and_the_runs_list_stays_readable(pilot, daemon, instance):
    daemon.materialize("export_job", tags=RANGE)
    (request,) = [one for _ in range(9) for one in daemon.tick()]
    assert all(len(value) < 64 and "{" not in value for value in request.tags.values()), request.tags
    records = instance.fetch_materializations(dg.AssetKey(["userpilot", "events"]), limit=9).records
    shown = {record.partition_key: record.asset_materialization.metadata for record in records}
    assert set(shown) == {str(day) for day in DAYS}
    for metadata in shown.values():
        assert not {"bytes", "seconds", "files", "rows in run", "days in run"} & set(metadata)
    assert [day for day, metadata in shown.items() if "preview" in metadata] == [str(DAYS[-1])]
