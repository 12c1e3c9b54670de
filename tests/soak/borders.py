"""The second part of the matrix: what is not ours around a run. Kinds G to L of ``docs/trust.md``, three inputs each.

A cell lays out a situation, lets the schedules, sensors, verbs or models do what they do, and returns the promises that
were broken. Rows are counted against the vendor where rows are promised.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import dagster as dg
import duckdb
from dagster._core.storage.defs_state.base import set_defs_state_storage

import connector.userpilot.exports.machine as machine
from connector import EVENTS, OpenPanel, sync_day
from connector.catalogue.userpilot import EVENT_TYPES
from connector.dagster import (
    OpenPanelResource,
    UserpilotResource,
    WarehouseResource,
    build_definitions,
    openpanel_assets,
    openpanel_definitions,
    openpanel_drift_sensor,
    userpilot_assets,
    userpilot_definitions,
)
from connector.errors import ConnectorError
from connector.http.budget import Unlimited
from connector.sandbox import READ, USERPILOT_KEY, serve, serve_userpilot, vendor_variables
from connector.sandbox import OpenPanel as OpenPanelVendor
from connector.sandbox import Userpilot as UserpilotVendor
from tests.dagster.test_other_definitions import executors, theirs
from tests.dagster.userpilot.conftest import Daemon
from tests.sql.project import dbt

TODAY = datetime.now(UTC).date()
NIGHT = datetime.combine(TODAY, time(3, 15), UTC)
DAYS = [TODAY - timedelta(days=back) for back in range(14, 0, -1)]
EXPORTED = [date(2026, 3, 4) + timedelta(days=n) for n in range(3)]
RANGE = {"dagster/asset_partition_range_start": "2026-03-04", "dagster/asset_partition_range_end": "2026-03-06"}


@dataclass
class Count:
    """Rows that should be there against rows that are."""

    lost: int = 0
    doubled: int = 0

    def add(self, due: Counter[Any], found: Counter[Any]) -> Iterator[str]:
        self.lost += (due - found).total()
        self.doubled += (found - due).total()
        if due != found:
            yield f"due were {dict(due)}, and it is {dict(found)}"


@dataclass(frozen=True, kw_only=True)
class Border:
    """One situation at a border."""

    kind: str
    given: str
    play: Callable[[Path, Count], Iterator[str]]

    def __str__(self) -> str:
        return f"{self.kind}: {self.given}"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of it."""

    border: Border
    violations: tuple[str, ...]
    count: Count = field(default_factory=Count)


def judged(border: Border, folder: Path) -> Verdict:
    """Carry a cell out in a folder of its own; whatever escapes is a violation."""
    folder.mkdir(parents=True)
    count, broken = Count(), list[str]()
    try:
        with set_defs_state_storage(None):  # of an instance that is gone
            broken += border.play(folder, count)
    except Exception as caught:  # noqa: BLE001 - whatever escapes is what is looked for
        broken.append(f"{type(caught).__name__} escaped: {str(caught)[:500]}")
    return Verdict(border=border, violations=tuple(broken), count=count)


# ---------- G and H: days


class Panel:
    """OpenPanel's sandbox with two weeks, a warehouse, and what Dagster makes of both."""

    def __init__(self, folder: Path, url: str, vendor: OpenPanelVendor, zone: str) -> None:
        self.folder, self.url, self.vendor, self.zone = folder, url, vendor, zone
        self.store = WarehouseResource(database=str(folder / "w.duckdb"), spool_dir=str(folder / "spool"))
        self.source = OpenPanelResource(
            api_url=url, client_id=READ.id, client_secret=READ.secret or "", project_id="demo", timezone=zone
        )

    def land(self, day: date, stream: Any = EVENTS) -> None:
        with OpenPanel(
            url=self.url, client_id=READ.id, client_secret=READ.secret or "", project_id="demo", timezone=self.zone,
            budget=Unlimited(), sleep=lambda _: None,
        ) as client:  # fmt: skip
            sync_day(client, stream, day, warehouse=self.store.warehouse(), spool_dir=self.folder / "spool", pauses=())

    def fail(self, day: date) -> None:
        """A landing in vain, as the receipts tell it."""
        self.vendor.faults.add("status", "/export/*", status=404, times=1)
        with contextlib.suppress(ConnectorError):
            self.land(day)
        self.vendor.faults.clear()

    def write(self, sql: str) -> None:
        with self.store.warehouse().write() as connection:
            connection.execute(sql)

    def rows(self) -> Counter[Any]:
        with duckdb.connect(self.folder / "w.duckdb", read_only=True) as connection:
            found = connection.execute("select _day, count(*) from openpanel.events group by 1").fetchall()
        return Counter(dict(found))


