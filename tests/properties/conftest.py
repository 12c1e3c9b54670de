"""A warehouse of events with chosen properties, landed by the real client."""

from datetime import UTC, date, datetime, timedelta

import pytest

from connector import Warehouse

MONDAY = date(2026, 3, 2)


def day(number):
    """The day so many days after the first one."""
    return MONDAY + timedelta(days=number)


class Shop:
    """Events of a shop, by day; every event is of another person unless told."""

    def __init__(self, vendor, sync):
        self.vendor, self._sync, self._next = vendor, sync, 0

    def sells(self, when, *properties, name="purchase", people=None):
        """One event for each mapping of properties."""
        rows = []
        for number, one in enumerate(properties):
            self._next += 1
            person = f"p{number % people}" if people else f"p{self._next}"
            at = datetime(when.year, when.month, when.day, 10, tzinfo=UTC) + timedelta(seconds=number)
            rows.append(
                {
                    "id": f"{self._next:08}-0000-4000-8000-000000000000",
                    "name": name,
                    "device_id": person,
                    "profile_id": person,
                    "session_id": f"s-{person}",
                    "created_at": at.isoformat().replace("+00:00", "Z"),
                    "properties": one,
                }
            )
        self.vendor.load(rows)

    def lands(self, *days):
        for one in days:
            self._sync(one, allow_drop=True)


@pytest.fixture
def shop(vendor, sync):
    return Shop(vendor, sync)


@pytest.fixture
def cli(warehouse, monkeypatch, capsys):
    """Run the command; what it said on standard output."""
    monkeypatch.setenv("WAREHOUSE", warehouse.name)

    def run(*arguments, code=0):
        from connector.cli.main import main

        assert main(list(arguments)) == code, capsys.readouterr().err
        return capsys.readouterr().out

    return run


def looked(warehouse):
    """Look at everything that landed; by table, the days that were read."""
    from connector.properties.look import look, sources

    return {source.stream.table: look(Warehouse(warehouse.name), source).days for source in sources(warehouse)}
