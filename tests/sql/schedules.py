"""Random schedules of landings: worlds of a few days whose vendor changes while they are landed, day by day.

A world has its own days and its own sessions, so one warehouse holds many of them and one run of dbt builds them all.
"""

import random
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import duckdb

DAYS = 6
APART = 3  # days between two worlds: more than a funnel looks ahead
PATHS = ("", "/", "/pricing", "/docs")
NAMES = ("screen_view", "screen_view", "screen_view", "signup", "search", "session_start", "session_end")
IMPORT = "import-session-reconstruction"
OPENPANEL = "openpanel.events"
USERPILOT = "userpilot.events"


@dataclass
class World:
    """What the vendors have, by day; ``dirty`` days differ from what was landed."""

    chance: random.Random
    first: date
    number: int
    rows: dict[str, dict[str, dict]] = field(default_factory=lambda: {OPENPANEL: {}, USERPILOT: {}})
    dirty: set[tuple[str, date]] = field(default_factory=set)
    made: int = 0

    @property
    def days(self):
        return [self.first + timedelta(days=n) for n in range(DAYS)]

    def change(self):
        """One thing that happens at a vendor."""
        self.chance.choice(
            (self.visit, self.visit, self.late, self.midnight, self.drop, self.move, self.empty, self.pilot)
        )()

    def visit(self, at=None, session=None):
        at = at or self.moment()
        session = session if session is not None else self.session()
        device = f"device-{self.number}-{self.chance.randrange(4)}"
        person = self.chance.choice((device, f"user-{self.number}-{self.chance.randrange(3)}"))
        imported = self.chance.random() < 0.1
        for _ in range(self.chance.randint(1, 4)):
            name = self.chance.choice(NAMES)
            self.add(
                OPENPANEL, at, name=name, session_id=session, device_id=device, profile_id=person,
                path=self.chance.choice(PATHS), origin="https://example.com",
                groups=self.chance.choice(([], [f"company-{self.number}"])),
                referrer_type=self.chance.choice(("", "search")), revenue=self.chance.choice((0, 0, 500)),
                sdk_name=IMPORT if imported and name.startswith("session_") else "web",
            )  # fmt: skip
            at += timedelta(seconds=self.chance.choice((0, 20, 400)))

    def late(self):
        """More of a session that is known, on any day, also long before or after its other days."""
        self.visit(session=self.session(known=True))

    def midnight(self):
        day = self.chance.choice(self.days[1:])
        at = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(seconds=30)
        self.visit(at, session=self.session(known=self.chance.random() < 0.5))

    def drop(self):
        """A few events are gone; of one session, all of a day's."""
        for key in self.some(OPENPANEL, lambda row: True, 3):
            self.remove(OPENPANEL, key)
        session = self.session(known=True)
        for key in self.some(OPENPANEL, lambda row: row["session_id"] == session, 3):
            self.remove(OPENPANEL, key)

    def move(self):
        """A session's events come to lie on the next day or on the one before."""
        session, by = self.session(known=True), timedelta(days=self.chance.choice((-1, 1)))
        for key in self.some(OPENPANEL, lambda row: row["session_id"] == session, 50):
            row = self.remove(OPENPANEL, key)
            if (row["created_at"] + by).date() in self.days:
                self.add(OPENPANEL, row.pop("created_at") + by, **row)

    def empty(self):
        day, table = self.chance.choice(self.days), self.chance.choice((OPENPANEL, USERPILOT))
        for key in self.some(table, lambda row: _at(row).date() == day, 500):
            self.remove(table, key)
        self.dirty.add((table, day))

    def pilot(self):
        for _ in range(3):
            kind = self.chance.choice(("track", "track_feature", "interaction", "identify_user", "identify_company"))
            name = (
                self.chance.choice(("experience:7:seen", "survey:8:completed")) if kind == "interaction" else "report"
            )
            self.add(
                USERPILOT, self.moment(), event_type=kind, event_name=name,
                user_id=f"user-{self.number}-{self.chance.randrange(4)}", company_id=f"company-{self.number}",
                metadata=f'{{"email": "{self.number}-{self.made}@example.com", "name": "n{self.made}"}}',
            )  # fmt: skip

    def moment(self):
        day = self.chance.choice(self.days)
        return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=self.chance.randrange(86_000))

    def session(self, *, known=False):
        there = sorted({row["session_id"] for row in self.rows[OPENPANEL].values()} - {""})
        if known and there:
            return self.chance.choice(there)
        return self.chance.choice(("", *(f"session-{self.number}-{self.made}-{n}" for n in range(4))))

    def some(self, table, wanted, most):
        keys = sorted(key for key, row in self.rows[table].items() if wanted(row))
        return self.chance.sample(keys, min(len(keys), most))

    def add(self, table, at, **row):
        self.made += 1
        key = row.setdefault("id", f"event-{self.number}-{self.made:06}") if table == OPENPANEL else str(self.made)
        self.rows[table][key] = {"created_at" if table == OPENPANEL else "inserted_at": at, **row}
        self.dirty.add((table, at.date()))

    def remove(self, table, key):
        row = self.rows[table].pop(key)
        self.dirty.add((table, _at(row).date()))
        return row

    def land(self, connection, days):
        """Replace days of tables by what the vendor has now, with a receipt each."""
        for table, day in sorted(days):
            rows = [row for row in self.rows[table].values() if _at(row).date() == day]
            connection.execute(f"delete from {table} where _day = ?", [day])
            for row in rows:
                whole = {"project_id": "demo", **row} if table == OPENPANEL else {"app_token": "a", **row}
                names = ", ".join(f'"{name}"' for name in whole)
                connection.execute(
                    f"insert into {table} ({names}, _day) values ({', '.join('?' * len(whole))}, ?)",
                    [*whole.values(), day],
                )
            connection.execute(
                "insert into connector.landings (table_name, day, load_id, landed, status, landed_at) "
                "values (?, ?, 'random', ?, 'landed', now())",
                [table, day, len(rows)],
            )
        self.dirty -= set(days)

    def land_some(self, connection):
        """Some of the days that changed, and now and then a day that did not."""
        days = {one for one in sorted(self.dirty, key=str) if self.chance.random() < 0.6}
        if self.chance.random() < 0.3:
            days.add((self.chance.choice((OPENPANEL, USERPILOT)), self.chance.choice(self.days)))
        self.land(connection, days)
        return days


def _at(row):
    return row.get("created_at") or row["inserted_at"]


def worlds(seed, count):
    return [
        World(random.Random(f"{seed}-{n}"), date(2026, 3, 2) + timedelta(days=n * (DAYS + APART)), n)
        for n in range(count)
    ]


def empty_warehouse(sample, path):
    """The tables of a warehouse without their rows."""
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"attach '{sample}' as sample (read_only)")
        for table in (OPENPANEL, USERPILOT, "connector.landings"):
            connection.execute(f"create schema if not exists {table.split('.')[0]}")
            connection.execute(f"create table {table} as from sample.{table} limit 0")
