"""dbt models of typed events as text: SQL, YAML with tests and descriptions, and where they are written.

The SQL is spelt out, so that a reader sees where each column comes from. Names of events and properties are the
customer's: they stand in SQL texts only, never as Jinja, and in comments on one line.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connector.catalogue.dbt_sources import PACKAGE, as_yaml
from connector.errors import SettingsError
from connector.properties.plan import BASE, BUILT, MISFITS, TypedColumn, TypedModel
from connector.warehouse.sql import quoted, text

MADE = "Made by `connector models`"
# A value as its type, NULL if it does not fit. A cast alone would round 1.5 to 2 and read nan as a number.
_WHOLE, _DAY = "[-+]?[0-9]+([.]0*)?", "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TYPED = {
    "VARCHAR": "VALUE",
    "BOOLEAN": "try_cast(VALUE as boolean)",
    "BIGINT": f"case when regexp_full_match(VALUE, '{_WHOLE}') then try_cast(VALUE as bigint) end",
    "DOUBLE": "case when isfinite(try_cast(VALUE as double)) then try_cast(VALUE as double) end",
    "DATE": f"case when regexp_full_match(VALUE, '{_DAY}') then try_cast(VALUE as date) end",
    "TIMESTAMP WITH TIME ZONE": "try_cast(VALUE as timestamptz)",
    "JSON": "case when json_valid(VALUE) then VALUE::json end",
}
_SHORT = {"TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ"}


@dataclass(frozen=True)
class Written:
    """What a call did: paths of new or changed files, and of those it removed."""

    changed: tuple[Path, ...]
    removed: tuple[Path, ...]


def write(models: Sequence[TypedModel], folder: Path, *, made_from: str, dry_run: bool = False) -> Written:
    """Write the models below a folder of a dbt project, and remove those that it made there before.

    Args:
        made_from: name of the file that says what there is to be.
        dry_run: say what would change, and change nothing.

    Raises:
        SettingsError: the folder is in no dbt project.
    """
    files = {folder / name: body for name, body in model_files(models, made_from).items()}
    _must_be_in_a_project(folder)
    changed = [file for file, body in files.items() if not file.exists() or file.read_text(encoding="utf-8") != body]
    gone = [file for file in sorted(folder.rglob("*")) if file not in files and _is_ours(file)]
    if not dry_run:
        for file in changed:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(files[file], encoding="utf-8")
        for file in gone:
            file.unlink()
    return Written(tuple(changed), tuple(gone))


def model_files(models: Sequence[TypedModel], made_from: str) -> dict[str, str]:
    """Path below the folder -> text: a model for each event, and one YAML file for each vendor."""
    files = {f"{one.vendor}/{one.name}.sql": _sql(one, made_from) for one in models}
    for vendor in sorted({one.vendor for one in models}):
        entries = [_entry(one) for one in models if one.vendor == vendor]
        note = f"# {MADE} from {made_from}; run it again instead of changing this file.\n"
        files[f"{vendor}/_{vendor}__typed_models.yml"] = note + as_yaml({"version": 2, "models": entries})
    return files


def _must_be_in_a_project(folder: Path) -> None:
    if not any((place / "dbt_project.yml").is_file() for place in (folder.absolute(), *folder.absolute().parents)):
        raise SettingsError(
            "the folder of models",
            f"is {folder}, and neither it nor one above it has a dbt_project.yml",
            next_step="name a folder below the models of a dbt project, such as sql/models/staging/typed.",
        )


def _is_ours(file: Path) -> bool:
    if file.suffix not in (".sql", ".yml") or not file.is_file():
        return False
    with open(file, encoding="utf-8", errors="replace") as lines:
        return MADE in lines.readline()


def _sql(model: TypedModel, made_from: str) -> str:
    base = list(BASE[model.vendor])
    places = {one.property: f"property_{number}" for number, one in enumerate(model.columns, start=1)}
    sent = [*base, *(_value(one, places[one.property], model.properties) for one in model.columns), model.properties]
    typed = [f"{_typed(one.type, places[one.property])} as {quoted(one.name)}" for one in model.columns]
    shown = [*base, *(quoted(one.name) for one in model.columns)]
    key = "event_id" if "event_id" in base else "none that is proven"
    kind = f"\n        and {model.kind[0]} = {_literal(model.kind[1])}" if model.kind else ""
    return f"""-- {MADE} from {made_from}; run it again instead of changing this file.
