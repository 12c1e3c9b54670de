"""What a code location needs once, however many components land something in it, in YAML."""

import dagster as dg
from pydantic import Field

from connector.dagster.alerts import connector_alerts
from connector.dagster.resources import WarehouseResource
from connector.dagster.upkeep import maintain_schedule, prune_schedule


class UpkeepComponent(dg.Component, dg.Model, dg.Resolvable):
    """Tells of failed runs and of broken days, and removes what is not needed any more: once for every warehouse."""

    warehouse: str = Field(default="", description="A DuckDB file or a URL; WAREHOUSE if empty.")
    spool_dir: str = Field(default="", description="Where files wait to be landed; SPOOL_DIR or .spool if empty.")
    name: str = Field(
        default="connector", pattern=r"^[a-z][a-z0-9_]*$", description="Begins the names of its sensors and its job."
    )
    broken_hours: float = Field(
        default=6.0, ge=0, description="Hours a day may stay failed, or have moved, before it is told."
    )
    files_days: float = Field(
        default=4.0, ge=0, description="Age after which export files that were not landed are removed."
    )
    receipts_days: float = Field(
        default=400.0, ge=0, description="Age after which receipts that no row refers to are removed."
    )
    keep_hours: float = Field(
        default=24.0,
        ge=0,
        description="Hours that replaced rows of a lake stay readable; longer than any reading takes.",
    )
    maintain_cron: str = Field(default="40 */6 * * *", description="When a lake is maintained, in UTC.")
    lock_wait: float = Field(default=300.0, ge=0, description="Seconds to wait while others hold the warehouse.")

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Two sensors for all of the connector's assets in the code location, and schedules for its upkeep."""
        target = WarehouseResource(database=self.warehouse, spool_dir=self.spool_dir, lock_wait=self.lock_wait)
        return dg.Definitions(
            schedules=[
                prune_schedule(
                    name=f"{self.name}_prune",
                    warehouse=target,
                    files_days=self.files_days,
                    receipts_days=self.receipts_days,
                ),
                maintain_schedule(
                    name=f"{self.name}_maintain",
                    cron=self.maintain_cron,
                    warehouse=target,
                    keep_hours=self.keep_hours,
                ),
            ],
            sensors=connector_alerts(name=f"{self.name}_alerts", warehouse=target, broken_hours=self.broken_hours),
        )
