"""One run of dbt below Dagster: starts it without parsing what has not changed, and reports rows, columns and lineage.

What dagster-dbt does by itself before and after each run costs more than the models of a day: it asks a process for
dbt's version, prepares an adapter of its own, parses the project whenever the dates change, reads every model's columns
again, and watches dbt in a loop that keeps a core busy.
"""

import hashlib
import json
import os
import re
import shutil
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg
from dagster_dbt import DbtCliInvocation, DbtCliResource
from packaging.version import Version
from pydantic import PrivateAttr

from connector.catalogue.dbt_sources import PACKAGE
from connector.dagster.views import lost_views
from connector.nights import between
from connector.system.files import private_folder
from connector.warehouse.connection import Warehouse
from connector.warehouse.sql import of_days, quoted

# Every model whose rows belong to a day says so in this column.
DAY = "day"
# What stays the same from run to run while the project does: taken from the last one.
_KEPT = ("dagster/column_schema", "dagster/column_lineage")
_PROJECT = "dbt project"
_TEXT = re.compile(r"character varying(\(\d+\))?")
_PARSED = "partial_parse.msgpack"
# Raised when this module tells the same columns in another way.
_TOLD = 2


class Dbt(DbtCliResource):
    """dbt's command line, prepared for a run as far as that run needs it."""

    _reads_columns: bool = PrivateAttr(default=True)

    def without_columns(self) -> "Dbt":
        """The same without an adapter in this process, which is for reading columns alone."""
        other = self.model_copy()
        other._reads_columns = False
        return other

    @cached_property
    def _cli_version(self) -> Version:
        found = shutil.which(self.dbt_executable)
        # Of the dbt beside this Python the package knows; asking a process for it takes two seconds.
        if found and Path(found).parent == Path(sys.executable).parent:
            return Version(version("dbt-core"))
        return super()._cli_version

    def _initialize_dbt_core_adapter(self, args: Any) -> Any:
        return super()._initialize_dbt_core_adapter(args) if self._reads_columns else None


@dataclass(frozen=True)
class ModelRun:
    """What every run of a project's models shares.

    Attributes:
        manifest: of the models, as Dagster knows them.
        artifacts: the folder below which dbt keeps what each run made; None keeps nothing.
        parsed: the folder in which the parsed project is kept for the next run.
    """

    client: Dbt
    manifest: Mapping[str, Any]
    warehouse: Warehouse
    artifacts: Path | None
    parsed: Path

    def build(
        self, context: dg.AssetExecutionContext, variables: Mapping[str, str], days: Mapping[str, str]
    ) -> Iterator[Any]:
        """Run and test the selected models; report rows, columns and lineage when dbt has let go of the warehouse.

        Args:
            days: ``min_date`` and ``max_date`` of a run by day; empty otherwise.
        """
        built = _between(days)
        if days and _reads_dates_as_variables(self.manifest):
            variables, days = {**variables, **days}, {}
        fingerprint = _fingerprint(self.manifest, variables)
        known = _known_columns(context, fingerprint)
        told = all(key in known for key in context.selected_asset_keys)
        with ExitStack() as stack:
            target = self.artifacts or Path(stack.enter_context(TemporaryDirectory(prefix="connector-models-")))
            name = f"{context.op_execution_context.op.name}-{context.run.run_id[:8]}-{uuid.uuid4().hex[:8]}"
            client = self.client.without_columns() if told else self.client
            lost = lost_views(context, self.manifest, self.warehouse)
            with self._prepared(target / name, variables, days):
                if lost:
                    context.log.info(f"built again, because the warehouse has them no longer: {', '.join(lost)}")
                    restore = ["run", "--select", " ".join(lost), *_given(variables)]
                    self.client.without_columns().cli(restore, target_path=target / name).wait()
                invocation = client.cli(_arguments(variables), context=context, target_path=target / name)
                events = _events(invocation, with_columns=not told)
            counts = _rows(self.warehouse, invocation, context, built)
            for event in events:
                key = context.asset_key_for_output(event.output_name) if isinstance(event, dg.Output) else None
                if key is not None:
                    event = event.with_metadata({**event.metadata, **known.get(key, {}), _PROJECT: fingerprint})
                if key in counts:
                    total, by_day = counts[key]
                    if not by_day:
                        event = event.with_metadata({**event.metadata, "dagster/row_count": total})
                    for day, rows in by_day.items():
                        context.add_asset_metadata(
                            {"dagster/partition_row_count": rows}, asset_key=key, partition_key=day.isoformat()
                        )
                yield event

    @contextmanager
    def _prepared(self, target: Path, variables: Mapping[str, str], days: Mapping[str, str]) -> Iterator[None]:
        """The warehouse held as dbt needs it, dates and place in the environment, and the project parsed before."""
        dates = {f"CONNECTOR_{name.upper()}": day for name, day in days.items()}
        with (
            self.warehouse.building() as place,
            _environment({**place, **dates}),
            _parsed_before(self.parsed, target, [self.warehouse.url, variables]),
        ):
            yield


