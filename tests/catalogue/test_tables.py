"""The list of tables is what a warehouse really holds."""

import re
from pathlib import Path

import duckdb
import pytest

import connector
from connector.catalogue.own import OWN
from connector.catalogue.tables import every_stream, tables
from connector.warehouse.own_tables import create, create_properties, create_receipts


@pytest.fixture
def own():
    """Schema ``connector`` as the connector makes it."""
    with duckdb.connect() as connection:
        create_receipts(connection)
        create_properties(connection)
        create(connection, *(table for table in OWN if not table.is_view))
        rows = connection.execute(
            "select table_name, column_name, data_type from duckdb_columns() where schema_name = 'connector' "
            "order by table_name, column_index"
        ).fetchall()
    found = {}
    for table, column, kind in rows:
        found.setdefault(table, []).append((column, kind.replace("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ")))
    return found


def test_the_connectors_own_tables_are_described_as_they_are_made(own):
    described = {
        table.name: [(column.name, column.type) for column in table.columns] for table in tables() if not table.vendor
    }
    assert described == own


def test_every_table_and_column_is_described_once():
    names = [(table.schema, table.name) for table in tables()]
    assert len(names) == len(set(names))
    for table in tables():
        columns = [column.name for column in table.columns]
        assert len(columns) == len(set(columns)), table.name
        assert set(table.key) <= set(columns), table.name
        assert table.grain, table.name
        assert all(column.description.endswith(".") for column in table.columns), table.name


def test_landed_tables_have_their_bookkeeping_and_those_with_history_say_since_when():
    landed = {
        f"{table.schema}.{table.name}": {c.name for c in table.columns} for table in tables("shop") if table.vendor
    }
    assert {"openpanel_shop.events", "userpilot_shop.surveys_modules", "userpilot_shop.checklists_tasks"} <= set(landed)
    assert all({"_day", "_extra", "_load_id", "_landed_at"} <= columns for columns in landed.values())
    with_history = {name for name, columns in landed.items() if "_first_seen" in columns}
    assert "userpilot_shop.flows" in with_history
    assert "userpilot_shop.checklists_tasks" in with_history
    assert "userpilot_shop.events" not in with_history


@pytest.mark.parametrize("stream", every_stream(), ids=lambda stream: stream.table)
def test_the_source_of_every_stream_is_a_section_of_its_vendors_contract(stream):
    contract = (Path(connector.__file__).parent / stream.vendor / "CONTRACT.md").read_text()
    chapter, _, point = stream.source.removeprefix("CONTRACT.md ").partition(".")
    section = re.search(rf"(?ms)^## {chapter}\. .*?(?=^## |\Z)", contract)
    assert section, stream.source
    assert not point or re.search(rf"(?m)^{point}\. ", section[0]), stream.source
