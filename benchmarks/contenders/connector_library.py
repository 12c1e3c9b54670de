"""The connector as a library: no Dagster, the public names only, every guarantee on.

The whole coupling of the benchmarks to the product is this file and ``connector_dagster.py``.
"""

from __future__ import annotations

from datetime import date

from benchmarks.contenders import read_task, unavailable


def main() -> None:
    """One day, landed."""
    task = read_task()
    try:
        from connector import EVENTS, OpenPanel, Warehouse, sync_day
    except ImportError as error:
        unavailable(f"the connector does not import here: {error}")

    with OpenPanel(
        url=task.url, client_id=task.client_id, client_secret=task.client_secret, project_id=task.project
    ) as client:
        receipt = sync_day(
            client,
            EVENTS,
            date.fromisoformat(task.day),
            warehouse=Warehouse(task.database),
            spool_dir=task.out / "spool",
        )
    task.done(
        "openpanel.events",
        landed=receipt.landed,
        requests=receipt.requests,
        receipt_seconds=receipt.seconds,
        receipt_lock_seconds=receipt.lock_seconds,
    )


if __name__ == "__main__":
    main()
