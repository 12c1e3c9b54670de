"""Several processes and one lake: no day is lost, doubled or torn, whoever writes, reads, tidies up or dies.

Short forms run with the suite; ``make scale`` runs the long ones as well.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from datetime import date, timedelta

import pytest

from connector import EVENTS, RejectedError, TransientError, Warehouse, land
from connector.spool import spooling
from connector.warehouse import extensions
from tests.kinds import close_lakes
from tests.scale.writers import FIRST, landed, replayed, spooled
from tests.soak.lakes import full
from tests.soak.privilege import as_mortal
from tests.test_real_events import FOLDER, events

PER_DAY = "select _day, count(*), count(distinct _load_id) from openpanel.events group by 1 order by 1"


STARTED = []


@pytest.fixture(autouse=True)
def _no_process_outlives_its_test():
    yield
    while STARTED:
        with STARTED.pop() as one:  # waits for it, and closes what it wrote to
            one.kill()


def process(*arguments, **environment):
    one = subprocess.Popen(
        [sys.executable, "-m", "tests.scale.writers", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    STARTED.append(one)
    return one


def said(running, timeout=120):
    out, err = running.communicate(timeout=timeout)
    assert running.returncode == 0, err[-2000:]
    return out.splitlines()


def race(tmp_path, prepare=""):
    """Two first landings of one day, both inside their transactions before either may commit."""
    code = f"{prepare}\nfrom tests.scale.writers import main; import sys; from pathlib import Path\n"
    code += "main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])"
    both = [
        subprocess.Popen([sys.executable, "-c", code, "race", str(tmp_path), "1000"], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert both[0].stdout.readline() or both[1].stdout.readline()
    time.sleep(0.5)
    (tmp_path / "go").touch()
    for one in both:
        one.communicate(timeout=120)
    return [one.returncode for one in both]


def test_two_first_landings_of_a_day_leave_one(lake, ask, tmp_path):
    landed(lake, tmp_path / "spool", FIRST + timedelta(days=1), 3)  # the table and the lake are there
    assert race(tmp_path) == [0, 0]
    assert ask(PER_DAY)[0] == (FIRST, 1000, 1)
    assert ask("select count(*) from connector.landings where day = '2026-03-01'") == [(2,)]


@pytest.mark.parametrize("lake_kind", ["postgres"], indirect=True)
def test_without_the_lock_that_race_doubles_the_day_and_the_proof_after_the_commit_repairs_it(lake, ask, tmp_path):
    """The lock does the work: without it both commit. What is found then is told, and landed again."""
    landed(lake, tmp_path / "spool", FIRST + timedelta(days=1), 3)
    no_lock = (
        "import contextlib; from connector.warehouse.lake_postgres import PostgresLake\n"
        "PostgresLake.lock = lambda self, **_: contextlib.nullcontext(lambda: None)\n"
    )
    no_proof = no_lock + "from connector.landing.transaction import Transaction; Transaction._prove = lambda self: None"
    assert race(tmp_path, no_proof) == [0, 0]
    assert ask(PER_DAY)[0] == (FIRST, 2000, 2)

    landed(lake, tmp_path / "spool", FIRST, 1000)
    (tmp_path / "go").unlink()
    assert 0 in race(tmp_path, no_lock)
    assert ask(PER_DAY)[0][1:] == (1000, 1)


def test_a_lake_is_made_once_by_processes_that_come_together(lake, ask, tmp_path):
    assert [said(one)[-1] for one in [process("storm", tmp_path, n, 1, 1) for n in range(3)]] == ['"done"'] * 3
    assert [row[2] for row in ask(PER_DAY)] == [1]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("days, rounds", [(4, 2), pytest.param(28, 3, marks=pytest.mark.slow)])
def test_replacing_days_all_the_time_is_never_seen_torn(lake, ask, tmp_path, days, rounds):
    for number in range(days):
        landed(lake, tmp_path / "spool", FIRST + timedelta(days=number), 20)
    readers = [process("read", tmp_path, 1700) for _ in range(2)]
    writers = [process("storm", tmp_path, first, days, rounds) for first in range(2 if days < 10 else 4)]
    try:
        for turn in range(2):  # maintenance under load, as its schedule does it
            lake.maintain()
            assert ask("select count(*) from openpanel.events") == ask(
                "select count(*) from (select * from openpanel.events where id is not null)"
            ), turn
        for one in writers:
            assert said(one, timeout=1500) == ['"done"']
    finally:
        (tmp_path / "stop").touch()
    for one in readers:
        reads, torn = json.loads(said(one)[-1])
        assert torn == []
        assert reads > 3
    assert len(ask(PER_DAY)) == days
    assert all(loads == 1 and 20 <= rows < 25 for _, rows, loads in ask(PER_DAY))


CLICKS = "usagov_clicks_2013.ndjson.gz"


def real_days(folder, days):
    """The first days of the clicks as OpenPanel would have sent them, a file each; their ids by day."""
    if not (FOLDER / CLICKS).exists():
        pytest.skip(f"{CLICKS} is not in {FOLDER.name}/: set REAL_EVENTS to the folder that holds it")
    rows = {}
    for row in events(CLICKS):
        day = row["created_at"][:10]
        if day not in rows and len(rows) == days:  # the file is in the order of time
            break
        names = {"created_at": "createdAt", "device_id": "deviceId", "profile_id": "profileId"}
        names["session_id"] = "sessionId"
        rows.setdefault(day, []).append({names.get(name, name): value for name, value in row.items()})
    (folder / "source").mkdir()
    for day, of_day in rows.items():
        (folder / "source" / f"{day}.json").write_text(json.dumps(of_day))
    (folder / "counts.json").write_text(json.dumps({day: len(of_day) for day, of_day in rows.items()}))
    return {date.fromisoformat(day): {row["id"] for row in of_day} for day, of_day in rows.items()}


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("days, rounds", [(3, 1), pytest.param(28, 3, marks=pytest.mark.slow)])
def test_real_days_replaced_all_the_time_are_never_seen_torn_and_equal_their_source(lake, ask, tmp_path, days, rounds):
    truth = real_days(tmp_path, days)
    replayed(lake, tmp_path, min(truth))
    readers = [process("read", tmp_path, 1700) for _ in range(2)]
    writers = [process("replay", tmp_path, first, rounds) for first in range(2 if days < 10 else 4)]
    try:
        for one in writers:
            lake.maintain()
            assert said(one, timeout=1500) == ['"done"']
    finally:
        (tmp_path / "stop").touch()
    for one in readers:
        reads, torn = json.loads(said(one)[-1])
        assert torn == []
        assert reads > 3
    landed_ids = {day: set(ids) for day, ids in ask("select _day, list(id) from openpanel.events group by 1")}
    assert landed_ids == truth
    assert ask("select count(*) from openpanel.events") == [(sum(map(len, truth.values())),)]
    assert {row[2] for row in ask(PER_DAY)} == {1}
    assert ask("select count(*) from connector.landings where status <> 'landed'") == [(0,)]


@pytest.mark.parametrize("kills", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_a_landing_killed_inside_its_transaction_leaves_the_day_and_no_lock(lake, ask, tmp_path, kills):
    before = landed(lake, tmp_path / "spool", FIRST, 30)
    for _ in range(kills):
        with process("kill", tmp_path) as running:
            assert running.stdout.readline() == '"before commit"\n'
            time.sleep(random.uniform(0, 0.05))
            running.send_signal(signal.SIGKILL)
        assert ask(f"select count(*), any_value(_load_id) from openpanel.events where _day = '{FIRST}'") == [
            (30, before.load_id)
        ]
        asked = time.monotonic()
        with Warehouse(os.environ["WAREHOUSE"], lock_wait=5).write():
            pass
        assert time.monotonic() - asked < 5
    assert landed(lake, tmp_path / "spool", FIRST, 50).landed == 50
    assert ask(PER_DAY) == [(FIRST, 50, 1)]


def test_an_empty_day_empties_the_day(lake, ask, tmp_path):
    landed(lake, tmp_path / "spool", FIRST, 30)
    landed(lake, tmp_path / "spool", FIRST, 0)
    assert ask(PER_DAY) == []
    assert ask("select landed from connector.landings order by landed_at") == [(30,), (0,)]


def test_a_reader_sees_one_snapshot_while_a_landing_commits_and_both_wait_for_nobody(lake, tmp_path):
    landed(lake, tmp_path / "spool", FIRST, 30)
    with lake.read() as connection:
        count = "select count(*) from openpanel.events"
        assert connection.execute(count).fetchone() == (30,)
        receipt = landed(Warehouse(os.environ["WAREHOUSE"], lock_wait=1), tmp_path / "spool", FIRST, 40)
        lake.maintain()
        assert connection.execute(count).fetchone() == (30,)
    assert receipt.lock_wait < 5
    with lake.read() as connection:
        assert connection.execute(count).fetchone() == (40,)


def test_days_of_events_are_stored_apart_in_files_that_only_their_user_can_read(lake, lake_kind, tmp_path):
    for number in range(2):
        landed(lake, tmp_path / "spool", FIRST + timedelta(days=number), 3)
    files = [file for file in tmp_path.rglob("*.parquet") if "/events/" in str(file)]
    assert {file.parent.name for file in files} == {"_day=2026-03-01", "_day=2026-03-02"}
    assert {oct(file.stat().st_mode & 0o777) for file in tmp_path.rglob("*.parquet")} == {"0o600"}
    with lake.read() as connection:
        options = dict(connection.execute("select option_name, value from ducklake_options('warehouse')").fetchall())
    assert (options["parquet_row_group_size"], options["parquet_compression"]) == ("20000", "zstd")


def test_a_full_disk_is_told_as_one_and_the_old_rows_stay(lake, ask, tmp_path):
    before = landed(lake, tmp_path / "spool", FIRST, 30)
    with full(), pytest.raises(TransientError, match="free space on the warehouse's disk"):
        landed(lake, tmp_path / "spool", FIRST, 40)
    assert ask("select count(*), any_value(_load_id) from openpanel.events") == [(30, before.load_id)]
    assert landed(lake, tmp_path / "spool", FIRST, 40).replaced == 30


@pytest.mark.parametrize("lake_kind", ["sqlite"], indirect=True)
def test_a_catalogue_that_cannot_be_written_is_told_with_the_day(lake, tmp_path):
    landed(lake, tmp_path / "spool", FIRST, 3)
    close_lakes()
    file = tmp_path / "catalogue.sqlite"
    file.chmod(0o444)
    tmp_path.chmod(0o555)
    with as_mortal():
        with spooling(tmp_path / "spool", EVENTS, FIRST) as place, pytest.raises(RejectedError) as caught:
            land(lake, EVENTS, spooled(place, FIRST, 3))
        tmp_path.chmod(0o755)
    assert caught.value.where == EVENTS.partition(FIRST)
    assert str(file) in caught.value.what


def test_a_lake_that_is_made_loads_its_extensions_once(lake, tmp_path, monkeypatch):
    """That costs a third of a CPU second each time."""
    loaded, load = [], extensions.load
    monkeypatch.setattr(extensions, "load", lambda *given: (loaded.append(given[1:]), load(*given)))
    assert not lake.exists()
    landed(lake, tmp_path / "spool", FIRST, 3)
    landed(lake, tmp_path / "spool", FIRST, 4)
    assert len(loaded) == 1


def test_limits_of_a_landing_are_put_back(lake, ask, tmp_path):
    landed(lake, tmp_path / "spool", FIRST, 3)
    with lake.write() as connection:
        assert connection.execute("select current_setting('threads')").fetchone() == (1,)
        assert connection.execute("select current_setting('memory_limit')").fetchone() == ("137.3 MiB",)
    after = ask("select current_setting('threads'), current_setting('memory_limit')")
    assert after != [(1, "137.3 MiB")]


def test_a_day_lands_within_the_memory_that_a_file_needs(lake, ask, tmp_path):
    assert landed(lake, tmp_path / "spool", FIRST, 30_000).landed == 30_000
    assert ask(PER_DAY) == [(FIRST, 30_000, 1)]