def _arguments(variables: Mapping[str, str]) -> list[str]:
    # A test that looks at several models runs when all of them were built: others may not exist yet.
    return ["build", "--exclude-resource-type", "unit_test", "--indirect-selection", "cautious", *_given(variables)]


def _given(variables: Mapping[str, str]) -> list[str]:
    return ["--vars", json.dumps(variables, sort_keys=True)] if variables else []


def _events(invocation: DbtCliInvocation, *, with_columns: bool) -> list[Any]:
    """All events of a run. Read as they come, they would keep this process busy for as long as dbt runs."""
    _stay_in_memory(invocation.adapter)
    try:
        stream = invocation.stream()
        events = list(stream)
        if with_columns:
            _name_databases(invocation)
            told = type(stream)(iter(events), dbt_cli_invocation=invocation).fetch_column_metadata()
            events = [_spelt_as_duckdb(event) for event in told]
    finally:
        _let_go(invocation.adapter)
    return events


def _spelt_as_duckdb(event: Any) -> Any:
    """Dbt's adapters call every text ``character varying(256)``; the warehouse, and the landed tables here, VARCHAR."""
    name = "dagster/column_schema"
    known = getattr(event, "metadata", {}).get(name)
    if not isinstance(known, dg.TableSchemaMetadataValue):
        return event
    columns = [
        dg.TableColumn(one.name, _TEXT.sub("VARCHAR", one.type), one.description, one.constraints, one.tags)
        for one in known.schema.columns
    ]
    return event.with_metadata({**event.metadata, name: dg.TableSchema(columns, known.schema.constraints)})


def _name_databases(invocation: DbtCliInvocation) -> None:
    """Write the database into the compiled SQL of models that read landed tables.

    Views leave it out, to survive a renamed file; dagster-dbt finds the columns above only under a table's whole name.
    """
    known = invocation.manifest
    for node in known["nodes"].values():
        sources = [known["sources"][name] for name in node["depends_on"]["nodes"] if name in known["sources"]]
        compiled = invocation.target_path / "compiled" / node["package_name"] / node["original_file_path"]
        if node["resource_type"] != "model" or not sources or not compiled.is_file():
            continue
        text = compiled.read_text(encoding="utf-8")
        for source in sources:
            whole = source["relation_name"]
            table = whole.removeprefix(f"{quoted(source['database'])}.")
            text = text.replace(whole, table).replace(table, whole)
        compiled.write_text(text, encoding="utf-8")


def _reads_dates_as_variables(manifest: Mapping[str, Any]) -> bool:
    """Whether a model or macro that is not ours reads ``min_date``: it then has to be a variable, as documented.

    dbt parses the whole project again whenever a variable differs, so our own models read days from the environment.
    """
    theirs = [
        one.get("raw_code") or one.get("macro_sql") or ""
        for one in (*manifest["nodes"].values(), *manifest["macros"].values())
        if one["package_name"] != PACKAGE
    ]
    return any("min_date" in text for text in theirs)


