"""When models ask to be built: which days, in which order, what they wait for, and what asks for nothing."""

import json
from pathlib import Path

import dagster as dg
from dagster._core.execution.api import create_execution_plan

from tests.dagster.models import LATE, OPENPANEL, Clockwork, made
from tests.sql.conftest import DAYS, FIRST
from tests.sql.project import BY_DAY

USERPILOT = dg.AssetKey(["userpilot", "events"])
MARTS_BY_DAY = {dg.AssetKey(["marts", name]) for name in BY_DAY}
MART_OF_NAMES = dg.AssetKey(["marts", "flow_adoption"])


def test_nothing_is_built_before_something_landed(clockwork):
    assert clockwork.tick() == {}


def test_a_model_by_day_asks_for_those_that_read_it_and_one_that_none_reads_for_nothing(clockwork):
    clockwork.landed(dg.AssetKey(["marts", "funnel"]), LATE)
    assert clockwork.tick() == {}
    clockwork.landed(dg.AssetKey(["marts", "daily_active"]), LATE)
    assert dg.AssetKey(["marts", "vendor_comparison"]) in clockwork.tick()


def test_a_landing_of_an_old_day_asks_for_that_days_models_and_no_others(clockwork):
    clockwork.landed(OPENPANEL, LATE)
    asked = clockwork.tick()
    assert set(asked) >= MARTS_BY_DAY
    assert set(map(frozenset, asked.values())) == {frozenset({str(LATE)})}
    assert clockwork.tick() == {}


def test_a_landed_day_before_the_first_day_of_the_models_asks_for_nothing(manifest, tmp_path):
    """START_DATE of the models may be later than that of the landings; the days after it are built as ever."""
    defs, _ = made(manifest, tmp_path / "warehouse.duckdb", start=DAYS[2])
    with dg.DagsterInstance.ephemeral() as instance:
        works = Clockwork(defs, instance)
        works.tick()
        works.landed(OPENPANEL, DAYS[0])
        works.landed(USERPILOT, DAYS[1])
        assert works.tick() == {}
        works.landed(OPENPANEL, DAYS[1])
        works.landed(OPENPANEL, DAYS[3])
        asked = works.tick()
    assert set(map(frozenset, (asked[key] for key in MARTS_BY_DAY))) == {frozenset({str(DAYS[3])})}


def test_what_lands_while_a_build_is_under_way_asks_for_another(clockwork):
    clockwork.landed(OPENPANEL, LATE)
    building = clockwork.tick()
    assert clockwork.tick() == {}
    clockwork.landed(USERPILOT, LATE)
    for key in building:
        clockwork.landed(key, LATE)
    asked = clockwork.tick()
    assert asked[dg.AssetKey(["marts", "daily_active"])] == {str(LATE)}


def test_what_lands_right_after_a_build_was_asked_for_asks_for_another(clockwork):
    """Between that tick and the next, in which Dagster tells that it was asked for; of another day, for all days."""
    clockwork.landed(OPENPANEL, LATE)
    building = clockwork.tick()
    clockwork.landed(OPENPANEL, LATE)
    assert clockwork.tick() == building
    for key in building:
        clockwork.landed(key, LATE)
    (people,) = (asked for key, asked in clockwork.tick().items() if key == dg.AssetKey(["marts", "people"]))
    assert people is None
    for key in building:
        clockwork.landed(key, DAYS[0])
    assert dg.AssetKey(["marts", "people"]) in clockwork.tick()
    assert clockwork.tick() == {}


def test_days_of_a_backfill_are_asked_for_together_whichever_vendor_they_are_of(clockwork):
    for day in DAYS[2:5]:
        clockwork.landed(USERPILOT, day)
    clockwork.landed(OPENPANEL, DAYS[0])
    asked = clockwork.tick()
    assert asked[dg.AssetKey(["marts", "sessions"])] == {str(day) for day in (DAYS[0], *DAYS[2:5])}


def test_models_of_all_days_follow_the_models_by_day_in_one_go(clockwork):
    clockwork.landed(OPENPANEL, LATE)
    for key in clockwork.tick():
        clockwork.landed(key, LATE)
    asked = clockwork.tick()
    assert {dg.AssetKey(["marts", n]) for n in ("people", "companies", "retention_cohorts", "flow_adoption")} <= set(
        asked
    )
    assert dg.AssetKey(["staging", "stg_userpilot__flows"]) in asked
    assert set(asked.values()) == {None}


def test_new_names_reach_the_marts_without_building_days(clockwork):
    clockwork.landed(dg.AssetKey(["userpilot", "flows"]))
    asked = clockwork.tick()
    assert dg.AssetKey(["marts", "flow_adoption"]) in asked
    assert not MARTS_BY_DAY & set(asked)


def test_what_lands_at_once_is_built_once(clockwork):
    """Events, lookups and reports of a night: one build by day, and one of the others when the last report is there."""
    reports = dg.AssetKey(["openpanel", "insights_metrics"])
    with clockwork.landing(reports, LATE):
        clockwork.landed(OPENPANEL, LATE)
        clockwork.landed(dg.AssetKey(["userpilot", "flows"]))
        by_day = clockwork.tick()
        assert set(by_day) >= MARTS_BY_DAY
        for key in by_day:
            clockwork.landed(key, LATE)
        assert clockwork.tick() == {}
    asked = clockwork.tick()
    assert {dg.AssetKey(["marts", name]) for name in ("people", "flow_adoption", "vendor_comparison")} <= set(asked)
    assert not MARTS_BY_DAY & set(asked)
    for key in asked:
        clockwork.landed(key)
    assert clockwork.tick() == {}


