"""Production and staging in one Dagster instance, with the same asset keys: each sensor keeps to its own exports."""

import dagster as dg
import msgspec
import pytest

import connector.userpilot.exports.machine as machine
from connector.catalogue.userpilot import EVENT_TYPES
from connector.dagster import UserpilotResource, WarehouseResource, userpilot_assets
from connector.sandbox import USERPILOT_KEY, Userpilot, serve_userpilot
from connector.userpilot.exports.job import Job, State
from connector.userpilot.exports.request import Options, Request
from tests.dagster.userpilot.conftest import DAYS, RANGE, TYPES, Daemon, per_day, posts, truth

KEY = dg.AssetKey(["userpilot", "export_job"])


@pytest.fixture
def other_pilot():
    vendor = Userpilot(polls_to_complete=1)
    vendor.load_sample(DAYS[0], DAYS[-1])
    return vendor


@pytest.fixture
def staging(other_pilot, instance, tmp_path):
    """The other code location: its own vendor, warehouse and spool; the same keys and the same event log."""
    with serve_userpilot(other_pilot) as (api, _):
        resources = {
            "userpilot": UserpilotResource(api_url=api, api_key=USERPILOT_KEY),
            "warehouse": WarehouseResource(database=str(tmp_path / "second.duckdb"), spool_dir=str(tmp_path / "other")),
        }
        assets = userpilot_assets(start_date=DAYS[0], options=TYPES, retry_policy=None, patience=5.0, **resources)
        yield Daemon(assets, resources, instance)


@pytest.fixture(autouse=True)
def at_once(no_waits, monkeypatch):
    monkeypatch.setattr(machine, "SETTLES", machine.timedelta(0))


def lines(instance):
    return [record.asset_observation for record in instance.fetch_observations(KEY, limit=100).records]


def test_an_export_of_production_is_nothing_to_staging(pilot, other_pilot, daemon, staging, query):
    daemon.materialize("export_job", tags=RANGE)
    for _ in range(4):
        assert staging.tick() == []
    assert staging.reasons[-1] == "no export is under way"
    assert posts(other_pilot) == []
    daemon.ticks()
    assert per_day(query) == truth(pilot)
    assert len(posts(pilot)) == 1


def test_both_wait_for_exports_of_the_same_days_and_land_their_own(
    pilot, other_pilot, daemon, staging, query, tmp_path
):
    """Both requests have the same id; each is landed once, from its own vendor."""
    daemon.materialize("export_job", tags=RANGE)
    staging.materialize("export_job", tags=RANGE)
    assert pilot.jobs.all[0].id == other_pilot.jobs.all[0].id, "both sandboxes count from one"
    for _ in range(4):
        daemon.tick()
        staging.tick()
    assert per_day(query) == truth(pilot)
    with WarehouseResource(database=str(tmp_path / "second.duckdb")).warehouse().read() as connection:
        assert connection.execute("select count(*) from userpilot.events").fetchone()[0] > 0
    assert (len(posts(pilot)), len(posts(other_pilot))) == (1, 1)
    assert (len(daemon.keys), len(staging.keys)) == (1, 1)
    assert set(daemon.keys).isdisjoint(staging.keys)


def test_what_failed_or_waits_for_a_slot_in_production_is_not_asked_for_by_staging(pilot, other_pilot, daemon, staging):
    pilot.fail_next_job()
    foreign = pilot.foreign_job(seconds=3600)
    daemon.materialize("export_job", tags=RANGE)  # the slot is taken: a request without a job
    for _ in range(3):
        assert staging.tick() == []
    pilot.finish_job(foreign.id)
    daemon.tick()
    for _ in range(3):
        assert staging.tick() == []
    assert posts(other_pilot) == []


def without_environment(instance):
    """The event log as an old version wrote it."""
    old = lines(instance)
    instance.wipe_assets([KEY])
    for line in reversed(old):
        metadata = {name: value for name, value in line.metadata.items() if name != "connector/environment"}
        instance.report_runless_asset_event(dg.AssetObservation(KEY, metadata=metadata))


