"""MotherDuck without an account: its URL, its token, its errors, and landings into a stand-in."""

import os
import subprocess
import sys

import duckdb
import pytest

from connector import RejectedError, SettingsError, TransientError, Warehouse
from connector.warehouse.faults import ConflictError, retry_conflicts
from connector.warehouse.motherduck import MotherDuck
from tests.conftest import DAY

TOKEN = "eyJhbGciOi.a-token-of-nobody"


@pytest.fixture
def token(monkeypatch):
    monkeypatch.setenv("MOTHERDUCK_TOKEN", TOKEN)


@pytest.fixture
def stand_in(token, tmp_path, monkeypatch):
    """A file of DuckDB under the name of the account's database."""

    def attach(self, connection, where):
        connection.execute(f"attach '{tmp_path / 'account.duckdb'}' as {self.catalog}")

    monkeypatch.setattr(MotherDuck, "_attach", attach)
    return Warehouse("md:analytics")


@pytest.mark.parametrize("url", ["md:analytics", "motherduck:analytics", f"md:analytics?motherduck_token={TOKEN}"])
def test_the_database_is_named_and_the_token_never(monkeypatch, url):
    if "?" not in url:
        monkeypatch.setenv("MOTHERDUCK_TOKEN", TOKEN)
    warehouse = Warehouse(url)
    assert (warehouse.name, warehouse.url, warehouse.catalog) == ("md:analytics", "md:analytics", "analytics")
    assert TOKEN not in repr(warehouse)
    with warehouse.building() as variables:
        assert variables == {"WAREHOUSE": "md:analytics", "MOTHERDUCK_TOKEN": TOKEN}


@pytest.mark.parametrize(
    "url, said",
    [("md:", "name of one database"), ("md:a/b", "name of one database"), ("md:a?saas_mode=true", "with saas_mode")],
)
def test_what_names_no_database_is_refused(token, url, said):
    with pytest.raises(SettingsError, match=said):
        Warehouse(url)


def test_without_a_token_the_variable_is_named():
    with pytest.raises(SettingsError, match="MOTHERDUCK_TOKEN is not set"):
        Warehouse("md:analytics")


def test_a_database_with_the_name_of_a_schema_is_refused(token):
    with pytest.raises(SettingsError, match="schema marts"):
        Warehouse("md:marts")


@pytest.mark.parametrize(
    "said, error",
    [
        (f"Invalid token {TOKEN}", RejectedError),
        ("no database/share named 'analytics' found", RejectedError),
        ("Could not establish connection", TransientError),
    ],
)
def test_what_the_service_says_is_told_without_the_token(token, monkeypatch, said, error):
    words = said.replace("'", "")
    monkeypatch.setattr("connector.warehouse.motherduck.extensions.load", lambda *_: None)
    monkeypatch.setattr(MotherDuck, "_statements", lambda self: [f"select error('{words}')"])
    with pytest.raises(error, match="md:analytics") as caught, Warehouse("md:analytics").read():
        pass
    assert TOKEN not in str(caught.value)


def test_a_day_lands_and_is_read(stand_in, vendor, sync):
    vendor.load_sample(DAY, DAY)
    receipt = sync(warehouse=stand_in)
    assert sync(warehouse=stand_in).replaced == receipt.landed
    with stand_in.read() as connection:
        assert connection.execute("select count(*) from openpanel.events").fetchone() == (receipt.landed,)
    assert (stand_in.maintain(), stand_in.settle(), stand_in.exists()) == ([], None, True)
    assert [remark.level for remark in stand_in.remarks()] == ["ok"]
    with pytest.raises(RejectedError, match="leave `at` out"), stand_in.read(at=1):
        pass


def test_conflicts_are_tried_again_and_then_told(stand_in, monkeypatch):
    monkeypatch.setattr("connector.warehouse.faults.time.sleep", lambda _: None)
    tries = []

    def meet(conflicts):
        tries.clear()

        def write():
            with stand_in.transaction() as connection:
                tries.append(connection)
                if len(tries) <= conflicts:
                    raise duckdb.TransactionException("Conflict on update!")
            return "written"

        return retry_conflicts(write)

    assert (meet(7), len(tries)) == ("written", 8)
    with pytest.raises(ConflictError, match="rerun the partition"):
        meet(8)
    assert len(tries) == 8


def test_a_service_that_cannot_be_reached_is_told_as_such(token):
    """The extension itself asks its service when it is loaded; the network of a test is none."""
    pytest.importorskip("duckdb_extension_motherduck")
    code = "import sys; from connector import Warehouse\ntry:\n    Warehouse('md:analytics').read().__enter__()\n"
    code += "except Exception as error: print(type(error).__name__, error)"
    proxy = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
    said = subprocess.check_output([sys.executable, "-c", code], text=True, env=os.environ | proxy, timeout=120)
    assert said.startswith("TransientError warehouse: DuckDB's extension motherduck could not start")
    assert TOKEN not in said
