"""What the processes of the acceptance tests do: land days, hold a commit back, read.

Each says on standard output what it did, one JSON value a line.
"""

import json
import os
import sys
import time
from datetime import date, timedelta
from pathlib import Path

from connector import EVENTS, Page, Warehouse, land
from connector.landing.transaction import Transaction
from connector.spool import spool_pages, spooling

FIRST = date(2026, 3, 1)


def spooled(folder: Path, day: date, rows: int):
    """A spool of made events of one day."""
    made = [
        {"id": f"{day}-{number}", "name": "x", "createdAt": f"{day}T{number % 24:02}:00:00Z", "profileId": f"p{number}"}
        for number in range(rows)
    ]
    return spooled_rows(folder, day, made)


def spooled_rows(folder: Path, day: date, rows: list[dict[str, object]]):
    """A spool of one day with these rows, in pages as OpenPanel's."""
    parts = [rows[at : at + 1000] for at in range(0, len(rows), 1000)]
    pages = [
        Page(number=number, of=len(parts), rows=len(part), announced=len(rows), body=json.dumps(part).encode())
        for number, part in enumerate(parts, start=1)
    ]
    return spool_pages(folder, EVENTS, day, pages)


def landed(warehouse: Warehouse, folder: Path, day: date, rows: int):
    """Land one made day, whatever it had before."""
    with spooling(folder, EVENTS, day) as place:
        return land(warehouse, EVENTS, spooled(place, day, rows), allow_drop=True)


def replayed(warehouse: Warehouse, folder: Path, day: date):
    """Land one day from the folder's own ``source``, where each day is a file of rows."""
    rows = json.loads((folder / "source" / f"{day}.json").read_text())
    with spooling(folder / "spool", EVENTS, day) as place:
        return land(warehouse, EVENTS, spooled_rows(place, day, rows))


def say(value: object) -> None:
    print(json.dumps(value), flush=True)


def hold_commits(folder: Path) -> None:
    """Each transaction says that it is about to commit, and waits for the word, at most three seconds."""
    commit = Transaction.__exit__

    def held(self, *error):
        say("before commit")
        until = time.monotonic() + 3.0
        while not (folder / "go").exists() and time.monotonic() < until:
            time.sleep(0.01)
        return commit(self, *error)

    Transaction.__exit__ = held


def main(verb: str, folder: Path, *more: str) -> None:
    warehouse = Warehouse(os.environ["WAREHOUSE"], lock_wait=120)
    if verb == "race":
        hold_commits(folder)
        (rows,) = map(int, more)
        say(landed(warehouse, folder / "spool", FIRST, rows).landed)
    elif verb == "storm":
        first, days, rounds = map(int, more)
        for turn in range(rounds):
            for number in range(days):
                day = FIRST + timedelta(days=(first * 7 + number) % days)
                landed(warehouse, folder / "spool", day, 20 + (first + turn + number) % 5)
        say("done")
    elif verb == "replay":
        first, rounds = map(int, more)
        days = sorted(date.fromisoformat(file.stem) for file in (folder / "source").iterdir())
        for _ in range(rounds):
            for number in range(len(days)):
                replayed(warehouse, folder, days[(first * 7 + number) % len(days)])
        say("done")
    elif verb == "kill":
        hold_commits(folder)
        landed(warehouse, folder / "spool", FIRST, 50)
    elif verb == "read":
        (seconds,) = map(float, more)
        until, reads, torn = time.monotonic() + seconds, 0, []
        counts = json.loads((folder / "counts.json").read_text()) if (folder / "counts.json").exists() else {}
        while time.monotonic() < until and not (folder / "stop").exists():
            with warehouse.read() as connection:
                rows = connection.execute(
                    "select _day, count(*), count(distinct _load_id) from openpanel.events group by 1"
                ).fetchall()
                again = connection.execute("select count(*) from openpanel.events").fetchone()
            reads += 1
            torn += [str(row) for row in rows if row[2] != 1 or row[1] != counts.get(str(row[0]), row[1])]
            torn += [str(again)] * (again[0] != sum(row[1] for row in rows))
        say([reads, torn])
    else:
        raise SystemExit(f"no such verb: {verb}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
