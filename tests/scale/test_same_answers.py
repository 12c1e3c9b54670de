"""One landing, moved into lakes: every row and every model is the same, and Dagster builds it as it builds a file's."""

import subprocess

import dagster as dg
import pytest

from connector import ContractError, RejectedError, Warehouse
from connector.cli.main import main
from connector.upkeep.move import move
from dagster_project import dbt as deployed
from tests.kinds import LAKES, close_lakes, new_lake, only
from tests.scale.writers import FIRST, landed
from tests.sql.conftest import DAYS, built, sample  # noqa: F401  fixtures
from tests.sql.project import PROJECT

pytestmark = only("file")
# When a model was built, and into how many parts its rows came, differs between two builds of one file as well.
OF_THE_BUILD = {"built_at", "part_count"}


def relations(warehouse):
    """Every table and view: its columns with types, its rows in order, and what is written about it."""
    found = {}
    with warehouse.read() as connection:
        names = [
            row
            for kind in ("table", "view")
            for row in connection.execute(
                f"select schema_name, {kind}_name from duckdb_{kind}s() where database_name = current_database() "
                "and not internal"
            ).fetchall()
        ]
        for schema, name in names:
            columns = connection.execute(
                "select column_name, data_type from duckdb_columns() where database_name = current_database() "
                f"and schema_name = '{schema}' and table_name = '{name}' order by column_index"
            ).fetchall()
            kept = ", ".join(f'"{column}"' for column, _ in columns if column not in OF_THE_BUILD)
            rows = connection.execute(f'select {kept} from "{schema}"."{name}"').fetchall()
            found[f"{schema}.{name}"] = (columns, sorted(map(repr, rows)))
    return found


@pytest.fixture(scope="module")
def of_file(built):  # noqa: F811
    return relations(Warehouse(built.path))


@pytest.fixture(params=LAKES)
def lake(request, tmp_path, monkeypatch):
    url = new_lake(request.param, tmp_path, monkeypatch, request)
    monkeypatch.setenv("WAREHOUSE", url)
    yield Warehouse(url, lock_wait=60)
    close_lakes()


