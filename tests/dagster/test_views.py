"""Views among the models: built when they are new, when their text or table is, and when a warehouse lost them."""

import json
import shutil

import dagster as dg
import duckdb

from connector.dagster.views import fingerprint_of
from tests.dagster.models import LATE, OPENPANEL, Clockwork, made
from tests.sql.conftest import sample  # noqa: F401  the fixture

FLOWS = dg.AssetKey(["userpilot", "flows"])
VIEW = dg.AssetKey(["staging", "stg_userpilot__flows"])
MART = dg.AssetKey(["marts", "flow_adoption"])
NODE = "model.openpanel_userpilot.stg_userpilot__flows"


def test_a_landing_gives_a_view_nothing_to_do(clockwork):
    clockwork.landed(FLOWS)
    first = clockwork.tick()
    assert {VIEW, MART} <= set(first)
    for key in first:
        clockwork.landed(key)
    assert clockwork.tick() == {}
    for _ in range(2):
        clockwork.landed(FLOWS)
        asked = clockwork.tick()
        assert MART in asked
        assert not [key for key in asked if key.path[0] == "staging"]
        for key in asked:
            clockwork.landed(key)
        assert clockwork.tick() == {}


def test_a_view_that_was_built_before_its_table_came_is_built_again(clockwork):
    """It shows an empty table until then."""
    clockwork.landed(OPENPANEL, LATE)
    for _ in range(3):
        for key, days in clockwork.tick().items():
            clockwork.landed(key, LATE if days else None)
    clockwork.landed(FLOWS)
    assert VIEW in clockwork.tick()


def test_a_view_with_another_text_is_built_again(manifest, tmp_path):
    """Also when only a macro it is made with differs; nothing has to land for it."""
    changed = tmp_path / "manifest.json"
    document = json.loads(manifest.read_text())
    before = fingerprint_of(document, NODE)
    document["macros"]["macro.openpanel_userpilot.landed"]["macro_sql"] += " {# another #}"
    assert fingerprint_of(document, NODE) != before
    changed.write_text(json.dumps(document))
    with dg.DagsterInstance.ephemeral() as instance:
        works = Clockwork(made(manifest, tmp_path / "warehouse.duckdb")[0], instance)
        works.tick()
        works.landed(FLOWS)
        for of in (works.tick(), works.tick()):
            for key in of:
                works.landed(key)
        works.landed(FLOWS)
        assert VIEW not in works.tick()
        works.defs = made(changed, tmp_path / "warehouse.duckdb")[0]
        works.landed(FLOWS)
        assert VIEW in works.tick()


def test_a_view_that_the_warehouse_has_no_longer_is_built_by_the_next_run(sample, manifest, tmp_path):  # noqa: F811
    """Dagster knows that it was built; the file that took the place of that one has none, or one of nothing."""
    path = tmp_path / "warehouse.duckdb"
    shutil.copy(sample.path, path)
    _, (_, whole) = made(manifest, path)
    selection = [dg.AssetKey(["staging", name]) for name in ("stg_userpilot__flows", "stg_userpilot__spotlights")]

    def views():
        with duckdb.connect(str(path), read_only=True) as connection:
            found = connection.execute("select view_name, sql from duckdb_views() where schema_name = 'staging'")
            return dict(found.fetchall())

    def build(instance, *keys):
        assert dg.materialize([whole], instance=instance, selection=list(keys)).success

    with dg.DagsterInstance.ephemeral() as instance:
        build(instance, *selection)
        assert views().keys() == {key.path[-1] for key in selection}
        shutil.copy(sample.path, path)
        with duckdb.connect(str(path)) as connection:
            connection.execute("create schema if not exists staging")
            connection.execute(
                "create view staging.stg_userpilot__flows as select 1 as n from (select 1) as nothing_landed_yet"
            )
        build(instance, dg.AssetKey(["staging", "stg_userpilot__checklists"]))
        now = views()
    wanted = {*(key.path[-1] for key in selection), "stg_userpilot__checklists"}
    assert now.keys() == wanted, "and none that were never built"
    assert "nothing_landed_yet" not in now["stg_userpilot__flows"]