@contextlib.contextmanager
def _panel(folder: Path, zone: str = "UTC") -> Iterator[Panel]:
    vendor = OpenPanelVendor(rate_limit=None)
    vendor.projects["demo"].organisation.timezone = zone
    for number, day in enumerate(DAYS):
        for hour in range(number % 3 + 1):
            vendor.add(f"{day}-{hour}", at=f"{day}T{hour + 9:02}:00:00Z", session_id=f"{day}", path="/")
    with serve(vendor.app) as url:
        yield Panel(folder, url, vendor, zone)


def _missed(
    landed: Sequence[int], *, half: Sequence[int] = (), failed: Sequence[int] = (), nights: int = 1, cost: int = 0
) -> Callable[[Path, Count], Iterator[str]]:
    """Days (by their age) that are landed, that landed while they were open, and that failed; then nights.

    Args:
        cost: requests that each landing cost, as its receipt says.
    """

    def play(folder: Path, count: Count) -> Iterator[str]:
        with _panel(folder) as panel, dg.instance_for_test() as known, dg.DagsterInstance.ephemeral() as instance:
            for age in (*landed, *half):
                panel.land(TODAY - timedelta(days=age))
            for age in failed:
                panel.fail(TODAY - timedelta(days=age))
            if cost:
                panel.write(f"update connector.landings set requests = {cost}")
            if half:
                ages = ", ".join(map(str, half))
                panel.write(
                    "update connector.landings set landed_at = day::timestamptz + interval 14 hour "
                    f"where (date '{TODAY}' - day) in ({ages})"
                )
                panel.write(f"delete from openpanel.events where (date '{TODAY}' - _day) in ({ages})")
            defs = openpanel_definitions(
                start_date=DAYS[0], tables=["events"], openpanel=panel.source, warehouse=panel.store
            )
            (schedule,) = [one for one in defs.schedules or () if one.name == "openpanel_nightly"]
            for _ in range(nights):
                context = dg.build_schedule_context(
                    instance=known, scheduled_execution_time=NIGHT, repository_def=defs.get_repository_def()
                )
                for request in schedule.evaluate_tick(context).run_requests or ():  # type: ignore[union-attr]
                    job = defs.resolve_job_def("openpanel_nightly")
                    job.execute_in_process(instance=instance, tags=request.tags)
            first = TODAY - timedelta(days=max([*landed, *half]))
            due = Counter({day: panel.vendor.count(day) for day in DAYS if day >= first})
            yield from count.add(due, panel.rows())

    return play


def _moved(start: int, *, interrupted: bool = False) -> Callable[[Path, Count], Iterator[str]]:
    """START_DATE is so many days ago now; late rows came on both sides of it."""

    def play(folder: Path, count: Count) -> Iterator[str]:
        with _panel(folder) as panel, dg.DagsterInstance.ephemeral() as instance:
            for day in DAYS[-8:]:
                panel.land(day)
            for day in (DAYS[-8], DAYS[-1]):
                panel.vendor.add(f"late-{day}", at=f"{day}T23:00:00Z")
            first, cursor = TODAY - timedelta(days=start), None
            if interrupted:
                cursor, _ = _tick(panel, instance, DAYS[0], None, share=0.01)
            _, requests = _tick(panel, instance, first, cursor)
            wanted = {str(DAYS[-1])} if first <= DAYS[-1] else set()
            if (asked := {request.partition_key for request in requests}) != wanted:
                yield f"requested were {asked}, and {wanted} moved within the partitions"
            for request in requests:
                (asset,) = openpanel_assets(streams=[EVENTS], start_date=first, **_resources(panel))
                dg.materialize([asset], instance=instance, partition_key=request.partition_key)
            inside = [day for day in DAYS[-8:] if day >= first]
            due = Counter({day: panel.vendor.count(day) for day in inside})
            found = Counter({day: rows for day, rows in panel.rows().items() if day in inside})
            yield from count.add(due, found)

    return play