-- Event {_shown(model.event)} of {model.vendor} with its properties as columns; every row is kept.
-- grain:  one row per event
-- key:    {key}
-- late:   yes; a landed day replaces its rows here
{{{{ config(materialized='by_day', tags='by_day', meta={{'landed': ['{model.vendor}.events']}}) }}}}

with

sent as (
    select
{_lines(sent, 8)}
    from {{{{ ref('stg_{model.vendor}__events') }}}}
    where
        event_name = {_literal(model.event)}{kind}
        and {{{{ {PACKAGE}.days_to_build() }}}}
),

typed as (
    select
{_lines(["*", *typed], 8)}
    from sent
)

select
{_lines([*shown, f"{_misfits(model.columns, places)} as {MISFITS}", model.properties, f"now() as {BUILT}"], 4)}
from typed
"""


def _value(column: TypedColumn, place: str, properties: str) -> str:
    found = ", ".join(f"{properties} ->> {_literal(pointer)}" for pointer in column.pointers)
    return f"nullif({found if len(column.pointers) == 1 else f'coalesce({found})'}, '') as {place}"


def _typed(kind: str, value: str) -> str:
    if not kind.startswith("DECIMAL"):
        return _TYPED[kind].replace("VALUE", value)
    # More digits behind the point than the type has would be rounded away.
    digits = kind.rpartition(",")[2].rstrip(")")
    return (
        f"case when regexp_full_match({value}, '[-+]?[0-9]*[.]?[0-9]{{0,{digits}}}0*') "
        f"then try_cast({value} as {kind.lower()}) end"
    )


def _misfits(columns: Iterable[TypedColumn], places: Mapping[str, str]) -> str:
    """JSON of the values that did not fit; NULL where all did."""
    some = [
        f"case when {quoted(one.name)} is null and {places[one.property]} is not null "
        f"then {{'k': {_literal(one.property)}, 'v': {places[one.property]}}} end"
        for one in columns
        if one.type != "VARCHAR"
    ]
    if not some:
        return "null::json"
    entries = ",\n".join(f"            {one}" for one in some)
    return (
        "nullif(\n        to_json(map_from_entries([one for one in [\n"
        f"{entries}\n        ] if one is not null])), '{{}}'\n    )"
    )


def _entry(model: TypedModel) -> dict[str, Any]:
    """The model's YAML: every column described, and tests, which look at the days that a run built."""
    columns: list[dict[str, Any]] = [
        {"name": name, "data_type": kind, "description": about} for name, (kind, about) in BASE[model.vendor].items()
    ]
    columns += [
        {
            "name": one.name,
            "quote": True,
            "data_type": _SHORT.get(one.type, one.type),
            "description": f"Property {_shown(one.property)}, as sent; NULL if it was not sent or does not fit.",
            "config": {"meta": {"property": _shown(one.property)}},
        }
        for one in model.columns
    ]
    columns += [
        {"name": MISFITS, "data_type": "JSON", "description": "Values that do not fit their columns, by property."},
        {"name": model.properties, "data_type": "JSON", "description": "All properties, as sent."},
        {"name": BUILT, "data_type": "TIMESTAMPTZ", "description": "When the row was computed."},
    ]
    tests: list[dict[str, Any]] = [
        {
            f"{PACKAGE}.holds": {
                "name": f"{model.name}_values_fit",
                "arguments": {"condition": f"{MISFITS} is null"},
                "config": {"severity": "warn"},
            }
        }
    ]
    if "event_id" in BASE[model.vendor]:
        tests.insert(
            0,
            {
                f"{PACKAGE}.unique_together": {
                    "name": f"{model.name}_events_are_listed_once",
                    "arguments": {"columns": ["event_id"]},
                }
            },
        )
    return {
        "name": model.name,
        "description": f"Event {_shown(model.event)} of {model.vendor} with its properties as typed columns.",
        "data_tests": tests,
        "columns": columns,
    }


def _lines(parts: Iterable[str], indent: int) -> str:
    return ",\n".join(f"{' ' * indent}{part}" for part in parts)


def _literal(value: str) -> str:
    """A text in SQL in which Jinja finds nothing to do."""
    return text(value) if "{" not in value else f"({text(value).replace('{', _BRACE)})"


_BRACE = "' || chr(123) || '"


def _shown(name: str) -> str:
    """A name for people, on one line and without a word of Jinja."""
    return json.dumps(name, ensure_ascii=False).replace("{", "(").replace("}", ")")
