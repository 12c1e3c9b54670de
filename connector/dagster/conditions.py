"""When models ask to be built: Dagster evaluates these conditions for each of them, in every tick of their sensor.

So they are kept small: a condition over forty assets, looked at by thirty models, keeps a core busy for seconds.
"""

from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Any

import dagster as dg


def after_any(
    updated: Sequence[dg.AssetKey],
    *,
    partitioned_with: Sequence[dg.AssetKey] = (),
    first: tuple[dg.AssetKey, dg.AutomationCondition[Any]] | None = None,
) -> dg.AutomationCondition[Any]:
    """Build when one of these was landed or built, be it today's partition or one of last year.

    Dagster's ``eager`` looks at the newest partition only, so what a lookback or a backfill lands would stop above the
    models. Every model of a run gets the same condition: one run builds all of them, also those of a vendor that was
    not landed and has not been seen yet. Nothing starts while one of them is being written, nor while a blocking check
    of one says that its day is not whole.

    Args:
        updated: assets whose update asks for a build.
        partitioned_with: more assets to wait for while they are written.
        first: a model and its condition; nothing is asked for in a tick that asks for that model. Dagster tells of
            what a tick asks for only what lies above, and deeper models are looked at later.
    """
    failed = dg.AutomationCondition.any_checks_match(dg.AutomationCondition.check_failed(), blocking_only=True)
    landed = _any_of(updated, dg.AutomationCondition.newly_updated())
    condition = (
        # Not since_last_handled: it forgets what was landed while a build that began before it was under way. And a
        # request is known one tick later: what landed between the two came after it, and asks for the next one.
        landed.since((dg.AutomationCondition.newly_requested() & ~landed) | dg.AutomationCondition.initial_evaluation())
        & ~_any_of(updated, _written() | failed)
        & ~dg.AutomationCondition.in_progress()
    )
    if partitioned_with:
        condition &= ~_any_of(partitioned_with, _written())
    if first:
        condition &= ~dg.AutomationCondition.asset_matches(*first)
    return condition.with_label("landed since it was built")


def _any_of(keys: Sequence[dg.AssetKey], condition: dg.AutomationCondition[Any]) -> dg.AutomationCondition[Any]:
    return reduce(or_, (dg.AutomationCondition.asset_matches(key, condition) for key in keys))


def _written() -> dg.AutomationCondition[Any]:
    # Asked for in this very tick counts as being written: else what is built below is built now and once more after.
    return dg.AutomationCondition.in_progress() | dg.AutomationCondition.will_be_requested()
