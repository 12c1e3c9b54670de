"""The dbt models that come with the package, as assets below the landed tables: no dbt project of your own is needed.

Importing this module imports no dbt: only :func:`models_definitions` does.
"""

import re
import shutil
import sys
from collections.abc import Collection
from datetime import date
from importlib.util import find_spec
from pathlib import Path

import dagster as dg

from connector.dagster.choice import landed_streams
from connector.dagster.resources import WarehouseResource
from connector.dagster.translator import ConnectorTranslator
from connector.errors import SettingsError
from connector.settings import Environment, Settings, environment
from connector.stream import Stream

_PACKAGE = Path(__file__).parent.parent
# In a wheel, the project is a folder of the package; in a checkout, it is beside it.
PROJECT = _PACKAGE / "sql" if (_PACKAGE / "sql").is_dir() else _PACKAGE.parent / "sql"


def models_definitions(
    *,
    start_date: date | str | None = None,
    prefix: str = "",
    instance: str = "",
    timezone: str = "",
    translator: ConnectorTranslator | None = None,
    warehouse: WarehouseResource | None = None,
    streams: Collection[Stream] | None = None,
) -> dg.Definitions:
    """The package's models, the sensor that builds what was landed, and a job for people; needs the extra ``dbt``.

    Args:
        start_date: the first partition, as for the landed tables; START_DATE if left out.
        prefix: begins the names of schemas, asset keys, groups and the sensor: ``product`` gives
            ``product_marts/sessions`` in schema ``product_marts``. Without it they are called ``marts/sessions``, and a
            code location that has such an asset of its own does not load.
        instance: see :func:`build_definitions`.
        timezone: see :func:`connector.dagster.dbt.model_assets`.
        translator: names the landed tables' assets, as for :func:`build_definitions`.
        warehouse: where the models are; the WAREHOUSE variable if left out.
        streams: what is landed; if left out, what is landed by default, with what OPENPANEL_REPORTS asks for. A view of
            another table is no asset.

    Raises:
        SettingsError: dbt or the prepared manifest is missing, or the prefix cannot be part of a name.
    """
    if not re.fullmatch(r"([a-z][a-z0-9_]*)?", prefix):
        raise SettingsError(
            "prefix", f"is {prefix!r}", next_step="write small letters, digits and underscores, such as product."
        )
    manifest = _manifest()
    from connector.dagster.dbt import model_assets, model_job, model_sensor

    first = Environment({"start_date": start_date}).day("start_date", "") if isinstance(start_date, str) else start_date
    assets = model_assets(
        project_dir=PROJECT,
        manifest=manifest,
        start_date=first or Settings.load(environment()).start_date,
        warehouse=warehouse,
        instance=instance,
        prefix=prefix,
        timezone=timezone,
        landed_by=translator,
        streams=landed_streams() if streams is None else streams,
        dbt_executable=_dbt(),
        keep_artifacts=False,
    )
    sensor, job = ("_".join(part for part in (prefix, name, instance) if part) for name in ("models_sensor", "models"))
    return dg.Definitions(
        assets=assets, sensors=[model_sensor(assets, name=sensor)], jobs=[model_job(assets, name=job)]
    )


def _manifest() -> Path:
    if not find_spec("dagster_dbt"):
        raise SettingsError(
            "models", "need dbt, which is not installed", next_step="install openpanel-userpilot-connector[dbt]."
        )
    for manifest in (PROJECT / "manifest.json", PROJECT / "target" / "manifest.json"):
        if manifest.is_file():
            return manifest
    raise SettingsError(
        "models",
        "have no prepared manifest in this installation",
        next_step="install a released wheel, or one that `make wheel` has made; in a checkout run make install.",
    )


def _dbt() -> str:
    """The dbt beside this Python, else that of PATH."""
    beside = Path(sys.executable).with_name("dbt")
    return str(beside) if beside.exists() else shutil.which("dbt") or "dbt"
