"""dbt files made from the catalogue: ``python -m connector.sources [--models] FOLDER [INSTANCE]``.

Below FOLDER, a folder per schema holds the sources and a doc block for every column of a landed table. With
``--models`` it also holds a staging model for every table that only needs new names, and the YAML of these models.
Names, types, descriptions, freshness and the Dagster asset behind each table come from the catalogue. This module
opens no warehouse.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from connector.catalogue.own import Table
from connector.catalogue.tables import tables
from connector.stream import Column

# The name of our dbt project, which stands before its macros where they are called from another one.
PACKAGE = "openpanel_userpilot"
_MADE = "Made by `python -m connector.sources`"
_NOTE = f"{_MADE}; a test compares it with the catalogue."
HEADER = f"# {_NOTE}\n"
# Tables are landed every night: 36 hours without a landing mean one missed night, 72 hours mean two.
FRESHNESS = {"warn_after": {"count": 36, "period": "hour"}, "error_after": {"count": 72, "period": "hour"}}
# A table that was never landed, or never had a row, cannot be stale: a project with one vendor has none of the other's
# tables, and an account may have no checklists. dbt renders this when it asks.
_LOADED_AT = (
    "{%- if adapter.get_relation(this.database, this.schema, this.identifier) -%}"
    "select coalesce(max(_landed_at), current_timestamp) from {{ this }}"
    "{%- else -%}select current_timestamp{%- endif -%}"
)
ON_REQUEST = "Landed only where the file of OPENPANEL_REPORTS asks for it (`also`)."
_WITH_SCHEMA_VARIABLE = "{{{{ var('{source}_schema', '{schema}') }}}}"

# Columns that the connector adds, by the section of the model.
_ADDED = {
    "since when, until when": {"_first_seen": "first_seen_at", "_last_seen": "last_seen_at", "_current": "is_current"},
    "when": {"_day": "day"},
    "bookkeeping": {"_extra": "extra", "_load_id": "load_id", "_landed_at": "landed_at"},
}
# The name of the day in most models before it was `day` in all; the catalogue names the others.
_EARLIER_DAY = "landed_day"
_EARLIER = "earlier names, kept for existing readers"
_RESERVED = frozenset({"event", "groups", "order", "prefix"})  # quoted in SQL


def source_files(instance: str = "") -> dict[str, str]:
    """Path below the folder -> text of the sources and doc blocks of every schema."""
    files: dict[str, str] = {}
    for schema, found in _by_schema(instance).items():
        files[f"{schema}/_{schema}__sources.yml"] = HEADER + as_yaml(_document(schema, found))
        if found[0].vendor:
            files[f"{schema}/_{schema}__docs.md"] = "".join(_doc_blocks(found))
    return files


def model_files() -> dict[str, str]:
    """Path below the folder -> text of the staging models that only rename columns, and of their YAML.

    There are none for an instance: the project's models take its schemas from dbt variables.
    """
    files: dict[str, str] = {}
    for schema, found in _by_schema("").items():
        entries = [_model_entry(table, table.renamed) for table in found if table.renamed is not None]
        files |= {
            f"{schema}/{_model_name(table)}.sql": _model(table, table.renamed)
            for table in found
            if table.renamed is not None
        }
        if entries:
            document = {"version": 2, "models": entries}
            files[f"{schema}/_{schema}__generated_models.yml"] = HEADER + as_yaml(document)
    return files


def doc_block(table: Table, column: str) -> str:
    """The name of a column's doc block: ``openpanel__events__created_at``."""
    return f"{table.schema}__{table.name}__{column}"


def _by_schema(instance: str) -> dict[str, list[Table]]:
    found: dict[str, list[Table]] = {}
    for table in tables(instance):
        found.setdefault(table.schema, []).append(table)
    return found


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
        return "Landed by the connector. A landing replaces whole days; columns keep the vendor's field names."
    return "What the connector records about its own work."


def _table(table: Table) -> Mapping[str, Any]:
    facts = [_sentence(table.grain), f"Key: {', '.join(table.key)}."]
    if table.partition:
        facts.append(f"The day is that of {table.partition}; the last {table.late_days} closed days are landed again.")
    if table.is_optional:
        facts.append("Some accounts do not have it.")
    if table.on_request:
        facts.append(ON_REQUEST)
    if table.docs_url:
        facts.append(table.docs_url)
    config: dict[str, Any] = {}
    if table.asset:
        # The schema is the first part of the asset's key.
        first = _WITH_SCHEMA_VARIABLE.format(source=table.schema, schema=table.schema)
        # dagster-dbt needs a unique asset key for every source. The parent's asset lands a child table, so the child
        # names that asset instead.
        config["meta"] = (
            {"dagster": {"asset_key": [first, table.name]}}
            if table.asset[1] == table.name
            else {"landed_by": [first, table.asset[1]]}
        )
    if table.vendor:
        config["loaded_at_query"] = _LOADED_AT
        config["freshness"] = None if table.is_optional or table.on_request else FRESHNESS
    found: dict[str, Any] = {"name": table.name, "description": " ".join(facts)}
    if config:
        found["config"] = config
    found["columns"] = [_column_entry(column, column.name, column.description) for column in table.columns]
    return found


