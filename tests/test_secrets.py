"""After good runs and bad ones, no byte on disk and no line of any log holds a key, a secret or a signature."""

import base64
import json
import os
import re
import sqlite3
import stat
import subprocess
import sys
import time
import traceback
import zlib
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from urllib.parse import parse_qsl, quote

import duckdb
import httpx
import pytest

from connector.errors import ConnectorError, ContractError
from connector.http.client import Http
from connector.redaction import excerpt
from connector.sandbox import READ, USERPILOT_KEY, OpenPanel, Userpilot, serve, serve_userpilot, vendor_variables
from connector.settings import Secret

DAY = date(2026, 3, 4)


def spellings(secret):
    plain = secret.encode()
    return {plain, base64.b64encode(plain).rstrip(b"="), quote(secret, safe="").encode(), plain.hex().encode()}


def everything_below(folder):
    """Every file, and what is packed inside those that pack: Dagster's snapshots, the warehouse's columns."""
    for file in sorted(folder.rglob("*")):
        if not file.is_file():
            continue
        content = file.read_bytes()
        yield file, content
        if content.startswith(b"SQLite format 3"):
            with closing(sqlite3.connect(file)) as connection:
                for (table,) in connection.execute("select name from sqlite_master where type = 'table'").fetchall():
                    for row in connection.execute(f"select * from {table}"):
                        for value in row:
                            if isinstance(value, bytes):
                                yield file, _unpacked(value)
        if file.suffix == ".duckdb":
            with duckdb.connect(file, read_only=True) as connection:
                names = connection.execute("select schema_name, table_name from duckdb_tables()").fetchall()
                for schema, table in names:
                    rows = connection.execute(f'select * from "{schema}"."{table}"').fetchall()
                    yield file, repr(rows).encode()


def _unpacked(value):
    try:
        return zlib.decompress(value)
    except zlib.error:
        return value


@pytest.fixture(scope="module")
def remains(tmp_path_factory):
    """What good and bad runs of both vendors leave behind, what they printed, and what must not show."""
    folder = tmp_path_factory.mktemp("remains")
    (folder / "home").mkdir()
    (folder / "tmp").mkdir()
    vendor, pilot = OpenPanel(), Userpilot(polls_to_complete=0, url_life=3600.0)
    vendor.load_sample(DAY, DAY + timedelta(days=1))
    pilot.load_sample(DAY - timedelta(days=1), DAY + timedelta(days=3))
    mask = os.umask(0)  # a careless machine
    try:
        with serve(vendor.app) as url, serve_userpilot(pilot) as (api, _):
            environment = {
                **os.environ,
                **vendor_variables(openpanel=url, userpilot=api),
                "WAREHOUSE": str(folder / "w.duckdb"),
                "SPOOL_DIR": str(folder / "deep" / "spool"),
                "DAGSTER_HOME": str(folder / "home"),
                "TMPDIR": str(folder / "tmp"),
                "START_DATE": "2026-03-01",
            }
            said = b"".join(_runs(vendor, pilot, environment))
        links = [link for one in pilot.file_requests for link in parse_qsl(one.query)]
        signatures = {value for name, value in links if "signature" in name.lower() or "credential" in name.lower()}
        yield folder, said, [READ.secret, USERPILOT_KEY, "0123456789abcdef", *signatures]
    finally:
        os.umask(mask)


