"""The check that looks at the properties of landed days, and tells what is new, has vanished or changed its type."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from connector.catalogue.properties import EVENT_PROPERTIES, EventProperties
from connector.dagster.failures import as_dagster_failure
from connector.dagster.resources import WarehouseResource
from connector.dagster.runs import RETRIES, table_of

if TYPE_CHECKING:
    from connector.properties.catalogue import Property

AS_BEFORE = "properties_are_as_before"
# A night lands several days in several runs; all of them are one night's news, also if the check is executed again.
NEWS = timedelta(hours=20)
SHOWN = 200


def property_checks(
    assets: Sequence[dg.AssetsDefinition], *, instance: str = "", warehouse: WarehouseResource | None = None
) -> list[dg.AssetChecksDefinition]:
    """A check for each of these assets that lands events with properties; it runs after their landings, or alone."""
    by_table = {source.stream.table: source for source in (one.of(instance) for one in EVENT_PROPERTIES)}
    target = warehouse or WarehouseResource()
    return [_check(by_table[table_of(asset)], asset, target) for asset in assets if table_of(asset) in by_table]


def _check(source: EventProperties, asset: dg.AssetsDefinition, target: WarehouseResource) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=asset.key,
        name=AS_BEFORE,
        description="No property of an event is new, has vanished or changed its type, against the four weeks before.",
        retry_policy=RETRIES,
    )
    def _as_before() -> dg.AssetCheckResult:
        from connector.properties.look import look, looked_at_since

        warehouse = target.warehouse()
        with as_dagster_failure():
            look(warehouse, source)
            days = looked_at_since(warehouse, source.stream.table, datetime.now(UTC) - NEWS)
            return _result(source, target, days)

    return _as_before


def _result(source: EventProperties, target: WarehouseResource, days: Sequence[date]) -> dg.AssetCheckResult:
    from connector.properties.catalogue import every_property
    from connector.properties.changes import changes

    found = changes(target.warehouse(), source.stream.table, days)
    known = every_property(target.warehouse(), source.stream.table)
    rows = [
        dg.TableRecord({"day": str(one.day), "event": one.event, "property": one.property, "what": one.what,
                        "how": one.sentence})
        for one in found[:SHOWN]
    ]  # fmt: skip
    kinds = {what: sum(one.what == what for one in found) for what in ("new", "vanished", "changed")}
    counts = ", ".join(f"{count} {what}" for what, count in kinds.items() if count)
    return dg.AssetCheckResult(
        passed=not found,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{counts}: see the table, and regenerate typed models if they should follow."
        if found
        else f"{len(known)} properties on {len(days)} {'day' if len(days) == 1 else 'days'}, as before.",
        metadata={
            **kinds,
            "days looked at": len(days),
            "properties known": len(known),
            **({"changes": dg.MetadataValue.table(rows)} if rows else {}),
            "properties": dg.MetadataValue.table([_record(one) for one in known[:SHOWN]], schema=_SCHEMA),
        },
    )


_SCHEMA = dg.TableSchema(
    columns=[dg.TableColumn(name) for name in ("event", "property", "filled", "fits", "days", "examples")]
)


def _record(one: "Property") -> dg.TableRecord:
    return dg.TableRecord(
        {
            "event": one.event,
            "property": one.property,
            "filled": f"{one.filled_percent:.2f} %",
            "fits": one.fits,
            "days": f"{one.first_day} to {one.last_day}",
            "examples": ", ".join(one.examples),
        }
    )
