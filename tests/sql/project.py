"""The dbt project as a user runs it: a process of its own, beside a warehouse file."""

import json
import os
import subprocess
import sys
import tempfile
from decimal import Decimal
from pathlib import Path

import duckdb
import pandas as pd

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "sql"
TARGET = tempfile.mkdtemp(prefix="dbt-target-")
MARTS = (
    "daily_active", "sessions", "funnel", "page_performance", "channel_performance", "feature_adoption",
    "flow_adoption", "people", "companies", "retention_cohorts", "vendor_comparison",
)  # fmt: skip
BY_DAY = ("daily_active", "sessions", "funnel", "page_performance", "channel_performance")
DAYS = (
    "int_openpanel__session_days", "int_openpanel__user_days", "int_openpanel__company_days",
    "int_userpilot__user_days", "int_userpilot__company_days", "int_userpilot__feature_days",
    "int_userpilot__content_days",
)  # fmt: skip


def dbt(*arguments, warehouse, variables=None, fails=False):
    """Run dbt; its output. Parses once for each set of variables and warehouse."""
    command = [str(Path(sys.executable).with_name("dbt")), "--no-use-colors", *arguments]
    command += ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)]
    if variables:
        command += ["--vars", json.dumps(variables)]
    # One name for every warehouse, seen from its folder: dbt parses the project again whenever the profile changes.
    place = Path(warehouse)
    environment = {
        **os.environ,
        "WAREHOUSE": place.name,
        "DBT_TARGET_PATH": TARGET,
        "DBT_LOG_PATH": str(place.parent / "logs"),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    }
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=place.parent)
    assert (done.returncode != 0) == fails, done.stdout[-6000:]
    return done.stdout


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
