"""Every table of a warehouse in one list, for dbt sources, documentation and previews.

The vendors' catalogues describe what is landed, ``own.py`` the tables in schema ``connector``. A test compares these
with the tables that are created.
"""

from typing import cast

from connector.catalogue.openpanel import STREAMS as OPENPANEL
from connector.catalogue.own import OWN, Table, describe
from connector.catalogue.staging_names import BY_VENDOR as STAGING_NAMES
from connector.catalogue.userpilot import CHILDREN, OPTIONAL
from connector.catalogue.userpilot import STREAMS as USERPILOT
from connector.stream import BOOKKEEPING, SEEN, ColumnType, Stream


def tables(instance: str = "") -> tuple[Table, ...]:
    """Every table: those of the vendors in the order of their catalogues, then the connector's own.

    Args:
        instance: name of a second project; ``shop`` gives schemas that end in ``_shop``.
    """
    found: list[Table] = []
    for entry in (*OPENPANEL, *USERPILOT):
        stream = entry.of(instance) if instance else entry
        found.append(_landed(stream, asset=stream))
        if stream.vendor == USERPILOT[0].vendor and stream.name in CHILDREN:
            _, child = CHILDREN[stream.name]
            found.append(_landed(child.of(instance) if instance else child, asset=stream))
    return (*found, *OWN)


def _landed(stream: Stream, *, asset: Stream) -> Table:
    bookkeeping = tuple(describe(name, cast("ColumnType", kind), text) for name, (kind, text) in BOOKKEEPING.items())
    return Table(
        vendor=stream.vendor,
        schema=stream.schema,
        name=stream.name,
        grain=stream.grain,
        key=stream.primary_key,
        # In the order in which the landing writes them.
        columns=(*stream.columns, *(SEEN if stream.history else ()), *bookkeeping),
        partition=stream.replication_key if stream.days != "none" else "",
        late_days=stream.lookback_days if stream.days != "none" else 0,
        asset=(asset.schema, asset.name),
        docs_url=stream.docs_url,
        is_optional=stream.name in OPTIONAL,
        on_request=not stream.by_default,
        renamed=STAGING_NAMES[stream.vendor].get(stream.name, {}),
    )


def every_stream() -> tuple[Stream, ...]:
    """Every stream of every vendor, children of lookups included."""
    return (*OPENPANEL, *USERPILOT, *(child for _, child in CHILDREN.values()))
