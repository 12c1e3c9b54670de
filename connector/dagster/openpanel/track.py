"""An asset that sends warehouse rows back to OpenPanel and shows what became of them.

What is sent, and how often, is decided in ``openpanel/track/``; here is only when, and what the UI shows.
"""

from collections.abc import Iterable, Sequence

import dagster as dg

from connector.dagster.failures import as_dagster_failure
from connector.dagster.resources import OpenPanelResource, WarehouseResource
from connector.openpanel.track.journal import Outcome
from connector.openpanel.track.plan import Message, Outbox
from connector.openpanel.track.send import Delivery, deliver, describe
from connector.redaction import excerpt

Key = str | Sequence[str] | dg.AssetKey
DRY_RUN_TAG = "connector/dry_run"
SHOWN = 20


def track_asset(
    outbox: Outbox,
    *,
    key: Key | None = None,
    deps: Iterable[Key] = (),
    openpanel: OpenPanelResource | None = None,
    warehouse: WarehouseResource | None = None,
    pool: str = "openpanel_track",
    verify: bool = True,
) -> dg.AssetsDefinition:
    """One outbox as an asset; each materialization sends what changed since the last.

    Args:
        outbox: kind and query.
        key: ``openpanel/track_<name>`` if left out.
        deps: tables that the query reads.
        openpanel, warehouse: as for :func:`connector.dagster.openpanel_assets`.
        pool: of all outboxes; give it a limit of 1 to send one at a time.
        verify: look up every changed profile afterwards, if the client may read.

    A run tagged ``connector/dry_run: true`` only logs what would be sent, and what not and why. There is no retry
    policy on purpose: an upsert is sent again by the next run, and a counter must not be.
    """
    source, target = openpanel or OpenPanelResource(), warehouse or WarehouseResource()

    @dg.asset(
        key=key or ["openpanel", f"track_{outbox.name}"],
        deps=list(deps),
        group_name="openpanel",
        kinds={"openpanel"},
        pool=pool,
        description=f"Sends rows to OpenPanel as `{outbox.kind}`, each once. Query:\n\n```sql\n{outbox.query}\n```",
    )
    def _asset(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        def show(message: Message) -> None:
            context.log.info(f"would send {excerpt(describe(message))}")

        told: list[Outcome] = []

        def tell(outcome: Outcome) -> None:
            if outcome.status != "sent" and len(told) < SHOWN:
                told.append(outcome)
                context.log.warning(f"{outbox.name}[{excerpt(outcome.key, 80)}] {outcome.status}: {outcome.said}")

        with (
            as_dagster_failure(),
            source.client() as client,
            client.track(verify=verify, tell=context.log.info) as track,
        ):
            done = deliver(
                outbox,
                track,
                warehouse=target.warehouse(),
                folder=target.spool_path / "outbox",
                dry_run=show if _is_dry_run(context) else None,
                tell=tell,
            )
        return dg.MaterializeResult(metadata=_counts(done))

    return _asset


def _is_dry_run(context: dg.AssetExecutionContext) -> bool:
    return context.run.tags.get(DRY_RUN_TAG, "").lower() in {"1", "true", "yes"}


def _counts(done: Delivery) -> dict[str, int]:
    return {
        "rows sent": done.sent,
        "rows unchanged": done.unchanged,
        "rows rejected": done.rejected,
        "rows failed": done.failed,
        "rows unknown": done.unknown,
        "rows seen stored": done.verified,
    }