def test_file_and_lake_give_the_same_rows_types_and_models(lake, built, of_file, tmp_path, monkeypatch):  # noqa: F811
    raw = list(move(Warehouse(built.path), lake, tmp_path / "spool"))
    assert {one.table for one in raw} >= {"openpanel.events", "userpilot.events", "connector.landings"}
    again = list(move(Warehouse(built.path), lake, tmp_path / "spool"))
    assert [one.table for one in again if one.copied or one.newer] == []
    assert sum(one.equal for one in again) == sum(one.copied for one in raw)

    monkeypatch.setenv("DBT_TARGET_PATH", str(tmp_path / "target"))
    monkeypatch.setenv("DBT_LOG_PATH", str(tmp_path / "logs"))
    command = [deployed.DBT, "--quiet", "build", "--exclude-resource-type", "unit_test"]
    done = subprocess.run(
        [*command, "--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:]
    of_lake = relations(lake)
    assert of_lake.keys() == of_file.keys()
    for name, (columns, rows) in of_file.items():
        assert of_lake[name][0] == columns, name
        assert of_lake[name][1] == rows, name
    assert not [file for file in tmp_path.rglob("*.parquet") if file.stat().st_mode & 0o077]


@pytest.mark.parametrize("lake", ["sqlite"], indirect=True)
def test_dagster_builds_a_lakes_models_and_tells_rows_columns_and_lineage(lake, sample, tmp_path):  # noqa: F811
    from connector.dagster import WarehouseResource
    from connector.dagster.dbt import model_assets

    list(move(Warehouse(sample.path), lake, tmp_path / "spool"))
    deployed.prepare()
    by_day, _ = model_assets(
        project_dir=PROJECT,
        manifest=deployed.MANIFEST,
        start_date=DAYS[0],
        warehouse=WarehouseResource(database=lake.url),
        dbt_executable=deployed.DBT,
        retry_policy=None,
    )
    with dg.DagsterInstance.ephemeral() as instance:
        assert dg.materialize([by_day], instance=instance, partition_key=str(DAYS[0])).success
        (record,) = instance.fetch_materializations(dg.AssetKey(["marts", "sessions"]), limit=1).records
        told = record.asset_materialization.metadata
    with lake.read() as connection:
        (rows,) = connection.execute(f"select count(*) from marts.sessions where day = '{DAYS[0]}'").fetchone()
    assert rows > 0
    assert told["dagster/partition_row_count"].value == rows
    assert {column.name for column in told["dagster/column_schema"].value.columns} >= {"day", "visitor_id"}
    assert "visitor_id" in told["dagster/column_lineage"].value.deps_by_column


@pytest.fixture
def file(tmp_path):
    warehouse = Warehouse(tmp_path / "from.duckdb")
    for number in range(3):
        landed(warehouse, tmp_path / "spool", FIRST.replace(day=1 + number), 5)
    return warehouse


def counts(moved):
    return {one.table: (one.copied, one.equal, one.newer) for one in moved}


def test_a_move_that_was_interrupted_goes_on_and_a_later_one_brings_what_is_new(file, tmp_path, monkeypatch):
    other = Warehouse(tmp_path / "to.duckdb")
    steps = move(file, other, tmp_path / "spool")
    next(steps)
    steps.close()  # killed after the first table
    landed(file, tmp_path / "spool", FIRST, 6)
    landed(other, tmp_path / "spool", FIRST.replace(day=2), 7)
    assert counts(move(file, other, tmp_path / "spool"))["openpanel.events"] == (1, 1, 1)
    with other.read() as connection:
        days = connection.execute("select day(_day), count(*) from openpanel.events group by 1 order by 1").fetchall()
        assert connection.execute("select comment from duckdb_tables() where table_name = 'events'").fetchone()[0]
        assert connection.execute("select count(*) from connector.coverage").fetchone() == (3,)
    assert days == [(1, 6), (2, 7), (3, 5)]
    with file.read() as connection:
        assert connection.execute("select count(*) from openpanel.events").fetchone() == (16,)
    assert list((tmp_path / "spool").glob("move-*")) == []


def test_a_day_that_arrives_otherwise_is_rolled_back_and_told(file, tmp_path, monkeypatch):
    from connector.upkeep import move as module

    parts, asked = module._parts, []

    def other_checksum(connection, table, days=()):
        found = parts(connection, table, days)
        asked.append(days)
        return {day: module._Part(part.rows, part.checksum + bool(days), part.landed_at) for day, part in found.items()}

    monkeypatch.setattr(module, "_parts", other_checksum)
    other = Warehouse(tmp_path / "to.duckdb")
    with pytest.raises(ContractError, match="arrived as 5 rows with another checksum than the 5 sent"):
        list(move(file, other, tmp_path / "spool"))
    with other.read() as connection:
        assert connection.execute("select count(*) from openpanel.events").fetchone() == (0,)


def test_what_cannot_be_moved_is_said(file, tmp_path):
    with pytest.raises(RejectedError, match="both are the same"):
        list(move(file, Warehouse(tmp_path / "from.duckdb"), tmp_path / "spool"))
    with pytest.raises(RejectedError, match="does not exist"):
        list(move(Warehouse(tmp_path / "none.duckdb"), file, tmp_path / "spool"))
    other = Warehouse(tmp_path / "to.duckdb")
    with other.write() as connection:
        connection.execute("create schema openpanel; create table openpanel.events (id integer)")
    with pytest.raises(RejectedError, match=r"column openpanel\.events\.id is VARCHAR here and INTEGER there"):
        list(move(file, other, tmp_path / "spool"))


def test_the_command_moves_a_file_into_a_lake_and_back(file, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SPOOL_DIR", str(tmp_path / "spool"))
    monkeypatch.setenv("WAREHOUSE", str(tmp_path / "from.duckdb"))
    lake = f"ducklake:sqlite:{tmp_path / 'lake.sqlite'}"
    assert main(["move", "--to", lake]) == 0
    assert "openpanel.events  3 copied (15 rows), 0 equal" in capsys.readouterr().out
    monkeypatch.setenv("WAREHOUSE", lake)
    assert main(["move", "--to", str(tmp_path / "back.duckdb"), "--quiet"]) == 0
    close_lakes()
    assert relations(Warehouse(tmp_path / "back.duckdb")) == relations(file)