def _column_entry(column: Column, name: str, description: str) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name, "data_type": column.type, "description": description}
    return found | {"config": {"meta": {"personal": True}}} if column.personal else found


def _doc_blocks(found: Sequence[Table]) -> Iterator[str]:
    yield f"<!-- {_NOTE} -->\n"
    for table in found:
        for column in table.columns:
            yield f"\n{{% docs {doc_block(table, column.name)} %}}{column.description}{{% enddocs %}}\n"


def _model_name(table: Table) -> str:
    return f"stg_{table.vendor}__{table.name}"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _sections(table: Table, renamed: Mapping[str, str]) -> dict[str, list[tuple[Column, str]]]:
    """The model's columns by section: the landed column and its name in the model."""
    columns = {column.name: column for column in table.columns}
    added = {
        title: [(columns[column], name) for column, name in names.items() if column in columns]
        for title, names in _ADDED.items()
    }
    bookkeeping = {column for names in _ADDED.values() for column in names}
    sent = [(column, renamed.get(name, name)) for name, column in columns.items() if name not in bookkeeping]
    # Tables that came later never had another name.
    earlier = [] if table.on_request else [(columns["_day"], renamed.get("_day", _EARLIER_DAY))]
    return {"as sent": sent, **added, _EARLIER: earlier}


def _model(table: Table, renamed: Mapping[str, str]) -> str:
    sections = {title: columns for title, columns in _sections(table, renamed).items() if columns}
    names = {column.name: name for columns in sections.values() for column, name in columns}
    key = ", ".join(names[column] for column in table.key).replace("metric_date", "day")
    body = ",\n\n".join(
        f"    ---------- {title}\n" + ",\n".join(f"    {_renamed(column.name, name)}" for column, name in columns)
        for title, columns in sections.items()
    )
    return (
        f"-- {_NOTE}\n"
        f"-- {table.vendor}.{table.name} with our names; every row and column is kept.\n"
        f"-- grain:  {table.grain}\n"
        f"-- key:    {key}\n"
        f"-- late:   {_late(table)}\n"
        f"select\n{body}\nfrom {{{{ landed('{table.vendor}', '{table.name}') }}}}\n"
    )


def _renamed(column: str, name: str) -> str:
    found = f'"{column}"' if column in _RESERVED else column
    return found if name == column else f"{found} as {name}"


def _late(table: Table) -> str:
    if any(column.name == "_current" for column in table.columns):
        return "no; an item that the vendor no longer lists stays, with is_current false"
    if table.partition:
        return "yes; the numbers of a day change until its sessions have closed"
    return "no; a sample cannot be taken again"


def _model_entry(table: Table, renamed: Mapping[str, str]) -> Mapping[str, Any]:
    # The vendor's date is the partition, and its description names the timezone.
    day = "date" if "metric_date" in renamed.values() else "_day"
    columns = []
    for title, found in _sections(table, renamed).items():
        for column, name in found:
            text = f'{{{{ doc("{doc_block(table, day if name == "day" else column.name)}") }}}}'
            if title == _EARLIER or name == "metric_date":
                text = "Equal to day. Kept for existing readers."
            columns.append(_column_entry(column, name, text))
    about = f"{_sentence(table.grain)} Columns are renamed; every row and column is kept."
    return {"name": _model_name(table), "description": about, "columns": columns}


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]  # PyYAML has no types
    """Indents lists below their key, and writes a repeated value again instead of an alias."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: object) -> bool:
        return True


def as_yaml(value: Any) -> str:
    """A document in the form of every file that is made here."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120))


def _remove_earlier_layout(folder: Path, instance: str) -> None:
    """Remove the files of an earlier version of this command, because dbt allows each source only once."""
    for name in ("columns.md", *(f"{schema}.yml" for schema in _by_schema(instance))):
        file = folder / name
        if file.is_file() and _MADE in file.read_text(encoding="utf-8").partition("\n")[0]:
            file.unlink()


def main(arguments: Sequence[str]) -> int:
    """Write the files of one instance into a folder."""
    with_models = "--models" in arguments
    places = [argument for argument in arguments if argument != "--models"]
    if not 1 <= len(places) <= 2 or places[0].startswith("-") or (with_models and len(places) == 2):
        print("usage: python -m connector.sources [--models] FOLDER\n"
              "       python -m connector.sources FOLDER INSTANCE", file=sys.stderr)  # fmt: skip
        return 2
    folder, instance = Path(places[0]), "".join(places[1:])
    for name, text in (source_files(instance) | (model_files() if with_models else {})).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    _remove_earlier_layout(folder, instance)
    return 0
