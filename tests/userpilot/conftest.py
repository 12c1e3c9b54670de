"""Userpilot with manners on two ports, a clock that can be moved, and the real client."""

from datetime import UTC, date, datetime, timedelta

import pytest

from connector.sandbox import USERPILOT_KEY, serve_userpilot
from connector.sandbox import Userpilot as Vendor
from connector.userpilot.client import Userpilot
from connector.userpilot.exports.request import Options, Request
from connector.userpilot.exports.run import Exports

FIRST, LAST = date(2026, 3, 2), date(2026, 3, 6)
NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
DAYS = [FIRST + timedelta(days=n) for n in range((LAST - FIRST).days + 1)]
ALL_TYPES = Options.of({"event_type": ["identify_user", "identify_company", "page_view", "track", "track_feature",
                                       "interaction", "session_start"]})  # fmt: skip


class Clock:
    """Seconds since 1970 for the vendor, a datetime for us; sleeping moves both."""

    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now.timestamp()

    def moment(self):
        return self.now

    def sleep(self, seconds):
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["documented", "odd"])
def world(request):
    return request.param


@pytest.fixture
def pilot(world, clock):
    return Vendor(world=world, clock=clock)


@pytest.fixture
def sample(pilot):
    pilot.load_sample(FIRST - timedelta(days=3), LAST + timedelta(days=3))
    return pilot


@pytest.fixture
def urls(pilot):
    with serve_userpilot(pilot) as bases:
        yield bases


@pytest.fixture
def userpilot(urls):
    with Userpilot(url=urls[0], api_key=USERPILOT_KEY) as client:
        yield client


@pytest.fixture
def exports(userpilot, clock, tmp_path):
    return Exports(userpilot, tmp_path / "spool", clock=clock.moment, sleep=clock.sleep)


@pytest.fixture
def request_():
    return Request.checked(FIRST, LAST, ALL_TYPES, today=NOW.date())


@pytest.fixture
def land(exports, warehouse, request_):
    """Ask, wait, fetch and land, as the command line does; receipts of all jobs."""

    def run(request=None, **options):
        return [exports.land(job, warehouse=warehouse, **options) for job in exports.wait(request or request_)]

    return run
