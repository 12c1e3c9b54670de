"""dbt sources made from the list of tables: ``python -m connector.sources FOLDER [INSTANCE]`` writes one file a schema.

Names, types, descriptions, freshness and the Dagster asset behind each table come from the catalogue, so nobody types
them twice. Beside the sources it writes a doc block for every column, for models that pass a column on. Nothing here
opens a warehouse.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from connector.catalogue.own import Table
from connector.catalogue.tables import tables

HEADER = "# Made by `python -m connector.sources`; a test compares it with the catalogue.\n"
# Landed every night: a day and a half without a landing is one missed night, three days are two.
FRESHNESS = {"warn_after": {"count": 36, "period": "hour"}, "error_after": {"count": 72, "period": "hour"}}
_WITH_SCHEMA_VARIABLE = "{{{{ var('{source}_schema', '{schema}') }}}}"


def source_files(instance: str = "") -> dict[str, str]:
    """File name -> text, for every schema and for the doc blocks."""
    by_schema: dict[str, list[Table]] = {}
    for table in tables(instance):
        by_schema.setdefault(table.schema, []).append(table)
    files = {f"{schema}.yml": HEADER + _yaml(_document(schema, found)) for schema, found in by_schema.items()}
    files["columns.md"] = "".join(_doc_blocks(by_schema))
    return files


def doc_block(table: Table, column: str) -> str:
    """The name of a column's doc block: ``openpanel__events__created_at``."""
    return f"{table.schema}__{table.name}__{column}"


def _document(schema: str, found: Sequence[Table]) -> Mapping[str, Any]:
    return {
        "version": 2,
        "sources": [
            {
                "name": schema,
                "schema": _WITH_SCHEMA_VARIABLE.format(source=schema, schema=schema),
                "description": _about(found[0]),
                "tables": [_table(table) for table in found],
            }
        ],
    }


def _about(table: Table) -> str:
    if table.vendor:
        return "Landed by the connector: replaced whole, day by day; fields keep the vendor's names."
    return "What the connector writes down about its own work."


def _table(table: Table) -> Mapping[str, Any]:
    facts = [f"{table.grain[0].upper()}{table.grain[1:]}.", f"Key: {', '.join(table.key)}."]
    if table.partition:
        facts.append(f"The day is that of {table.partition}; the last {table.late_days} closed days are landed again.")
    if table.is_optional:
        facts.append("Some accounts do not have it.")
    if table.docs_url:
        facts.append(table.docs_url)
    config: dict[str, Any] = {}
    if table.asset:
        # The schema is the first part of the asset's key: one name, three places.
        first = _WITH_SCHEMA_VARIABLE.format(source=table.schema, schema=table.schema)
        # dagster-dbt wants every source to have a key of its own, so one that another's asset lands only says so.
        config["meta"] = (
            {"dagster": {"asset_key": [first, table.name]}}
            if table.asset[1] == table.name
            else {"landed_by": [first, table.asset[1]]}
        )
    if table.vendor:
        config["loaded_at_field"] = "_landed_at"
        config["freshness"] = None if table.is_optional else FRESHNESS
    found: dict[str, Any] = {"name": table.name, "description": " ".join(facts)}
    if config:
        found["config"] = config
    found["columns"] = [
        {
            "name": column.name,
            "data_type": column.type,
            "description": column.description,
            **({"config": {"meta": {"personal": True}}} if column.personal else {}),
        }
        for column in table.columns
    ]
    return found


def _doc_blocks(by_schema: Mapping[str, Sequence[Table]]) -> Iterator[str]:
    yield "<!-- Made by `python -m connector.sources`; a test compares it with the catalogue. -->\n"
    for found in by_schema.values():
        for table in found:
            for column in table.columns if table.vendor else ():
                name = doc_block(table, column.name)
                yield f"\n{{% docs {name} %}}{column.description}{{% enddocs %}}\n"


def _yaml(value: Any, indent: int = 0) -> str:
    """Block style, keys in order, every text quoted: JSON's quoting is YAML's, and nothing is guessed."""
    pad = "  " * indent
    match value:
        case dict() if indent and all(not isinstance(one, dict | list) for one in value.values()):
            return _lines(value, pad)
        case dict():
            return "".join(
                f"{pad}{key}: {_scalar(one)}\n"
                if not isinstance(one, dict | list) or _is_flat_list(one)
                else f"{pad}{key}:\n{_yaml(one, indent + 1)}"
                for key, one in value.items()
            )
        case list():
            return "".join(f"{pad}- {_yaml(one, indent + 1).lstrip()}" for one in value)
    return f"{pad}{_scalar(value)}\n"


def _lines(value: Mapping[str, Any], pad: str) -> str:
    return "".join(f"{pad}{key}: {_scalar(one)}\n" for key, one in value.items())


def _is_flat_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _scalar(value: Any) -> str:
    if isinstance(value, str) and value.isidentifier() and value.lower() not in {"null", "true", "false", "no", "yes"}:
        return value
    return json.dumps(value, ensure_ascii=False)


def main(arguments: Sequence[str]) -> int:
    """Write the files of one instance into a folder."""
    if not 1 <= len(arguments) <= 2 or arguments[0].startswith("-"):
        print("usage: python -m connector.sources FOLDER [INSTANCE]", file=sys.stderr)
        return 2
    Path(arguments[0]).mkdir(parents=True, exist_ok=True)
    for name, text in source_files(*arguments[1:]).items():
        Path(arguments[0], name).write_text(text, encoding="utf-8")
    return 0
