"""Connector error -> Dagster failure: the only place where the two families meet.

A transient error becomes a failure that the asset's RetryPolicy may try again; any other error becomes one that no
retry can help. It decides nothing about runs: run retries belong to the instance.
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


def failure(*errors: ConnectorError, retry: bool = True) -> dg.Failure:
    """Errors as Dagster shows them: the last one that is not transient, in full, and the others in a line each.

    Args:
        retry: False if something else, such as a sensor, goes on after this run. Otherwise a retry is allowed if one
            of the errors is transient.
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
        description=str(error),
        metadata=metadata,
        allow_retries=retry and any(isinstance(one, TransientError) for one in errors),
    )
