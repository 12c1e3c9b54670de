"""The connector inside Dagster: ``dg.materialize`` of the landed asset for one partition.

To be compared with ``dagster_pandas`` only: both pay for Dagster's import and its run.
"""

from datetime import date

from benchmarks.contenders import read_task, unavailable


def main() -> None:
    """One partition, in process."""
    task = read_task()
    try:
        import dagster as dg

        from connector import EVENTS
        from connector.dagster import OpenPanelResource, WarehouseResource, openpanel_assets
    except ImportError as error:
        unavailable(f"the connector's Dagster side does not import here: {error}")

    assets = openpanel_assets(
        start_date=date.fromisoformat(task.day),
        streams=(EVENTS,),
        openpanel=OpenPanelResource(
            api_url=task.url, client_id=task.client_id, client_secret=task.client_secret, project_id=task.project
        ),
        warehouse=WarehouseResource(database=str(task.database), spool_dir=str(task.out / "spool")),
    )
    if not dg.materialize(assets, partition_key=task.day).success:
        raise SystemExit(1)
    task.done("openpanel.events")


if __name__ == "__main__":
    main()
