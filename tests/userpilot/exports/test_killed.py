"""Killed with SIGKILL while asking, waiting, fetching and landing: rows equal, one extra export a kill at most."""

import random
import subprocess
import sys
import textwrap
import time
from datetime import date, timedelta

import pytest

from connector.sandbox import USERPILOT_KEY, Userpilot, serve_userpilot
from connector.userpilot.exports.ledger import Ledger

pytestmark = pytest.mark.usefixtures("each_state")
FIRST = date(2026, 3, 2)
DAYS = [FIRST + timedelta(days=n) for n in range(5)]
KILLS = 6


def test_kills_cost_at_most_one_export_each_and_no_row(tmp_path, warehouse, query):
    vendor = Userpilot(seconds_to_complete=1.0, file_span="day")
    vendor.load_sample(DAYS[0], DAYS[-1])
    random.seed(7)
    with serve_userpilot(vendor) as (api, _):
        code = textwrap.dedent(f"""
            from datetime import date, timedelta
            from pathlib import Path
            import connector.userpilot.exports.machine as machine
            from connector import Exports, Userpilot, Warehouse
            from connector.userpilot.exports.request import Request
            machine.POLL_FIRST = machine.SLOT_POLL = machine.SEARCH_PAUSE = timedelta(seconds=0.2)
            warehouse, spool = Warehouse({str(tmp_path / "warehouse.duckdb")!r}), Path({str(tmp_path / "spool")!r})
            request = Request(first=date(2026, 3, 2), last=date(2026, 3, 6))
            with Userpilot(url={api!r}, api_key={USERPILOT_KEY!r}) as client:
                exports = Exports(client, spool)
                print("started", flush=True)
                for job in exports.wait(request):
                    exports.land(job, warehouse=warehouse)
        """)
        started = time.monotonic()
        assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=120)
        length = time.monotonic() - started
        for _ in range(KILLS):
            with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout.readline() == "started\n"
                time.sleep(random.uniform(0, length))
                process.kill()
        before = len(vendor.jobs.all)
        assert before <= 1 + KILLS
        assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=120)
        assert len(vendor.jobs.all) <= before + 1
    types = vendor.jobs.all[0].asked.types
    assert dict(query("select _day, count(*) from userpilot.events group by 1")) == {
        day: vendor.count(day, types=types, distinct=True) for day in DAYS
    }


def test_killed_between_the_request_and_its_answer(tmp_path):
    """The job runs and its id is lost: we wait until it ends, and request one more, not two."""
    vendor = Userpilot(seconds_to_complete=1.0)
    vendor.load_sample(DAYS[0], DAYS[-1])
    with serve_userpilot(vendor) as (api, _):
        code = textwrap.dedent(f"""
            import os, sys
            from datetime import date, timedelta
            from pathlib import Path
            import connector.userpilot.exports.machine as machine
            from connector import Exports, Userpilot
            from connector.userpilot.exports.request import Request
            machine.POLL_FIRST = machine.SLOT_POLL = machine.SEARCH_PAUSE = timedelta(seconds=0.2)
            client = Userpilot(url={api!r}, api_key={USERPILOT_KEY!r})
            if sys.argv[1] == "die":
                real = client.trigger
                client.trigger = lambda *given, **more: (real(*given, **more), os.kill(os.getpid(), 9))
            exports = Exports(client, Path({str(tmp_path / "spool")!r}))
            for job in exports.wait(Request(first=date(2026, 3, 2), last=date(2026, 3, 6))):
                print(job.state)
        """)
        assert subprocess.run([sys.executable, "-c", code, "die"], check=False, timeout=60).returncode == -9
        (intent,) = Ledger(tmp_path / "spool" / "userpilot.exports").jobs()
        assert (intent.state, intent.job_id, intent.posts) == ("triggering", "", 1)
        done = subprocess.run(
            [sys.executable, "-c", code, "live"], check=True, capture_output=True, text=True, timeout=60
        )
    assert done.stdout == "fetched\n"
    assert len(vendor.jobs.all) == 2
