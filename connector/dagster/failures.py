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


def failure(*errors: ConnectorError) -> dg.Failure:
    """Errors as Dagster shows them: the last one that needs somebody, in full, and the others in a line each.

    Retries are allowed if one of them may help.
    """
    error = next((one for one in reversed(errors) if not isinstance(one, TransientError)), errors[-1])
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
    if others := [str(one) for one in errors if one is not error]:
        metadata["failed as well"] = dg.MetadataValue.text("\n".join(others))
    return dg.Failure(
        description=str(error), metadata=metadata, allow_retries=any(isinstance(one, TransientError) for one in errors)
    )
