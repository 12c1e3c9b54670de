"""A vendor with sample days, and an export from the request to its landing."""

from datetime import timedelta

import pytest

from tests.factories import FIRST, LAST


@pytest.fixture
def sample(pilot):
    pilot.load_sample(FIRST - timedelta(days=3), LAST + timedelta(days=3))
    return pilot


@pytest.fixture
def land(exports, warehouse, request_):
    """Ask, wait, fetch and land, as the command line does; receipts of all jobs."""

    def run(request=None, **options):
        return [exports.land(job, warehouse=warehouse, **options) for job in exports.wait(request or request_)]

    return run