def _resources(panel: Panel) -> dict[str, Any]:
    return {"openpanel": panel.source, "warehouse": panel.store}


def _tick(
    panel: Panel, instance: dg.DagsterInstance, start: date, cursor: str | None, share: float = 0.5
) -> tuple[str | None, list[dg.RunRequest]]:
    """One tick of the drift sensor as the daemon has it: what is requested is checked against the partitions."""
    (asset,) = openpanel_assets(streams=[EVENTS], start_date=start, **_resources(panel))
    sensor = openpanel_drift_sensor(asset, EVENTS, every_hours=0, budget_share=share, **_resources(panel))
    repository = dg.Definitions(assets=[asset], sensors=[sensor]).get_repository_def()
    with dg.build_sensor_context(instance=instance, cursor=cursor, repository_def=repository) as context:
        result = sensor.evaluate_tick(context)
    return result.cursor, list(result.run_requests or ())


def _export_moved(start: int) -> Callable[[Path, Count], Iterator[str]]:
    """START_DATE moves by so many days into, or behind, the days of an export that is under way."""

    def play(folder: Path, count: Count) -> Iterator[str]:
        with _pilot(folder) as here, dg.DagsterInstance.ephemeral() as instance:
            before = here.daemon(instance, EXPORTED[0])
            before.materialize("export_job", tags=RANGE)
            after = here.daemon(instance, EXPORTED[0] + timedelta(days=start))
            after.cursor = before.cursor
            after.ticks()
            if after.reasons[-1] != "no export is under way":
                yield f"the sensor says {after.reasons[-1]!r}"
            if failed := instance.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE])):
                yield f"{failed} runs failed"
            # It lands whole if any of its days has a partition.
            days = EXPORTED if EXPORTED[start:] else []
            due = Counter({day: here.vendor.count(day, distinct=True) for day in days})
            yield from count.add(due, here.rows())

    return play


# ---------- J: two code locations


class Pilot:
    """Userpilot's sandbox, and one code location of it."""

    def __init__(self, folder: Path, api: str, vendor: UserpilotVendor) -> None:
        self.folder, self.vendor = folder, vendor
        self.resources: dict[str, Any] = {
            "userpilot": UserpilotResource(api_url=api, api_key=USERPILOT_KEY),
            "warehouse": WarehouseResource(database=str(folder / "w.duckdb"), spool_dir=str(folder / "spool")),
        }

    def daemon(self, instance: dg.DagsterInstance, start: date) -> Any:
        options = {"event_type": list(EVENT_TYPES)}
        assets = userpilot_assets(start_date=start, options=options, retry_policy=None, patience=5.0, **self.resources)
        return Daemon(assets, self.resources, instance)

    def rows(self) -> Counter[Any]:
        if not (self.folder / "w.duckdb").exists():
            return Counter()
        with duckdb.connect(self.folder / "w.duckdb", read_only=True) as connection:
            with contextlib.suppress(duckdb.CatalogException):
                return Counter(
                    dict(connection.execute("select _day, count(*) from userpilot.events group by 1").fetchall())
                )
        return Counter()

    @property
    def asked(self) -> int:
        return sum(request.method == "POST" for request in self.vendor.requests)


@contextlib.contextmanager
def _pilot(folder: Path) -> Iterator[Pilot]:
    folder.mkdir(exist_ok=True)
    vendor = UserpilotVendor(polls_to_complete=1)
    vendor.load_sample(EXPORTED[0] - timedelta(days=1), EXPORTED[-1] + timedelta(days=1))
    nothing = timedelta(0)
    waits = {"BACK_OFF": (nothing,) * 3, "SLOT_POLL": nothing, "POLL_FIRST": nothing, "SETTLES": nothing}
    with serve_userpilot(vendor) as (api, _), patch.multiple(machine, **waits):
        yield Pilot(folder, api, vendor)


