"""Lists of profiles and groups in Dagster: when they are landed, and whether they agree with the events."""

from collections.abc import Iterator, Sequence

import dagster as dg

from connector.catalogue.openpanel import EVENTS
from connector.catalogue.openpanel_lists import LISTS
from connector.dagster.resources import WarehouseResource
from connector.dagster.runs import name_of, snapshot_schedule
from connector.stream import Stream

LISTED = "events_are_listed"
_SNAPSHOTS = frozenset(stream.name for stream in LISTS if stream.history)


def snapshots_of(assets: Sequence[dg.AssetsDefinition]) -> list[dg.AssetsDefinition]:
    """The assets among these that are landed as the state of now, with a history."""
    return [asset for asset in assets if name_of(asset) in _SNAPSHOTS]


def openpanel_lists_schedule(
    assets: Sequence[dg.AssetsDefinition],
    *,
    name: str = "openpanel_lists",
    cron: str = "50 3 * * *",
    warehouse: WarehouseResource | None = None,
) -> dg.ScheduleDefinition:
    """Land the profiles and groups as they are now; what vanished since stays in the tables, marked."""
    return snapshot_schedule(
        snapshots_of(assets),
        name=name,
        cron=cron,
        description="Lands the profiles and groups that the project has now.",
        warehouse=warehouse or WarehouseResource(),
    )


def listed_specs(stream: Stream, key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """The check of a list of all people or groups that events name; none for other streams."""
    if stream.name not in _SNAPSHOTS:
        return []
    about = f"Every known id that landed events name is in the list of {stream.name}; numbers of both sides."
    return [dg.AssetCheckSpec(LISTED, asset=key, description=about)]


def listed_results(stream: Stream, key: dg.AssetKey, target: WarehouseResource) -> Iterator[dg.AssetCheckResult]:
    """The result of :func:`listed_specs`. It passes where no events are landed, because there is nothing to compare."""
    from connector.openpanel.listed import compare_with_events

    if stream.name not in _SNAPSHOTS:
        return
    found = compare_with_events(target.warehouse(), stream, EVENTS.of(stream.instance))
    numbers = {
        "ids in events": found.seen,
        "not in the list": found.unlisted,
        "devices not in the list": found.anonymous,
        "in no event": found.unseen,
    } if found else {}  # fmt: skip
    missing = found.unlisted if found else 0
    yield dg.AssetCheckResult(
        check_name=LISTED,
        asset_key=key,
        passed=not missing,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{missing} {stream.name} that events name are not in the list: they were deleted at the vendor, "
        "the list was cut, or rules for personal data differ between the two tables."
        if missing
        else None,
        metadata=numbers,
    )
