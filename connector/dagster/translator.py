"""Stream -> what Dagster shows of it. The one place to override keys, groups, owners and tags.

Subclass and pass an instance to the builders; nothing else in this package decides how an asset looks.
"""

import warnings
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg

from connector.stream import BOOKKEEPING, SEEN, Stream

# As DuckDB, and with it dbt, spells the types of models.
_SPELT = {"TIMESTAMPTZ": "TIMESTAMP WITH TIME ZONE"}


class ConnectorTranslator:
    """How a stream appears in Dagster. Key, table and dbt source share one name unless you override :meth:`key`."""

    def key(self, stream: Stream) -> dg.AssetKey:
        return dg.AssetKey([stream.schema, stream.name])

    def group(self, stream: Stream) -> str:
        """The schema; small lists have a group of their own, so that they do not fill the catalogue."""
        return f"{stream.schema}_lists" if stream.history else stream.schema

    def owners(self, stream: Stream) -> Sequence[str]:
        return []

    def tags(self, stream: Stream) -> Mapping[str, str]:
        return {}

    def description(self, stream: Stream) -> str:
        key, day = ", ".join(stream.primary_key), "organization's day" if stream.days == "local" else "UTC day"
        lines = [
            f"{stream.grain[0].upper()}{stream.grain[1:]}.",
            f"Partition: {day} of `{stream.replication_key}`. Key: `{key}`. Table: `{stream.table}`.",
            f"Rows may arrive up to {stream.lookback_days} days late; the nightly schedule lands those days again.",
        ]
        if stream.history:
            lines[1:] = [f"What there is now, and what there was. Key: `{key}`. Table: `{stream.table}`."]
        if stream.docs_url:
            lines.append(f"[The vendor's page]({stream.docs_url})")
        return "\n\n".join(lines)

    def metadata(self, stream: Stream) -> Mapping[str, Any]:
        seen = SEEN if stream.history else ()
        told = [(column.name, str(column.type), column.description) for column in (*stream.columns, *seen)]
        told += [(name, kind, text) for name, (kind, text) in BOOKKEEPING.items()]
        columns = [dg.TableColumn(name, _SPELT.get(kind, kind), description=text) for name, kind, text in told]
        return {
            "dagster/table_name": stream.table,
            "dagster/storage_kind": "duckdb",
            "dagster/column_schema": dg.TableSchema(columns=columns),
            "dagster/code_references": _entry(stream.vendor, stream.name),
            "vendor documentation": dg.MetadataValue.url(stream.docs_url) if stream.docs_url else "none",
        }

    def freshness(self, stream: Stream) -> dg.FreshnessPolicy | None:
        """Landed by nine every morning, UTC; looks at the latest materialization of any partition.

        What was landed may be an old day, so the check ``newest_day_is_recent`` looks at the rows as well.
        """
        if stream.days == "none" and not stream.history:
            return None
        return dg.FreshnessPolicy.cron(deadline_cron="0 9 * * *", lower_bound_delta=timedelta(hours=9), timezone="UTC")

    def spec(self, stream: Stream) -> dg.AssetSpec:
        return dg.AssetSpec(
            key=self.key(stream),
            freshness_policy=self.freshness(stream),
            description=self.description(stream),
            group_name=self.group(stream),
            owners=list(self.owners(stream)),
            tags=dict(self.tags(stream)),
            kinds={stream.vendor, "duckdb"},
            metadata=dict(self.metadata(stream)),
        )


@cache
def _entry(vendor: str, name: str) -> dg.CodeReferencesMetadataValue:
    """Where the catalogue says what this stream is and why."""
    files = sorted((Path(__file__).parent.parent / "catalogue").glob(f"{vendor}*.py"))
    places = [
        (file, number, text)
        for file in files
        for number, text in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1)
        if f'"{name}"' in text
    ]
    # An entry says name=...; the lists of an export's lookups say it without the word.
    file, line, _ = next((place for place in places if f'name="{name}"' in place[2]), [*places, (files[0], 1, "")][0])
    with warnings.catch_warnings():  # of Dagster's, for each asset and each load: they fill the daemon's log
        warnings.simplefilter("ignore", dg.BetaWarning)
        return dg.CodeReferencesMetadataValue(
            code_references=[dg.LocalFileCodeReference(file_path=str(file), line_number=line, label="catalogue entry")]
        )
