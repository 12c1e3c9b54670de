"""A part of the fault matrix, cell by cell; `make soak` runs all of it. The promises stand in `matrix.py`.

The situations of `borders.py` have tests of their own beside the code; here is one of each kind.
"""

import pytest

from tests.soak import borders
from tests.soak.matrix import cells, judged
from tests.soak.stages import staged

# Waiting for these costs seconds each; the soak has the time.
SLOW = {"hang", "slow drip"}
# A part of the cells, so that every fault meets several streams and every stream many faults; the soak runs all.
EVERY = 5


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    """Stages by target, each opened when it is first needed."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        opened = {}

        def stage(target):
            if target.name not in opened:
                opened[target.name] = stack.enter_context(staged(target, tmp_path_factory.mktemp("stage") / "s"))
            return opened[target.name]

        yield stage


def _chosen():
    quick = [cell for cell in cells() if cell.once or cell.fault.name not in SLOW]
    # The number of faults is no multiple of the step, so that from stream to stream others are chosen.
    return [pytest.param(cell, id=str(cell)) for cell in quick[::EVERY]]


@pytest.mark.parametrize("cell", _chosen())
def test_rows_are_exact_or_the_error_says_what_to_do(stages, cell):
    """The table holds the vendor's rows, or what it held before and a message says what to do; never in between."""
    outcome = judged(stages(cell.target), cell)
    assert not outcome.violations, "\n".join(outcome.violations)


def _one_of_each_kind():
    return {border.kind: border for border in reversed(borders.BORDERS)}.values()


@pytest.mark.parametrize("border", _one_of_each_kind(), ids=str)
def test_what_is_not_ours_around_a_run_changes_no_row(border, tmp_path):
    verdict = borders.judged(border, tmp_path / "place")
    assert not verdict.violations, "\n".join(verdict.violations)


def test_every_kind_of_situation_has_three_inputs_or_more():
    given = {border.kind: 0 for border in borders.BORDERS}
    for border in borders.BORDERS:
        given[border.kind] += 1
    assert len(given) == 6
    assert min(given.values()) >= 3