def _runs(vendor, pilot, environment):
    def run(*arguments):
        command = [sys.executable, "-m", "tests.leave_traces", *arguments]
        root = Path(__file__).parent.parent
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, timeout=240, check=False)
        return done.stdout + done.stderr

    def echo(secret):
        return json.dumps({"error": "Unauthorized", "message": f"bad secret {secret}, {secret!r}"})

    # Three runs that fail, each in its own way, and one that lands.
    for status in (401, 400, 200):
        vendor.faults.add("status", "/export/events", status=status, body=echo(READ.secret), times=1)
    yield run("openpanel", *[str(DAY)] * 4)
    pilot.faults.add("status", "/api/v1/*", status=401, body=echo(USERPILOT_KEY), times=1)
    # A link that has ended, and a host that repeats what it was asked.
    expired = "<Error><Message>Request has expired: X-Amz-Signature=0123456789abcdef</Message></Error>"
    pilot.faults.add("status", "/exports/*", status=403, body=expired, times=1)
    yield run("userpilot", *[str(DAY)] * 2)
    for command in (["doctor"], ["export", "status"], ["prune"]):
        yield run("cli", *command)


def test_no_secret_is_left_anywhere(remains):
    folder, said, secrets = remains
    assert len(secrets) > 3, "the links had signatures"
    files = 0
    for secret in secrets:
        for spelling in spellings(secret):
            assert spelling not in said, said[max(said.find(spelling) - 300, 0) : said.find(spelling) + 100]
    for file, content in everything_below(folder):
        files += 1
        for secret in secrets:
            for spelling in spellings(secret):
                assert spelling not in content, file
    assert files > 20
    assert b"landed whole" in said, "it really ran"
    assert said.count(b"RejectedError") + said.count(b"ContractError") + said.count(b"answered with") > 3


def test_what_is_left_is_its_users_alone_on_a_careless_machine(remains):
    folder, _, _ = remains
    ours = [folder / "deep", folder / "w.duckdb", *(folder / "deep").rglob("*"), *(folder / "tmp").glob("connector-*")]
    ours += [file for place in (folder / "tmp").glob("connector-*") for file in place.rglob("*")]
    assert len(ours) > 6
    for path in ours:
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, (path, oct(path.stat().st_mode))


def test_the_warehouses_log_is_private_while_it_is_written(warehouse, tmp_path):
    """DuckDB writes rows into a log beside the file, and asks for no mode."""
    mask = os.umask(0)
    try:
        with warehouse.write() as connection:
            connection.execute("create table t as select range as n from range(1000)")
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("warehouse.duckdb*")}
        assert modes == {"warehouse.duckdb": 0o600, "warehouse.duckdb.wal": 0o600}
        assert os.umask(0) == 0, "afterwards the process is as it was"
    finally:
        os.umask(mask)


def test_a_budget_folder_of_another_user_is_not_trusted(tmp_path, monkeypatch):
    from connector import SettingsError
    from connector.http.budget import SharedBudget

    monkeypatch.setattr(os, "getuid", lambda: 4242)
    with pytest.raises(SettingsError, match="belongs to another user"):
        SharedBudget("x", folder=tmp_path)


def test_a_budget_without_a_place_says_which_variable_to_set(tmp_path):
    from connector import SettingsError
    from connector.http.budget import SharedBudget

    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=r"TMPDIR cannot hold the request budget .*Not a directory.*set TMPDIR"):
        SharedBudget("x", folder=tmp_path / "file" / "budget")


@pytest.mark.parametrize(
    "text",
    [
        "bad secret zq-secret-value",
        "https://host/file?X-Amz-Signature=zq-secret-value&x=1",
        '{"url": "https:\\/\\/host\\/file?X-Amz-Signature=zq-secret-value"}',
        "X-Amz-Signature=zq-secret-value",
        "x-amz-security-token%3Dzq-secret-value",
        "Signature=zq-secret-value&Key-Pair-Id=zq-secret-value",
    ],
)
def test_what_a_vendor_echoes_is_cut(text):
    kept = Secret("zq-secret-value")
    assert "zq-secret" not in excerpt(text)
    assert "zq-secret" not in str(ContractError(text, where=text, next_step=text))
    assert kept


SPELT = "zq/1\"x'y+z\\w=ü"