def test_a_line_of_an_old_version_is_taken_up_by_the_one_that_knows_the_job(
    pilot, other_pilot, daemon, staging, instance, query
):
    daemon.materialize("export_job", tags=RANGE)
    without_environment(instance)
    assert staging.tick() == []
    assert "another environment" in staging.reasons[-1]
    staging.tick()
    assert staging.reasons[-1] == "no export is under way"
    assert posts(other_pilot) == []
    daemon.ticks()
    assert per_day(query) == truth(pilot)


def test_an_old_request_that_waits_for_its_turn_is_known_by_the_ledger(
    pilot, other_pilot, daemon, staging, instance, query
):
    foreign = pilot.foreign_job(seconds=3600)
    daemon.materialize("export_job", tags=RANGE)
    without_environment(instance)
    assert staging.tick() == []
    pilot.finish_job(foreign.id)
    for _ in range(3):
        assert staging.tick() == []
    assert posts(other_pilot) == []
    daemon.ticks()
    assert per_day(query) == truth(pilot)


def test_a_cursor_of_an_old_version_is_understood(pilot, other_pilot, daemon, staging, query):
    """Entries had no owner then; staging's may hold an export of production."""
    daemon.materialize("export_job", tags=RANGE)
    daemon.tick(run=False)
    old = msgspec.json.decode(daemon.cursor)
    for entry in old["entries"].values():
        del entry["owner"]
        entry["stage"], entry["runs"] = "waiting", 0
    old["v"] = 1
    daemon.cursor = staging.cursor = msgspec.json.encode(old).decode()
    for _ in range(3):
        assert staging.tick() == []
    daemon.keys.clear()
    daemon.ticks()
    assert per_day(query) == truth(pilot)
    assert posts(other_pilot) == []


def test_one_export_with_two_lines_is_landed_once(pilot, daemon, instance, query):
    """A request that found the slot taken, and turned out to be the job that runs: both lines lead to one landing."""
    pilot.polls_to_complete = 6
    daemon.materialize("export_job", tags=RANGE)
    request = Request.checked(DAYS[0], DAYS[-1], Options.of(TYPES), today=DAYS[-1] + machine.timedelta(days=9))
    waiting = Job(request=request, state=State.FOREIGN, holder="someone")
    (known,) = lines(instance)
    instance.report_runless_asset_event(
        dg.AssetObservation(
            KEY,
            metadata={
                **known.metadata,
                "stage": "requested",
                "connector/export": msgspec.json.encode(waiting).decode(),
            },
        )
    )
    wanted = [request for _ in range(9) for request in daemon.tick()]
    assert [request.run_key.split(":")[0] for request in wanted] == ["land"]
    assert per_day(query) == truth(pilot)
    assert len(posts(pilot)) == 1


def test_a_fingerprint_tells_environments_apart_and_nothing_else():
    def of(**fields):
        return UserpilotResource(**{"api_url": "https://a.example.com", "api_key": "key-1", **fields}).fingerprint()

    assert of() == of(api_url="https://A.example.com/")
    assert len({of(), of(api_key="key-2"), of(api_url="https://b.example.com")}) == 3
    assert "key-1" not in of()


def test_no_line_tells_the_key_or_the_address(pilot, daemon, instance, resources):
    daemon.materialize("export_job", tags=RANGE)
    daemon.ticks()
    assert len(lines(instance)) > 1
    environments = {line.metadata["connector/environment"].value for line in lines(instance)}
    assert environments == {resources["userpilot"].fingerprint()}
    said = str(lines(instance)) + str(daemon.cursor) + str(daemon.keys)
    assert USERPILOT_KEY not in said
    assert resources["userpilot"].api_url not in said
    assert len(EVENT_TYPES) > 1
