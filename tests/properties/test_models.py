"""Typed models: every property of any name as a column, nothing lost, by day, and followed by dbt without a hand."""

import json
import shutil
from pathlib import Path

import pytest

from connector.properties.plan import BASE
from tests.sql.project import dbt, frame

from .conftest import day
from .test_look import ODD

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A copy of the dbt project that a test may write into."""
    folder = tmp_path / "sql"
    shutil.copytree(ROOT / "sql", folder, ignore=shutil.ignore_patterns("target", "logs"))
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def typed(project, cli, warehouse, tmp_path):
    """Write the models of a file, build them, and give a query over the warehouse."""

    def run(text, build=True, **variables):
        file = tmp_path / "properties.yml"
        file.write_text(text, encoding="utf-8")
        cli("models", str(file), str(project / "models" / "staging" / "typed"))
        if build:
            run.results = dbt(
                "build",
                *("--indirect-selection", "cautious"),
                *("--select", "stg_openpanel__events", "stg_userpilot__events", "path:models/staging/typed"),
                warehouse=warehouse.name,
                project=project,
                variables=variables or None,
            )

    run.query = lambda sql: frame(warehouse.name, sql)
    return run


VALUES = {
    # property: type in the file, values that fit and what they become, values that do not fit
    "whole": ("integer", {"5": 5, "-7": -7, "5.0": 5}, ["5.5", "free", "1e3", "9" * 30]),
    "total": ("decimal", {"49.90": "49.9000", "5": "5.0000", "1.50000": "1.5000"}, ["1.23456", "nan", "1,5", "9" * 16]),
    "price": ("decimal(12,2)", {"49.90": "49.90"}, ["49.901"]),
    "ratio": ("double", {"0.125": 0.125, "1e-3": 0.001}, ["nan", "inf", "1e999", "half"]),
    "gift": ("boolean", {"true": True, "false": False}, ["maybe"]),
    "on": ("date", {"2026-03-04": "2026-03-04"}, ["2026-02-30", "2026-03-04T10:00:00Z", "soon"]),
    "at": ("timestamp", {"2026-03-04T10:00:00.000Z": "2026-03-04 10:00:00+00:00"}, ["later"]),
    "more": ("json", {'"x"': '"x"'}, ["plain"]),
    "note": ("text", {"5": "5", "größe": "größe"}, []),
}


def test_values_become_their_type_and_what_does_not_fit_is_counted_and_kept(shop, typed):
    """Nothing is rounded, and nothing read as a number that is none."""
    rows = [{name: value} for name, (_, fit, misfit) in VALUES.items() for value in [*fit, *misfit]]
    shop.sells(day(0), *rows)
    shop.lands(day(0))
    columns = "".join(f"        {name}: {kind}\n" for name, (kind, _, _) in VALUES.items())
    typed(f"openpanel:\n  events:\n    purchase:\n      properties:\n{columns}")
    found = {
        (name, value): row
        for row in typed.query("select * from staging.stg_openpanel__purchase").to_dict("records")
        for name, value in json.loads(row["properties"]).items()
    }
    assert len(found) == len(rows)
    for name, (_, fit, misfit) in VALUES.items():
        for value, becomes in fit.items():
            row = found[name, value]
            assert row["misfits"] is None
            assert row[name] == (float(becomes) if name in ("total", "price") else becomes) or str(row[name]) == becomes
        for value in misfit:
            assert json.loads(found[name, value]["misfits"]) == {name: value}
            assert frame_is_null(found[name, value][name])
    (warned,) = (one for one in typed.results if one.node.name == "stg_openpanel__purchase_values_fit")
    assert (str(warned.status), warned.failures) == ("warn", sum(len(misfit) for _, _, misfit in VALUES.values()))


def frame_is_null(value):
    return value is None or value != value or str(value) == "NaT"


def test_properties_and_events_of_any_name_get_a_column_and_a_model(shop, typed):
    """Also two that would be called the same, words of SQL, words of Jinja, and names of columns that are there."""
    names = [
        *(name for name in ODD if name != "*"),
        "total",
        "Total",
        "TOTAL",
        "path",
        "misfits",
        "{{ x }}",
        "{% y",
        "order",
        "n\nl",
        "back\\slash",
    ]
    events = ["purchase", "Purchase", "it's {{ odd }}", "events", "顧客", "select", 'a "b"\nc', "{# d #}"]
    for event in events:
        shop.sells(day(0), {name: f"{event}:{number}" for number, name in enumerate(names)}, name=event)
    shop.lands(day(0))
    typed("openpanel: {above_percent: 0}")
    models = {
        row.table_name: row.names
        for row in typed.query(
            "select table_name, list(column_name) as names from duckdb_columns() where schema_name = 'staging' and "
            "table_name in (select table_name from duckdb_tables()) group by 1"
        ).itertuples()
    }
    assert len(models) == len(events)
    seen = set()
    for model in models:
        (row,) = typed.query(f"select * from staging.{model}").to_dict("records")
        sent = json.loads(row.pop("properties"))
        base = {*BASE["openpanel"], "misfits", "built_at"}
        columns = {name: value for name, value in row.items() if name not in base}
        assert sorted(columns.values()) == sorted(sent.values())
        assert len(sent) == len(names)
        seen |= {sent["total"].split(":")[0]}
    assert seen == set(events)


def test_a_day_that_lands_again_replaces_its_rows_and_no_others(shop, typed):
    columns = ", ".join(f"{name}: {{type: '{kind}'}}" for name, (kind, _, _) in VALUES.items() if name != "total")
    wanted = f"openpanel: {{events: {{purchase: {{properties: {{total: integer, {columns}}}}}}}}}"
    for number in range(3):
        shop.sells(day(number), {"total": str(number)}, {"total": "9"})
    shop.lands(*(day(number) for number in range(3)))
    typed(wanted)
    before = typed.query("select * from staging.stg_openpanel__purchase order by event_id")
    shop.sells(day(1), {"total": "x"})
    for row in typed.query("select id from openpanel.events where created_at::date = date '2026-03-04'").itertuples():
        shop.vendor.remove(row.id)
    shop.lands(day(1), day(2))
    typed(wanted)
    after = typed.query("select * from staging.stg_openpanel__purchase order by event_id")
    assert list(after["day"].astype(str).str[:10]) == [str(day(0))] * 2 + [str(day(1))] * 3
    kept = ["event_id", "properties", "built_at"]
    assert before[kept][:2].equals(after[kept][:2])  # the moment they were built included
    assert (after["built_at"][2:] > before["built_at"].max()).all()


def test_a_column_that_is_added_is_filled_on_every_day(shop, typed):
    """Also by a run for one day, as Dagster does it; a run that changes nothing builds nothing again."""
    for number in range(3):
        shop.sells(day(number), {"total": str(number), "coupon": f"c{number}"})
    shop.lands(*(day(number) for number in range(3)))
    typed("openpanel: {events: {purchase: {properties: {total: integer}}}}")
    one_day = {"min_date": str(day(1)), "max_date": str(day(1))}
    typed("openpanel: {events: {purchase: {properties: {total: integer, coupon: text}}}}", **one_day)
    rows = typed.query("select total, coupon, built_at from staging.stg_openpanel__purchase order by day")
    assert rows["coupon"].tolist() == ["c0", "c1", "c2"]
    typed("openpanel: {events: {purchase: {properties: {coupon: text, total: integer}}}}")
    assert typed.query("select total, coupon, built_at from staging.stg_openpanel__purchase order by day").equals(rows)
    typed("openpanel: {events: {purchase: {properties: {coupon: text, total: text}}}}", **one_day)
    assert typed.query("select total from staging.stg_openpanel__purchase order by day")["total"].tolist() == [
        "0", "1", "2"
    ]  # fmt: skip


def test_metadata_of_userpilot_is_typed_at_any_depth(exports, pilot, warehouse, request_, typed):
    order = {"total": 9.5, "paid": True, "to": {"city": "Bern", "a.b": 1}, "items": [{"sku": "a"}, {"sku": "b"}]}
    common = {"at": "2026-03-03T10:00:00Z", "user_id": "u1", "event_name": "Order Completed"}
    pilot.add_event(event_type="track", metadata=order, **common)
    pilot.add_event(event_type="interaction", metadata={"total": "no order"}, **common)
    for job in exports.wait(request_):
        exports.land(job, warehouse=warehouse)
    typed(
        "userpilot:\n  events:\n    Order Completed:\n      model: order\n      above_percent: 50\n      properties:\n"
        "        items.1.sku: {type: text, column: second_sku}\n        items: json\n"
    )
    (row,) = typed.query("select * from staging.stg_userpilot__order").to_dict("records")
    found = {name: row[name] for name in ("total", "paid", "to_city", "to_a_b", "second_sku")}
    assert found == {"total": 9.5, "paid": True, "to_city": "Bern", "to_a_b": 1, "second_sku": "b"}
    assert json.loads(row["items"]) == order["items"]
    assert row["user_id"] == "u1"


def test_models_follow_what_is_sent_when_the_command_is_run_again(shop, typed, cli, project, tmp_path):
    """`--check` says so to a build server and changes nothing; what no file asks for any more is removed."""
    shop.sells(day(0), {"total": "1"})
    shop.sells(day(0), {"x": "1"}, name="refund")
    shop.lands(day(0))
    typed("openpanel: {above_percent: 50}", build=False)
    folder = project / "models" / "staging" / "typed"
    mine = folder / "openpanel" / "mine.sql"
    mine.write_text("select 1")
    command = ("models", str(tmp_path / "properties.yml"), str(folder))
    assert cli(*command, "--check") == ""
    shop.sells(day(1), *({"total": "1", "coupon": "x"} for _ in range(3)))
    shop.lands(day(1))
    assert "stg_openpanel__purchase.sql  to be written" in cli(*command, "--check", code=1)
    assert "coupon" not in (folder / "openpanel" / "stg_openpanel__purchase.sql").read_text()
    cli(*command)
    assert '"coupon"' in (folder / "openpanel" / "stg_openpanel__purchase.sql").read_text()
    typed("openpanel: {events: {purchase: {above_percent: 50}}}", build=False)
    assert {file.name for file in folder.rglob("*.sql")} == {"stg_openpanel__purchase.sql", "mine.sql"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("openpanel: {events: {a: {properties: {x: number}}}}", "properties.x.type is 'number'"),
        ("openpanel: {events: {a: {properties: {x: 'decimal(40,2)'}}}}", "is 'decimal(40,2)'"),
        ("openpanel: {events: {a: {properties: {x: }}}}", "has no type, and no value of it was seen"),
        ("openpanel: {events: {a: {properties: {x: {kind: text}}}}}", "use one of type, column"),
        ("openpanel: {events: {a: {properties: {x: {type: text, column: a-b}}}}}", "column is 'a-b'"),
        ("openpanel: {events: {a: {properties: {x: {type: text, column: Day}}}}}", "gives two of them the column day"),
        ("openpanel: {events: {a: {model: A b}}}", "model is 'A b'"),
        ("openpanel: {events: {a: {model: b}, b: {}}}", "gives two of them the model stg_openpanel__b"),
        ("openpanel: {events: {a: {model: events}}}", "gives two of them the model events"),
        ("openpanel: {above_percent: 101}", "above_percent is 101"),
        ("openpanel: {above_percent: half}", "does not fit"),
        ("mixpanel: {}", "use one of openpanel, userpilot"),
        ("openpanel: {events: [a]}", "write a mapping"),
        ("- a", "write a mapping"),
        ("openpanel: {", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_kept_is_refused_in_one_sentence(text, says, tmp_path, project, monkeypatch, capsys):
    from connector.cli.main import main

    monkeypatch.setenv("WAREHOUSE", str(tmp_path / "none.duckdb"))
    (tmp_path / "properties.yml").write_text(text)
    assert main(["models", str(tmp_path / "properties.yml"), str(project / "models" / "typed")]) == 1
    said = capsys.readouterr().err
    assert says in said, said
    assert not (project / "models" / "typed").exists()


def test_a_folder_in_no_dbt_project_is_refused(tmp_path, cli, capsys, monkeypatch):
    (tmp_path / "properties.yml").write_text("openpanel: {events: {a: {properties: {x: text}}}}")
    from connector.cli.main import main

    assert main(["models", str(tmp_path / "properties.yml"), str(tmp_path / "out")]) == 1
    assert "has a dbt_project.yml" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
