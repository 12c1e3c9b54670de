"""The connector as a library: asks for the export, fetches, proves and lands it; every guarantee on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from benchmarks.contenders import read_task, unavailable
from benchmarks.exported import FIRST


def main() -> None:
    """One job, landed."""
    task = read_task()
    try:
        from connector import Exports, Userpilot, Warehouse
        from connector.userpilot.exports.request import Request
    except ImportError as error:
        unavailable(f"the connector does not import here: {error}")

    last = FIRST + timedelta(days=39)
    warehouse = Warehouse(task.database)
    with Userpilot(url=task.url, api_key="benchmark") as client:
        exports = Exports(client, task.out / "spool")
        for job in exports.wait(Request.checked(FIRST, last, today=datetime.now(UTC).date()), patience=60):
            receipt = exports.land(job, warehouse=warehouse)
    task.done(
        "userpilot.events",
        landed=receipt.landed,
        requests=receipt.requests,
        receipt_seconds=receipt.seconds,
        receipt_lock_seconds=receipt.lock_seconds,
    )


if __name__ == "__main__":
    main()