def _two(both: bool = False, *, taken: bool = False, failing: bool = False) -> Callable[[Path, Count], Iterator[str]]:
    """Production asks for an export, and staging of its own if ``both``; their sensors take turns."""

    def play(folder: Path, count: Count) -> Iterator[str]:
        with (
            _pilot(folder / "production") as production,
            _pilot(folder / "staging") as staging,
            dg.DagsterInstance.ephemeral() as instance,
        ):
            mine, other = (here.daemon(instance, EXPORTED[0]) for here in (production, staging))
            foreign = production.vendor.foreign_job(seconds=3600) if taken else None
            if failing:
                production.vendor.fail_next_job()
            mine.materialize("export_job", tags=RANGE)
            if both:
                other.materialize("export_job", tags=RANGE)
            for turn in range(8):
                if foreign and turn == 3:
                    production.vendor.finish_job(foreign.id)
                other.tick()
                mine.tick()
            due = Counter({day: production.vendor.count(day, distinct=True) for day in EXPORTED})
            yield from count.add(due, production.rows())
            theirs_due = Counter({day: staging.vendor.count(day, distinct=True) for day in EXPORTED} if both else {})
            yield from count.add(theirs_due, staging.rows())
            if staging.asked != both:
                yield f"staging asked its vendor for {staging.asked} exports"

    return play


# ---------- I: somebody else's definitions


def _beside(
    ours: Callable[[], dg.Definitions], *, first: bool = False, plain: bool = False
) -> Callable[[Path, Count], Iterator[str]]:
    """Ours merged with a project that has an executor, loggers and our resource keys, or nothing of all that."""

    def play(folder: Path, count: Count) -> Iterator[str]:
        project = dg.Definitions(assets=[_their_asset]) if plain else theirs()
        merged = dg.Definitions.merge(*((ours(), project) if first else (project, ours())))
        dg.Definitions.validate_loadable(merged)
        found, alone = executors(merged), executors(project)
        for name in alone:
            if found[name] != alone[name]:
                yield f"their job {name} has the executor {found[name]}, and it was {alone[name]}"
        if any(
            dict(getattr(merged, name) or {}) != dict(getattr(project, name) or {}) for name in ("loggers", "resources")
        ):
            yield "loggers or resources are others than theirs"
        for schedule in merged.schedules or ():
            if schedule.name.startswith(("openpanel", "userpilot")) and found[schedule.job_name] != "in_process":
                yield f"{schedule.job_name} needs a process for each step"

    return play


@dg.asset
def _their_asset() -> None:
    """An asset of a project without anything else."""


# ---------- K: terminals

_NAME = "käse Ελλάδα 東京 🧀"