@pytest.mark.parametrize(
    "spelling",
    [
        SPELT,
        repr(SPELT),
        repr(SPELT.encode()),
        json.dumps(SPELT),
        json.dumps(json.dumps(SPELT)),
        json.dumps(SPELT, ensure_ascii=False).replace("/", "\\/"),
        "".join(f"\\u{ord(char):04X}" for char in SPELT),
        quote(SPELT, safe=""),
        quote(SPELT, safe="").lower(),
        quote(quote(SPELT, safe=""), safe=""),
        quote(SPELT),
    ],
)
def test_a_secret_is_cut_however_it_is_spelt(spelling):
    kept = Secret(SPELT)
    assert re.fullmatch(r"""bad header: b?["'\\]*\[cut\]["'\\]* \(50%\)""", excerpt(f"bad header: {spelling} (50%)"))
    assert kept


def test_a_secret_read_with_its_newline_is_cut_without_it():
    assert Secret("zq-from-a-file\n")
    assert "zq" not in excerpt("Illegal header value b'zq-from-a-file\\n'")


def test_a_short_secret_is_cut_as_a_word_and_no_word_is_cut_in_two():
    assert Secret("zq7x")
    assert Secret("zq")
    assert excerpt("got zq7x, 'zq7x' and zq%37x") == "got [cut], '[cut]' and [cut]"
    assert excerpt("zq7xa my-zq7x zq") == "zq7xa my-zq7x zq"


def test_many_backslashes_cost_no_time():
    assert Secret("a" + "\\" * 20 + "\\x" * 5)
    started = time.monotonic()
    excerpt(("a" + "\\" * 30 + "\\x" * 9 + "u") * 100)
    assert time.monotonic() - started < 2.0


UNSENDABLE = ["zq-secret-value\n", "zq-secret\x00value", "zq-secret'value\t\r", "zq-secret-välue", "zq-secret-value "]


@pytest.mark.parametrize("secret", UNSENDABLE)
def test_credentials_that_no_header_can_carry_are_refused_before_anything_is_asked(secret):
    from connector import OpenPanel as Client
    from connector import SettingsError
    from connector import Userpilot as Pilot

    for variable, make in (
        ("OPENPANEL_CLIENT_SECRET", lambda: Client(client_id=READ.id, client_secret=secret, project_id="demo")),
        ("USERPILOT_API_KEY", lambda: Pilot(api_key=secret)),
    ):
        with pytest.raises(SettingsError, match=variable) as caught:
            make()
        shown = "".join(traceback.format_exception(caught.value))
        assert "zq-secret" not in shown.replace(repr(secret), "")


@pytest.mark.parametrize("char", ["\n", "\r\n", "\x1b[2K\r", "\x85", "\u2028", "\x00", "\x9b"])
def test_a_vendor_cannot_forge_a_line_of_a_log(char):
    error = ConnectorError(f"x{char}2026-03-04 ERROR all is lost", where=f"a{char}b", next_step=f"c{char}d")
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", str(error))


@pytest.mark.parametrize("field", ["name\nERROR forged", "name\x1b[31m"])
def test_an_undeclared_field_cannot_either(vendor, sync, field, caplog):
    vendor.add("e", at="2026-03-04T08:00:00Z")
    vendor.faults.add("extra_field", "/export/events", field=field, value=1)
    receipt = sync()
    assert not re.search(r"[\x00-\x1f]", "".join(receipt.strangers))


def test_the_http_clients_own_log_shows_no_presigned_link(caplog):
    """Celery's workers, and whoever sets the root logger to INFO, write down what httpx says."""
    caplog.set_level("INFO")
    answers = httpx.MockTransport(lambda request: httpx.Response(200, json={}))
    with Http("https://files.example.com", headers={}, transport=answers) as http:
        http.get("/export/part-1", [("X-Amz-Signature", "0123456789abcdef")], where="test")
    said = "".join(record.getMessage() for record in caplog.records if record.name == "httpx")
    assert "files.example.com/export/part-1" in said
    assert "0123456789abcdef" not in said
