"""Killed with SIGKILL at any moment and run again: the table equals the source, and no spool stays for ever."""

import json
import random
import subprocess
import sys
import textwrap
import time

from connector import EVENTS, Warehouse, sync_day
from connector.sandbox import READ, OpenPanel, serve
from tests.conftest import DAY

KILLS = 10
ROWS = 30_000


def test_ten_kills_lose_nothing_and_leave_nothing(tmp_path):
    vendor = OpenPanel(rate_limit=None)
    rows = (
        {"id": f"{n:08x}-0000-4000-8000-000000000000", "name": "click", "created_at": f"{DAY}T{n % 24:02}:00:00Z"}
        for n in range(ROWS)
    )
    vendor.load(rows)
    warehouse, spool = Warehouse(tmp_path / "w.duckdb"), tmp_path / "spool"
    random.seed(4)
    with serve(vendor.app) as url:
        code = textwrap.dedent(f"""
            from datetime import date
            from pathlib import Path
            from connector import EVENTS, OpenPanel, Warehouse, sync_day
            client = OpenPanel(url={url!r}, client_id={READ.id!r}, client_secret={READ.secret!r}, project_id="demo")
            print("started", flush=True)
            receipt = sync_day(client, EVENTS, date({DAY.year}, {DAY.month}, {DAY.day}),
                warehouse=Warehouse({str(tmp_path / "w.duckdb")!r}), spool_dir=Path({str(spool)!r}))
            print("landed", receipt.lock_seconds, flush=True)
        """)
        # How long one undisturbed run takes tells where the kills have to fall.
        started = time.monotonic()
        assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=120)
        length = time.monotonic() - started

        landed_before_kill = 0
        for number in range(KILLS):
            with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout.readline() == "started\n"
                time.sleep(random.uniform(0, length))
                process.kill()
                landed_before_kill += "landed" in process.stdout.read()
            # Whatever moment it was: the day stands whole.
            with warehouse.read() as connection:
                counts = connection.execute(
                    "select count(*), count(distinct _load_id) from openpanel.events"
                ).fetchone()
            assert counts == (ROWS, 1), f"after kill {number}"
        assert landed_before_kill < KILLS, "no kill fell into a run"

        assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=120)
    with warehouse.read() as connection:
        ids = [row[0] for row in connection.execute("select id from openpanel.events").fetchall()]
    assert sorted(ids) == sorted(row["id"] for row in vendor.rows(DAY))
    assert [path for path in spool.rglob("*") if path.is_file()] == []


def test_what_a_dead_run_left_is_swept_and_a_living_runs_is_not(tmp_path, openpanel, warehouse, vendor):
    from connector.spool import spooling

    vendor.add("a", at=f"{DAY}T01:00:00Z")
    spool = tmp_path / "spool"
    dead = spool / EVENTS.table / "2026-01-01-0123456789ab"
    dead.mkdir(parents=True)
    (dead / ".lock").touch()
    (dead / "part-00001.json").write_text(json.dumps([]))
    with spooling(spool, EVENTS, DAY) as living:
        sync_day(openpanel, EVENTS, DAY, warehouse=warehouse, spool_dir=spool)
        assert living.exists()
    assert not dead.exists()
    assert not living.exists()