def test_events_and_lookups_of_one_moment_ask_for_the_days_first_and_for_the_others_once(clockwork):
    """Also for those that are looked at before the deeper models by day."""
    clockwork.landed(OPENPANEL, LATE)
    clockwork.landed(dg.AssetKey(["userpilot", "flows"]))
    clockwork.landed(dg.AssetKey(["openpanel", "insights_metrics"]), LATE)
    by_day = clockwork.tick()
    assert all(by_day.values()), "nothing that is built whole"
    assert set(map(frozenset, by_day.values())) == {frozenset({str(LATE)})}
    for key in by_day:
        clockwork.landed(key, LATE)
    asked = clockwork.tick()
    assert {dg.AssetKey(["marts", name]) for name in ("people", "flow_adoption", "vendor_comparison")} <= set(asked)
    for key in asked:
        clockwork.landed(key)
    assert clockwork.tick() == {}


def test_what_landed_while_days_were_built_is_built_by_day_before_the_others(clockwork):
    """The days that are built, and one more vendor's in the meantime, ask for one build of the others and not two."""
    clockwork.landed(OPENPANEL, LATE)
    building = clockwork.tick()
    by_day = clockwork.defs.resolve_implicit_global_asset_job_def().get_subset(asset_selection=set(building))
    run = clockwork.instance.create_run_for_job(
        by_day, asset_selection=frozenset(building), status=dg.DagsterRunStatus.STARTED,
        tags={"dagster/partition": str(LATE)}, execution_plan=create_execution_plan(by_day),
    )  # fmt: skip
    clockwork.landed(USERPILOT, LATE)
    clockwork.landed(dg.AssetKey(["userpilot", "flows"]))
    assert clockwork.tick() == {}
    for key in building:
        clockwork.landed(key, LATE)
    clockwork.instance.report_run_canceled(run)
    asked = clockwork.tick()
    assert set(asked) == set(building)
    for key in asked:
        clockwork.landed(key, LATE)
    asked = clockwork.tick()
    assert {MART_OF_NAMES, dg.AssetKey(["marts", "people"])} <= set(asked)
    assert not any(asked.values())


def test_a_failing_check_of_the_events_holds_up_the_names_of_flows_no_more_than_before(clockwork):
    clockwork.landed(OPENPANEL, LATE)
    judged = {"asset_key": OPENPANEL, "check_name": "vendor_count_matches"}
    clockwork.instance.report_runless_asset_event(dg.AssetCheckEvaluation(passed=False, **judged))
    assert clockwork.tick() == {}
    clockwork.landed(dg.AssetKey(["userpilot", "flows"]))
    assert MART_OF_NAMES in clockwork.tick()


def test_a_day_that_is_not_whole_builds_nothing_until_it_is(clockwork):
    clockwork.landed(OPENPANEL, LATE)
    judged = {"asset_key": OPENPANEL, "check_name": "vendor_count_matches"}
    clockwork.instance.report_runless_asset_event(dg.AssetCheckEvaluation(passed=False, **judged))
    assert clockwork.tick() == {}
    clockwork.landed(OPENPANEL, LATE)
    clockwork.instance.report_runless_asset_event(dg.AssetCheckEvaluation(passed=True, **judged))
    assert clockwork.tick()[dg.AssetKey(["marts", "sessions"])] == {str(LATE)}


def landed_below(nodes, name):
    """The landed tables and models by day that a model reads, directly or through models built whole."""
    for below in nodes[name]["depends_on"]["nodes"]:
        if below.startswith("source.") or "by_day" in nodes[below]["tags"]:
            yield below.split(".")[-1]
        else:
            yield from landed_below(nodes, below)


def named(condition):
    """The assets that a condition looks at."""
    if key := getattr(condition, "key", None):
        yield key.path[-1]
    for part in condition.children:
        yield from named(part)


def test_every_model_is_asked_for_by_each_table_it_reads(manifest, defs):
    """A mart whose table lands in another run than the events must not stay a night behind."""
    nodes = json.loads(Path(manifest).read_text())["nodes"]
    graph, seen = defs.resolve_asset_graph(), 0
    for name, node in nodes.items():
        if node["resource_type"] != "model" or node["config"]["materialized"] == "view":
            continue
        condition = graph.get(dg.AssetKey([node["config"]["schema"], node["name"]])).automation_condition
        reads = set(landed_below(nodes, name)) if "by_day" not in node["tags"] else {"events"}
        assert reads <= set(named(condition)), name
        seen += 1
    assert seen > 10


def test_what_the_vendor_counted_asks_for_the_comparison(clockwork):
    clockwork.landed(dg.AssetKey(["openpanel", "insights_metrics"]), FIRST)
    assert dg.AssetKey(["marts", "vendor_comparison"]) in clockwork.tick()


def test_a_sample_that_only_a_view_reads_builds_nothing(clockwork):
    clockwork.landed(dg.AssetKey(["openpanel", "insights_live"]))
    assert clockwork.tick() == {}
