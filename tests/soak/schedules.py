"""Random schedules of landings, re-landings, late events, empty days, deaths and concurrent runs; then the truth.

A schedule is a list of moves, drawn by hypothesis in tests and by a seed in the soak. After every move each landed day
holds what the vendor held when it was landed last; after the last one all days are landed, and tables equal source.
"""

import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from connector import EVENTS, OpenPanel, Warehouse, sync_day
from connector.errors import ConnectorError
from connector.http.budget import SharedBudget
from connector.sandbox import READ, serve
from connector.sandbox import OpenPanel as Vendor
from tests.soak import lakes
from tests.soak.kills import Killer, killer

FIRST = date(2026, 3, 2)
DAYS = tuple(FIRST + timedelta(days=number) for number in range(3))
MOVES = ("add", "late twin", "remove", "empty", "land", "land newer", "die", "race", "race with arrivals")
Move = tuple[str, int, int]


class World:
    """A vendor, a warehouse, and what each day should hold by now."""

    def __init__(self, folder: Path, url: str, vendor: Vendor, by: Killer) -> None:
        self.folder, self.vendor, self.url, self.by = folder, vendor, url, by
        vendor.faults.clear()
        for day in DAYS:
            for row in vendor.rows(day):
                vendor.remove(row["id"])
        self.client = OpenPanel(
            url=url, client_id=READ.id, client_secret=READ.secret, project_id="demo",
            budget=SharedBudget(url, folder=folder / "b"),
        )  # fmt: skip
        self.warehouse = Warehouse(folder / "w.duckdb", lock_wait=30)
        self.landed: dict[date, list[str]] = {}
        self.count = self.deaths = self.landings = 0

    def move(self, move: Move) -> None:
        """One move, and a look at every day."""
        name, which, how = move
        day = DAYS[which % len(DAYS)]
        getattr(self, "_" + name.replace(" ", "_"))(day, how)
        self.look()

    def look(self) -> None:
        for day in DAYS:
            rows = self.rows(day)
            assert rows == self.landed.get(day, []), f"{day}: {len(rows)} rows, {len(self.landed.get(day, []))} landed"

    def rows(self, day: date) -> list[str]:
        if not self.warehouse.exists():
            return []
        with self.warehouse.read() as connection:
            tables = connection.execute("select count(*) from duckdb_tables() where table_name = 'events'").fetchone()
            if not tables or not tables[0]:
                return []
            found = connection.execute(f"select id from openpanel.events where _day = '{day}'").fetchall()
        return sorted(row[0] for row in found)

    def source(self, day: date) -> list[str]:
        return sorted({row["id"] for row in self.vendor.rows(day)})

    def sync(self, day: date, **options: Any) -> None:
        sync_day(
            self.client, EVENTS, day, warehouse=self.warehouse, spool_dir=self.folder / "s", pauses=(0.0, 0.0),
            allow_drop=True, **options,
        )  # fmt: skip
        self.landings += 1

    # ---------- moves

    def _add(self, day: date, how: int) -> None:
        for _ in range(how % 5 + 1):
            self.count += 1
            minute, second = divmod(self.count * 7 + how, 60)
            self.vendor.add(f"e{self.count}", at=f"{day}T{(how + self.count) % 24:02}:{minute % 60:02}:{second:02}Z")

    def _late_twin(self, day: date, how: int) -> None:
        rows = self.vendor.rows(day)
        if rows:
            row = rows[how % len(rows)]
            self.vendor.load([{"id": row["id"], "name": row["name"], "created_at": row["created_at"]}])

    def _remove(self, day: date, how: int) -> None:
        rows = self.vendor.rows(day)
        if rows:
            self.vendor.remove(rows[how % len(rows)]["id"])

    def _empty(self, day: date, how: int) -> None:
        for row in self.vendor.rows(day):
            self.vendor.remove(row["id"])

    def _land(self, day: date, how: int) -> None:
        self.sync(day)
        self.landed[day] = self.source(day)

    def _land_newer(self, day: date, how: int) -> None:
        """Incremental: what is landed stands or the whole day is read; a removed row may outlive, as documented."""
        self.sync(day, incremental=True)
        found = self.rows(day)
        assert len(found) == len(self.source(day)) or set(self.source(day)) <= set(found)
        if found != self.source(day):  # counts add up although rows were exchanged: only the whole day can tell
            self.sync(day)
        self.landed[day] = self.source(day)

    def _die(self, day: date, how: int) -> None:
        """A process of its own, killed at one of its calls; what it left is the old day or the new one."""
        before = self.rows(day)
        (end,) = self.by.land(self.url, self.folder, [day], at=how * 13 % 2500 + 1)
        assert end in (0, -9), self.said()
        self.deaths += end == -9
        self.landings += end == 0
        found = self.rows(day)
        assert found in (before, self.source(day)), f"{day} after a death: {len(found)} rows"
        self.landed[day] = found

    def _race(self, day: date, how: int) -> None:
        """Three processes at once, two of them at the same day."""
        others = [day, DAYS[how % len(DAYS)], day]
        assert self.by.land(self.url, self.folder, others) == [0, 0, 0], self.said()
        self.landings += 3
        for one in others:
            self.landed[one] = self.source(one)

    def said(self) -> str:
        return "; ".join(path.read_text()[:200] for path in self.folder.glob("error-*"))

    def _race_with_arrivals(self, day: date, how: int) -> None:
        """Rows arrive while two runs read: the last landing wins whole, and may be a moment behind."""

        def arrive() -> None:
            for _ in range(how % 3 + 1):
                self._add(day, how)
                time.sleep(0.002)

        def land() -> None:
            with suppress(ConnectorError):  # the day moved during every walk
                self.sync(day)

        self._at_once([land, arrive, land])
        found = self.rows(day)
        assert set(found) <= set(self.source(day)) | set(self.landed.get(day, []))
        self.sync(day)
        self.landed[day] = self.source(day)

    def _at_once(self, calls: Sequence[Callable[[], None]]) -> None:
        faults: list[BaseException] = []

        def run(call: Callable[[], None]) -> None:
            try:
                call()
            except BaseException as fault:  # noqa: BLE001 - a thread's error is the test's
                faults.append(fault)

        threads = [threading.Thread(target=run, args=(call,)) for call in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        assert not faults, faults

    def finish(self) -> None:
        """Land everything once more: the tables are the source."""
        for day in DAYS:
            self._land(day, 0)
        self.look()
        with self.warehouse.read() as connection:
            rows = connection.execute("select count(*), count(distinct (_day, id)) from openpanel.events").fetchone()
        assert rows is not None
        assert rows[0] == rows[1] == sum(len(self.source(day)) for day in DAYS)

    def close(self) -> None:
        self.client.close()
        lakes.remove(self.folder / "w.duckdb")


def played(moves: Iterable[Move], vendor: Vendor, url: str, by: Killer) -> World:
    """A schedule from the beginning to the end; raises where a promise is broken."""
    with tempfile.TemporaryDirectory(prefix="schedule-") as folder:
        world = World(Path(folder), url, vendor, by)
        try:
            for move in moves:
                world.move(move)
            world.finish()
        finally:
            world.close()
        return world


def drawn(chance: random.Random, length: int) -> list[Move]:
    """A random schedule."""
    return [(chance.choice(MOVES), chance.randrange(len(DAYS)), chance.randrange(1000)) for _ in range(length)]


def run(seconds: float, seed: int, _names: Sequence[str] = ()) -> dict[str, Any]:
    """Schedules until the time is over; figures, and what was violated. All are about OpenPanel's events."""
    until, number = time.monotonic() + seconds, 0
    figures: dict[str, Any] = {"schedules": 0, "deaths": 0, "landings": 0, "requests": 0, "violations": []}
    vendor = Vendor(rate_limit=None)
    with serve(vendor.app) as url, killer() as by:
        while time.monotonic() < until:
            number += 1
            moves = drawn(random.Random(f"{seed}:{number}"), 14)
            try:
                world = played(moves, vendor, url, by)
            except Exception as fault:  # noqa: BLE001 - told with the schedule that leads to it
                figures["violations"].append(
                    f"schedule {seed}:{number}: {type(fault).__name__} {str(fault)[:300]}; {moves}"
                )
                continue
            figures["schedules"] += 1
            figures["deaths"] += world.deaths
            figures["landings"] += world.landings
            figures["requests"] += len(vendor.requests)
            vendor.requests.clear()
    return figures
