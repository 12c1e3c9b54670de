"""What tests of several folders make: clients of the sandbox, a clock that can be moved, the days of an export."""

from datetime import UTC, date, datetime, timedelta

from connector import OpenPanel, Userpilot
from connector.sandbox import READ, USERPILOT_KEY
from connector.userpilot.exports.request import Options

FIRST, LAST = date(2026, 3, 2), date(2026, 3, 6)
NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
DAYS = [FIRST + timedelta(days=n) for n in range((LAST - FIRST).days + 1)]
ALL_TYPES = Options.of({"event_type": ["identify_user", "identify_company", "page_view", "track", "track_feature",
                                       "interaction", "session_start"]})  # fmt: skip


def openpanel_client(url, **options):
    """The real client with the sandbox's read client; any option of ``OpenPanel`` may be changed."""
    known = {"client_id": READ.id, "client_secret": READ.secret, "project_id": "demo"}
    return OpenPanel(url=url, **(known | options))


def userpilot_client(url, **options):
    """The real client with the sandbox's key."""
    return Userpilot(url=url, **({"api_key": USERPILOT_KEY} | options))


class Clock:
    """Seconds since 1970 for the vendor, a datetime for us; sleeping moves both."""

    def __init__(self, now=NOW):
        self.now = now

    def __call__(self):
        return self.now.timestamp()

    def moment(self):
        return self.now

    def sleep(self, seconds):
        self.now += timedelta(seconds=seconds)