def _fingerprint(manifest: Mapping[str, Any], variables: Mapping[str, str]) -> str:
    """Changes when the columns of a model, or what they are made from, may have changed."""
    nodes = [
        [name, one.get("raw_code"), one.get("columns"), one.get("relation_name")]
        for kind in ("nodes", "sources")
        for name, one in sorted(manifest[kind].items())
    ]
    macros = [[name, one["macro_sql"]] for name, one in sorted(manifest["macros"].items())]
    text = json.dumps([_TOLD, nodes, macros, variables], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _known_columns(context: dg.AssetExecutionContext, fingerprint: str) -> dict[dg.AssetKey, dict[str, Any]]:
    """Columns and lineage of the selected models, as their last build of the same project reported them."""
    found: dict[dg.AssetKey, dict[str, Any]] = {}
    for key in context.selected_asset_keys:
        event = context.instance.get_latest_materialization_event(key)
        known = event.asset_materialization.metadata if event and event.asset_materialization else {}
        if known.get(_PROJECT) == dg.MetadataValue.text(fingerprint):
            found[key] = {name: known[name] for name in _KEPT if name in known}
    return found


@contextmanager
def _parsed_before(folder: Path, target: Path, what: Any) -> Iterator[None]:
    """Give dbt the project as an earlier run with the same variables and warehouse parsed it, and keep what it parses.

    dbt itself looks whether it still fits. A project in a folder that cannot be written is parsed in each run.
    """
    name = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]
    kept, given = folder / f"parsed-{name}.msgpack", target / _PARSED
    with suppress(OSError):
        private_folder(folder)
        target.mkdir(parents=True, exist_ok=True)
        if kept.exists():
            shutil.copy2(kept, given)
    yield
    with suppress(OSError):
        if not kept.exists() or kept.stat().st_mtime < given.stat().st_mtime:
            half = kept.with_suffix(f".{uuid.uuid4().hex[:8]}")
            shutil.copy2(given, half)
            half.replace(kept)


def _between(days: Mapping[str, str]) -> list[date]:
    """The days of a run by day. Its partitions would also be those of models built whole beside it, which have none."""
    return between(date.fromisoformat(days["min_date"]), date.fromisoformat(days["max_date"])) if days else []


def _rows(
    warehouse: Warehouse, invocation: DbtCliInvocation, context: dg.AssetExecutionContext, days: Sequence[date]
) -> dict[dg.AssetKey, tuple[int, dict[date, int]]]:
    """Rows of each selected model: of each of these days where rows have a day, else of all."""
    found: dict[dg.AssetKey, tuple[int, dict[date, int]]] = {}
    with warehouse.read() as connection:
        for node in invocation.manifest["nodes"].values():
            is_model = node["resource_type"] == "model"
            key = invocation.dagster_dbt_translator.get_asset_key(node) if is_model else None
            if key is None or key not in context.selected_asset_keys:
                continue
            table = f"{quoted(node['schema'])}.{quoted(node['alias'])}"
            if days and DAY in node["columns"]:
                rows = connection.execute(
                    f"select {DAY}, count(*) from {table} where {of_days(DAY, days)} group by {DAY}"
                ).fetchall()
                found[key] = (0, dict.fromkeys(days, 0) | dict(rows))
            else:
                row = connection.execute(f"select count(*) from {table}").fetchone()
                found[key] = (row[0] if row else 0, {})
    return found


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """What dbt reads from the environment. It runs in the project's folder, where a relative path is another file."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


def _stay_in_memory(adapter: Any) -> None:
    """For columns and lineage dagster-dbt opens the profile's path read-only, and of ``:memory:`` it makes a file."""
    credentials = getattr(getattr(adapter, "config", None), "credentials", None)
    if Path(getattr(credentials, "path", "")).name == ":memory:":
        credentials.path = ":memory:"  # type: ignore[union-attr]
        credentials.config_options.pop("access_mode", None)  # type: ignore[union-attr]


def _let_go(adapter: Any) -> None:
    """Close the connection that reading columns opened in this process; the next landing here needs the file."""
    if adapter is None:
        return
    manager = adapter.connections
    adapter.cleanup_connections()
    environment = manager._ENV  # dbt-duckdb keeps it for the life of the process and offers no other way
    manager.close_all_connections()
    if environment is not None:
        environment.close()