def _terminal(**variables: str) -> Callable[[Path, Count], Iterator[str]]:
    """An export is asked for with a name that the terminal cannot show."""

    def play(folder: Path, count: Count) -> Iterator[str]:
        vendor = UserpilotVendor(polls_to_complete=10**6)
        vendor.load_sample(EXPORTED[0], EXPORTED[0])
        with serve_userpilot(vendor) as (api, _), serve(OpenPanelVendor().app) as url:
            known = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
            days = ["--from", str(EXPORTED[0]), "--to", str(EXPORTED[0])]
            done = subprocess.run(
                [sys.executable, "-m", "connector.cli", "export", "request", *days, "--user-id", _NAME],
                cwd=folder,
                env=known | vendor_variables(openpanel=url, userpilot=api) | variables
                | {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
                capture_output=True,
                check=False,
            )  # fmt: skip
        asked = [request.body.decode() for request in vendor.requests if request.method == "POST"]
        if done.returncode not in (0, 75) or b"Traceback" in done.stderr:
            yield f"it ended with {done.returncode}: {done.stderr[-300:]!r}"
        if len(asked) != 1:
            yield f"{len(asked)} exports were asked for"

    return play


# ---------- L: one vendor only


def _alone(vendor: str, *verb: str) -> Callable[[Path, Count], Iterator[str]]:
    """A dbt verb over a warehouse in which nothing of the other vendor was ever landed."""

    def play(folder: Path, count: Count) -> Iterator[str]:
        file = folder / "warehouse.duckdb"
        if vendor == "openpanel":
            with _panel(folder) as panel:
                panel.store = WarehouseResource(database=str(file), spool_dir=str(folder / "spool"))
                panel.land(DAYS[-1])
        else:
            with _pilot(folder / "pilot") as pilot, dg.DagsterInstance.ephemeral() as instance:
                daemon = pilot.daemon(instance, EXPORTED[0])
                daemon.materialize("export_job", tags=RANGE)
                daemon.ticks()
                (pilot.folder / "w.duckdb").rename(file)
        results = dbt(*verb, warehouse=file)
        bad = [one for one in results if str(one.status) not in ("pass", "success", "skipped")]
        if bad:
            yield f"{len(bad)} of {len(results)} are {bad[0].status}: {bad[0].message}"

    return play


# ---------- all of them

_BORDERS: dict[str, dict[str, Callable[[Path, Count], Iterator[str]]]] = {
    "days that were missed": {
        "the daemon was down for eight days": _missed([13, 12, 11, 10]),
        "a day landed only while it was open": _missed([9, 8, 6, 5], half=[7]),
        "a week of landings failed": _missed([13], failed=range(12, 5, -1)),
        "gaps between landed days": _missed([14, 12, 9, 8, 3]),
        "one day ever, two weeks ago": _missed([14]),
        "gaps too dear for one night": _missed([13, 12], cost=1500, nights=3),
    },
    "days outside today's partitions": {
        "START_DATE moved into the landed days": _moved(4),
        "START_DATE is today": _moved(0),
        "START_DATE lies in the future": _moved(-3),
        "it moved while a pass was under way": _moved(2, interrupted=True),
        "it moved into an export under way": _export_moved(1),
        "it moved behind an export under way": _export_moved(3),
    },
    "somebody else's definitions": {
        "an executor, loggers and our resource keys": _beside(build_definitions),
        "ours come first": _beside(build_definitions, first=True),
        "one vendor alone": _beside(openpanel_definitions),
        "the other vendor alone": _beside(userpilot_definitions, first=True),
        "a project with nothing of all that": _beside(build_definitions, plain=True),
        "a second instance": _beside(lambda: build_definitions(instance="shop")),
    },
    "two code locations": {
        "only production has an export": _two(),
        "both export the same days": _two(both=True),
        "production waits for the slot": _two(taken=True),
        "an export of production fails once": _two(failing=True),
        "production waits, staging exports": _two(both=True, taken=True),
    },
    "terminals": {
        "latin-1": _terminal(PYTHONIOENCODING="latin-1"),
        "strict ascii": _terminal(PYTHONIOENCODING="ascii:strict"),
        "the C locale without UTF-8 mode": _terminal(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0"),
        "KOI8-R": _terminal(PYTHONIOENCODING="koi8-r"),
        "a codepage of DOS": _terminal(PYTHONIOENCODING="cp437:strict"),
    },
    "one vendor only": {
        "freshness with OpenPanel alone": _alone("openpanel", "source", "freshness"),
        "freshness with Userpilot alone": _alone("userpilot", "source", "freshness"),
        "run with OpenPanel alone": _alone("openpanel", "run"),
        "run with Userpilot alone": _alone("userpilot", "run"),
        "docs with OpenPanel alone": _alone("openpanel", "docs", "generate"),
    },
}
BORDERS = tuple(
    Border(kind=kind, given=given, play=play) for kind, cells in _BORDERS.items() for given, play in cells.items()
)


def run(is_time: Callable[[], bool]) -> dict[str, Any]:
    """Every cell while there is time; figures for the report."""
    figures: dict[str, Any] = {"kinds": {}, "violations": [], "lost": 0, "doubled": 0, "unfinished": 0}
    folder = Path(tempfile.mkdtemp(prefix="borders-"))
    for number, border in enumerate(BORDERS):
        if not is_time():
            figures["unfinished"] += 1
            continue
        with contextlib.redirect_stdout(sys.stderr):  # what dbt and Dagster say is no figure
            verdict = judged(border, folder / str(number))
        kind = figures["kinds"].setdefault(border.kind, {"cells": 0, "kept": 0})
        kind["cells"] += 1
        kind["kept"] += not verdict.violations
        figures["lost"] += verdict.count.lost
        figures["doubled"] += verdict.count.doubled
        figures["violations"] += [f"{border}: {text}" for text in verdict.violations]
    return figures
