"""One run as people start it, for tests/test_secrets.py: through Dagster with its log files, or the command line."""

import sys
from datetime import date

import dagster as dg


def main(kind: str, *rest: str) -> int:
    """Materialize a day with the instance of DAGSTER_HOME, or run a command."""
    if kind == "cli":
        from connector.cli.main import main as run

        return run(list(rest))
    from connector.dagster import build_definitions

    start = date(2026, 3, 1)
    definitions = build_definitions(start_date=start)
    assets = [asset for asset in definitions.assets or () if isinstance(asset, dg.AssetsDefinition)]
    chosen = [asset for asset in assets if asset.key.path in ([kind, "events"], [kind, "flows"], [kind, "charts"])]
    with dg.DagsterInstance.get() as instance:
        for day in rest:
            done = dg.materialize(
                [*chosen, *(asset for asset in assets if asset.key.path == [kind, "export_job"])],
                selection=[asset for asset in chosen if asset.partitions_def],
                instance=instance,
                partition_key=day,
                raise_on_error=False,
            )
    return 0 if done.success else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
