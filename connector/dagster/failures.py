"""Connector error -> Dagster failure: the only place where the two families meet.

Transient errors stay exceptions, so that the asset's RetryPolicy sees them; everything else becomes a Failure that
no retry can help. It decides nothing about runs: run retries belong to the instance.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from connector.errors import ConnectorError, IncompleteError, SuddenDropError, TransientError


@contextmanager
def as_dagster_failure() -> Iterator[None]:
    """Let the UI show what, where and the next step, and let Dagster retry only what may succeed."""
    try:
        yield
    except ConnectorError as error:
        raise failure(error) from None


def failure(error: ConnectorError) -> dg.Failure:
    """One error as Dagster shows it; retries are allowed for transient errors only."""
    metadata: dict[str, dg.MetadataValue] = {
        "what": dg.MetadataValue.text(error.what),
        "where": dg.MetadataValue.text(error.where),
        "next step": dg.MetadataValue.text(error.next_step),
        "kind": dg.MetadataValue.text(type(error).__name__),
    }
    match error:
        case IncompleteError(announced=announced, received=received):
            metadata |= {"announced": dg.MetadataValue.int(announced), "received": dg.MetadataValue.int(received)}
        case SuddenDropError(landed=landed, received=received):
            metadata |= {"landed before": dg.MetadataValue.int(landed), "received": dg.MetadataValue.int(received)}
    return dg.Failure(description=str(error), metadata=metadata, allow_retries=isinstance(error, TransientError))
