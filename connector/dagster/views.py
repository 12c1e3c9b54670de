"""Views among the models: they stay right as long as their definition does, so a landing gives them nothing to do.

Those of events by day are built with each day, as it was; this module is about all others.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import dagster as dg

from connector.catalogue.dbt_sources import PACKAGE
from connector.warehouse.connection import Warehouse

# Models of one day carry this tag; all others are built whole.
BY_DAY = "by_day"
# Under which dagster-dbt notes the model of an asset.
_NODE = "dagster_dbt/unique_id"
# What a view says whose table was never landed (sql/macros/landed.sql).
_NOTHING = "nothing_landed_yet"


def is_standing_view(node: Mapping[str, Any]) -> bool:
    """A view of ours that no run by day builds.

    Args:
        node: of the manifest.
    """
    return bool(
        node.get("resource_type") == "model"
        and node["package_name"] == PACKAGE
        and node["config"]["materialized"] == "view"
        and BY_DAY not in node["tags"]
    )


def view_is_out_of_date() -> dg.AutomationCondition[Any]:
    """A view was never built, its table has come into being, or its text is another one than when it was built.

    That a view is gone from the warehouse Dagster cannot know: :func:`lost_views`.
    """
    came = dg.AutomationCondition.any_deps_match(~dg.AutomationCondition.missing()).newly_true()
    changed = came | dg.AutomationCondition.code_version_changed()
    built = dg.AutomationCondition.newly_updated()
    return (dg.AutomationCondition.missing() | changed.since(built)).with_label("the view is out of date")


def fingerprint_of(manifest: Mapping[str, Any], name: str) -> str:
    """Of a model's text and of every macro it is made with.

    Args:
        name: the unique id of the model.
    """
    node, found = manifest["nodes"][name], dict[str, str]()
    waiting = list(node["depends_on"]["macros"])
    while waiting:
        macro = manifest["macros"].get(waiting.pop())
        if macro and macro["unique_id"] not in found:
            found[macro["unique_id"]] = macro["macro_sql"]
            waiting += macro["depends_on"]["macros"]
    text = json.dumps([node["raw_code"], sorted(found.items())])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def lost_views(context: dg.AssetExecutionContext, manifest: Mapping[str, Any], warehouse: Warehouse) -> list[str]:
    """Selectors of views that were built once and that the warehouse does not have: another one took its place.

    Only a run that builds models asks, and only for views beside those that it builds anyway.
    """
    nodes = (
        (key, manifest["nodes"].get(metadata.get(_NODE), {}))
        for key, metadata in context.assets_def.metadata_by_key.items()
        if key not in context.selected_asset_keys
    )
    standing = {key: node for key, node in nodes if is_standing_view(node)}
    if not standing or not warehouse.exists():
        return []
    with warehouse.read() as connection:
        texts = {
            (schema, name): text
            for schema, name, text in connection.execute(
                "select schema_name, view_name, sql from duckdb_views() where database_name = current_database()"
            ).fetchall()
        }
        tables = set(
            connection.execute(
                "select schema_name, table_name from duckdb_tables() where database_name = current_database()"
            ).fetchall()
        )

    def is_lost(node: Mapping[str, Any]) -> bool:
        text = texts.get((node["schema"], node["alias"]))
        above = (manifest["sources"].get(name, {}) for name in node["depends_on"]["nodes"])
        is_landed = any((one.get("schema"), one.get("identifier")) in tables for one in above)
        return text is None or (is_landed and _NOTHING in text)

    return sorted(
        f"fqn:{'.'.join(node['fqn'])}"
        for key, node in standing.items()
        if is_lost(node) and context.instance.get_latest_materialization_event(key)
    )
