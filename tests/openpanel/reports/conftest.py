"""A vendor, a client and a warehouse for tests that land reports."""

from datetime import date

import pytest

from connector import Warehouse, sync_day
from connector.http.budget import SharedBudget
from connector.openpanel.reports.config import streams
from connector.sandbox import serve
from tests.factories import openpanel_client


class Place:
    """A vendor, a client and a warehouse, and one way to land."""

    def __init__(self, vendor, url, folder, **options):
        self.vendor, self.folder = vendor, folder
        self.client = openpanel_client(url, budget=SharedBudget(url, folder=folder / "budget"), **options)
        self.warehouse = Warehouse(folder / "w.duckdb")

    def land(self, name, day=date(2026, 3, 4), questions=None, **options):
        stream = next(one for one in streams(questions) if one.name == name)
        return sync_day(
            self.client, stream, day, warehouse=self.warehouse, spool_dir=self.folder / "s", pauses=(), **options
        )

    def query(self, sql):
        with self.warehouse.read() as connection:
            return connection.execute(sql).fetchall()


@pytest.fixture
def place(tmp_path):
    made = []

    def make(vendor, **options):
        context = serve(vendor.app)
        here = Place(vendor, context.__enter__(), tmp_path, **options)
        made.append((context, here))
        return here

    yield make
    for context, here in made:
        here.client.close()
        context.__exit__(None, None, None)
