"""What is landed and what is not, from the receipts and the ledger of exports. No vendor is asked, nothing repaired."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from connector.catalogue.tables import every_stream
from connector.nights import listed
from connector.settings import Environment, Settings, environment
from connector.userpilot.exports.job import Job
from connector.userpilot.exports.ledger import ledgers
from connector.userpilot.exports.machine import JOB_LIVES
from connector.warehouse.connection import Warehouse
from connector.warehouse.coverage import TWO_NIGHTS, FailedDay, failing_days, landed_tables, moved_days


@dataclass(frozen=True, kw_only=True)
class TableStatus:
    """One table of the warehouse.

    Attributes:
        first, last: landed days; None if none landed.
        landed_at: of the newest landing.
        missing: days that ended two nights ago or earlier and never landed, though a day before them did.
        moved: landed days whose vendor count has changed since.
    """

    table: str
    first: date | None
    last: date | None
    days: int
    landed_at: datetime | None
    missing: Sequence[date] = ()
    moved: Sequence[date] = ()

    @property
    def sentence(self) -> str:
        if not self.days:
            return f"{self.table}: nothing landed"
        at = f", newest landing {self.landed_at:%Y-%m-%d %H:%M} UTC" if self.landed_at else ""
        days = f"{self.days} days, {self.first} to {self.last}" if self.days > 1 else f"1 day, {self.first}"
        said = f"{self.table}: {days}{at}"
        said += f"; missing {listed(self.missing)}" if self.missing else ""
        return said + (f"; moved {listed(self.moved)}" if self.moved else "")


@dataclass(frozen=True, kw_only=True)
class Status:
    """What is there, what is under way, and what to do.

    Attributes:
        tables: of the warehouse, by name.
        exports: that were asked for and have not ended, as the ledger remembers them.
        failures: days whose newest landing failed.
    """

    tables: Sequence[TableStatus]
    exports: Sequence[Job]
    failures: Sequence[FailedDay]

    @property
    def is_well(self) -> bool:
        """Whether no day is missing, moved or failed."""
        return not self.failures and not any(table.missing or table.moved for table in self.tables)

    @property
    def next_steps(self) -> list[str]:
        """Commands, and what the failures say."""
        if not self.tables and not self.exports:
            return ["nothing has landed yet: connector doctor, then connector nightly"]
        steps = []
        if any(table.missing or table.moved for table in self.tables):
            steps.append("land what is missing or moved: connector nightly (or switch on the schedules of Dagster)")
        if self.exports:
            steps.append("how far the exports are: connector export status; land them: connector nightly")
        return steps


def status(env: Environment | None = None, *, now: datetime | None = None) -> Status:
    """What is landed and missing, exports under way, failures, and next steps.

    Raises:
        SettingsError: a setting is wrong.
        BusyError: another process kept the warehouse locked.
    """
    env, now = env or environment(), now or datetime.now(UTC)
    settings = Settings.load(env)
    warehouse, zone = Warehouse(settings.warehouse), env.timezone("OPENPANEL_TIMEZONE", "UTC")
    kinds = {(stream.vendor, stream.name): stream.days for stream in every_stream()}
    landed = landed_tables(warehouse)
    moved: dict[str, list[date]] = {}
    for table, day, _, _ in moved_days(warehouse, list(landed)):
        moved.setdefault(table, []).append(day)
    tables = []
    for table, found in landed.items():
        schema, _, name = table.partition(".")
        kind = kinds.get((schema.partition("_")[0], name), "none")
        missing = found.missing(zone if kind == "local" else "UTC", now - TWO_NIGHTS) if kind != "none" else []
        tables.append(
            TableStatus(
                table=table,
                first=min(found.days, default=None),
                last=max(found.days, default=None),
                days=len(found.days),
                landed_at=max(found.days.values(), default=None),
                missing=[day for day in missing if day >= settings.start_date],
                moved=moved.get(table, ()),
            )
        )
    exports = [job for ledger in ledgers(settings.spool_dir) for job in ledger.jobs() if _is_under_way(job, now)]
    failures = failing_days(warehouse)
    return Status(tables=tables, exports=exports, failures=failures)


def _is_under_way(job: Job, now: datetime) -> bool:
    """Asked for, not ended, and young enough for the vendor to know it."""
    since = job.started or job.asked_at or job.intent_at
    return not job.state.is_terminal and since is not None and now - since < JOB_LIVES
