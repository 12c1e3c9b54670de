"""The dbt project beside a warehouse file, and what it made of it."""

import json
import os
import tempfile
import warnings
from contextlib import chdir
from decimal import Decimal
from pathlib import Path
from unittest.mock import patch

import duckdb
import pandas as pd

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "sql"
TARGET = tempfile.mkdtemp(prefix="dbt-target-")
MARTS = (
    "daily_active", "sessions", "funnel", "page_performance", "channel_performance", "feature_adoption",
    "flow_adoption", "people", "companies", "retention_cohorts", "vendor_comparison",
)  # fmt: skip
PRODUCT_MARTS = ("events_by_day", "active_users", "user_lifecycle", "retention_by_segment", "revenue_by_day")
BY_DAY = ("daily_active", "sessions", "funnel", "page_performance", "channel_performance")
DAYS = (
    "int_openpanel__session_days", "int_openpanel__user_days", "int_openpanel__company_days",
    "int_openpanel__local_days",
    "int_userpilot__user_days", "int_userpilot__company_days", "int_userpilot__feature_days",
    "int_userpilot__content_days",
)  # fmt: skip


def dbt(*arguments, warehouse, variables=None, project=PROJECT, manifest=None):
    """Run dbt in this process, which has imported it once; its results, one for each model and test.

    With the ``manifest`` that ``parse`` returns, it parses nothing.
    """
    folder = Path(warehouse).parent
    settings = {
        "WAREHOUSE": Path(warehouse).name,
        "DBT_TARGET_PATH": TARGET if project == PROJECT else str(project / "target"),
        "DBT_LOG_PATH": str(folder / "logs"),
    }
    command = [*arguments, "--quiet", "--project-dir", str(project), "--profiles-dir", str(project)]
    if variables:
        command += ["--vars", json.dumps(variables)]
    with patch.dict(os.environ, settings), chdir(folder), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what dbt's own dependencies deprecate
        from dbt.adapters.duckdb.connections import DuckDBConnectionManager
        from dbt.cli.main import dbtRunner

        try:
            done = dbtRunner(manifest).invoke(command)
        finally:
            if DuckDBConnectionManager._ENV is not None:  # it keeps the file open for the life of the process
                DuckDBConnectionManager._ENV.close()
                DuckDBConnectionManager._ENV = None
    if arguments[0] == "parse":
        return done.result
    results = list(getattr(done.result, "results", None) or [])  # a catalog has none
    assert done.success, (
        done.exception,
        [(one.node.name, one.message) for one in results if one.failures or one.message],
    )
    return results


def frame(warehouse, query, **named):
    """What a query finds, as a frame; times in UTC."""
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        connection.execute("set TimeZone = 'UTC'")
        found = connection.execute(query, named or None)
        names = [column[0] for column in found.description]
        rows = found.fetchall()
    # Texts keep None for NULL: by themselves frames would say NaN.
    columns = {
        name: [float(row[place]) if isinstance(row[place], Decimal) else row[place] for row in rows]
        for place, name in enumerate(names)
    }
    return pd.DataFrame(
        {
            name: pd.Series(values, dtype=object if any(isinstance(value, str) for value in values) else None)
            for name, values in columns.items()
        }
    )


def mart(warehouse, name, *, schema="marts"):
    """A model's rows without the columns that tell of the build, in a stable order."""
    rows = frame(warehouse, f"select * from {schema}.{name}")
    return in_order(rows[[name for name in rows if name not in {"built_at", "part_count"}]])


def in_order(rows):
    texts = rows.map(str)
    return rows.loc[texts.sort_values(list(texts.columns)).index].reset_index(drop=True)


def equal(found, expected, columns=None):
    """The same rows, whatever their order and the width of their numbers."""
    columns = columns or list(expected.columns)
    left, right = (_plain(rows[columns]) for rows in (found, expected))
    assert len(left) == len(right), (len(left), len(right))
    pd.testing.assert_frame_equal(left, right, check_dtype=False, rtol=1e-9, atol=0.0051)


def _plain(rows):
    out = pd.DataFrame(index=rows.index)
    for name in rows.columns:
        column = rows[name]
        if isinstance(column.dtype, pd.DatetimeTZDtype):
            column = column.map(lambda value: None if pd.isna(value) else value.isoformat())
        elif str(column.dtype).startswith("datetime64") or name.endswith(("day", "week")):
            column = column.map(lambda value: None if pd.isna(value) else str(value)[:10])
        elif pd.api.types.is_bool_dtype(column):
            column = column.astype(int)
        elif pd.api.types.is_numeric_dtype(column):
            column = column.astype(float)
        else:
            column = column.map(
                lambda value: None if not isinstance(value, list) and not hasattr(value, "tolist") and pd.isna(value)
                else str(list(value)) if not isinstance(value, str | bool | int | float) else value
            )  # fmt: skip
        out[name] = column
    texts = out.map(lambda value: f"{value:.1f}" if isinstance(value, float) else str(value))
    return out.loc[texts.sort_values(list(texts.columns)).index].reset_index(drop=True)


def everything(path):
    """Every model that is no view, without the moments at which its rows were built; rows in one order."""
    parts = (*DAYS, "int_activity_days")
    found = {name: frame(path, f"select * exclude (built_at) from intermediate.{name}") for name in parts}
    # A member whose days are all gone stays known, without a first day.
    found["int_first_activity"] = frame(
        path, "select audience, member_id, first_day from intermediate.int_first_activity where first_day is not null"
    )
    for name in (*MARTS, *PRODUCT_MARTS):
        found[name] = frame(path, f"select columns(c -> c <> 'built_at') from marts.{name}")
    return {name: in_order(rows) for name, rows in found.items()}
