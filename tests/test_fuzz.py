"""Whatever is sent, by a vendor, a proxy or a user who types a name: rows or a ConnectorError, and nothing beside them."""

# ruff: noqa: E501, PT017 - an example of an attack stays in one piece

import gzip
import json
import os
import re
from datetime import UTC, date, datetime
from urllib.parse import parse_qsl, urlsplit

import duckdb
import httpx
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from connector import EVENTS, Exports, OpenPanelSettings, Privacy, Settings, Userpilot, UserpilotSettings, Warehouse
from connector.catalogue.reports import Chart, Funnel, Series
from connector.catalogue.userpilot import EVENTS as EXPORTED
from connector.catalogue.userpilot import LOOKUPS
from connector.errors import ConnectorError, ContractError
from connector.http.client import Http
from connector.http.download import Files
from connector.landing.day import land
from connector.landing.days_from_files import Origin, land_files
from connector.openpanel.events import EventPages
from connector.openpanel.reports.config import Questions, streams
from connector.openpanel.reports.read import Reports
from connector.records.files import prove_whole
from connector.redaction import excerpt
from connector.settings import Environment, checked_url
from connector.spool import spool_pages, spooling
from connector.userpilot.exports.job import Job, State
from connector.userpilot.exports.request import Request
from connector.userpilot.lookups import sync_lookup
from connector.warehouse.sql import literal, quoted, text

DAY = date(2026, 3, 4)
TIMES = int(os.environ.get("TIMES", "1"))  # as many examples; `make fuzz` takes more of them
FEW = settings(max_examples=60 * TIMES, deadline=None, suppress_health_check=list(HealthCheck))
MANY = settings(max_examples=300 * TIMES, deadline=None, suppress_health_check=list(HealthCheck))

# Halves of a pair included: whoever cuts a text in the middle of an emoji sends one, and JSON can spell it.
ANY_TEXT = st.text(st.characters(), max_size=20)
NASTY = st.sampled_from([
    "", "\ud83d", "\x00", "'; drop table x; --", '"', "a\nb", "\x1b[31m", "../../etc/passwd", "/etc/passwd", "\u202e",
    "&projectId=other", "%2e%2e", "#", "?", "a" * 5_000, "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59",
    "2026-03-04T25:00:00Z", "2026-03-04T01:00:00.123456789Z", "1e999", "NaN",
])  # fmt: skip
TEXTS = st.one_of(NASTY, ANY_TEXT)
NUMBERS = st.one_of(st.integers(-(10**30), 10**30), st.floats(), st.sampled_from([10**400, -1, 0, 2**63]))
LEAVES = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=12,
)
DEEP = "[" * 100_000 + "]" * 100_000


def spelt(value):
    return json.dumps(value).encode()


def record(fields):
    """A record of events with some fields replaced."""
    good = {"id": "a", "name": "x", "createdAt": f"{DAY}T01:00:00.000Z", "properties": {"a": "b"}}
    return st.builds(
        lambda odd: good | odd, st.dictionaries(st.one_of(st.sampled_from(fields), TEXTS), JSON, max_size=4)
    )


FIELDS = [column.field for column in EVENTS.columns] + ["_extra", "_day", "_load_id"]


class Says:
    """In place of the transport: every question has the same answer."""

    def __init__(self, body):
        self.body = body

    asked = 0

    def get(self, path, params=(), *, where, meter=None):
        self.asked += 1
        if self.asked > 300:  # a vendor may count rows one by one; the test need not
            raise ContractError("enough", where=where, next_step="stop.")
        return self.body


def read(body):
    return list(EventPages(Says(body), "demo", at_once=2).read_day(EVENTS, DAY))


@st.composite
def pages(draw):
    """An answer that is nearly right: an envelope with odd values, or with bytes changed."""
    rows = draw(st.lists(record(FIELDS), max_size=3))
    odd = draw(st.dictionaries(st.sampled_from(["totalCount", "count", "pages", "current", "x"]), JSON, max_size=2))
    body = spelt(draw(st.sampled_from([
        {"meta": {"totalCount": len(rows)} | odd, "data": rows}, {"data": rows, "meta": {"totalCount": len(rows)} | odd},
    ])))  # fmt: skip
    return draw(changed(body))


@st.composite
def changed(draw, body):
    """The same bytes, or a few of them replaced, or cut."""
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, max(len(body) - 1, 0)))
        body = body[:at] + draw(st.binary(max_size=3)) + body[at + draw(st.integers(0, 3)) :]
    return body


@MANY
@given(pages())
@example(
    b'{"meta":{"totalCount":1},"data":[{"id":"a","createdAt":"'
    + f"{DAY}".encode()
    + b'T01:00:00Z","properties":'
    + DEEP.encode()
    + b"}]}"
)
@example(b'{"meta":{"totalCount":' + b"9" * 5000 + b'},"data":[]}')
@example(b'{"meta":{"totalCount":-5},"data":[]}')
@example(DEEP.encode())
def test_the_page_slicer_reads_pages_or_says_what_is_wrong(body):
    try:
        found = read(body)
    except ConnectorError as error:
        told(error)
    else:
        assert all(page.announced >= 0 for page in found)


def told(error):
    """The message is one line that any terminal can show, with all three parts."""
    assert error.what.strip()
    assert error.where.strip()
    assert error.next_step.strip()
    assert str(error).isprintable()
    assert len(str(error)) < 2_000
    str(error).encode()


@FEW
@given(rows=st.lists(record(FIELDS), min_size=1, max_size=3))
@example(rows=[{"id": "a", "createdAt": f"{DAY}T01:00:00Z", "path": "\ud83d", "properties": {"\udc00": "\ud83d"}}])
def test_an_odd_row_lands_or_is_told_and_takes_no_other_day_with_it(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("odd")
    warehouse = Warehouse(folder / "w.duckdb")
    rows = [row | {"id": f"{number}"} for number, row in enumerate(rows)]
    body = spelt({"meta": {"totalCount": len(rows)}, "data": rows})
    with spooling(folder / "s", EVENTS, DAY) as spool:
        try:
            receipt = land(warehouse, EVENTS, spool_pages(spool, EVENTS, DAY, read(body)))
        except ConnectorError as error:
            told(error)
            return
    assert receipt.landed == len(rows)
    with warehouse.read() as connection:
        (tables,) = connection.execute("select count(*) from duckdb_tables() where not internal").fetchone()
    assert tables == 3, "nothing but events, landings and probes was made"


@pytest.mark.parametrize(
    ("sent", "landed"),
    [
        (r"cut \ud83d", "cut \ufffd"),
        (r"\udc00 first", "\ufffd first"),
        (r"whole \ud83d\ude00", "whole \U0001f600"),
        (r"two \ud83d\ud83d\ude00", "two \ufffd\U0001f600"),
        (r"a path C:\\ud83d", r"a path C:\ud83d"),
    ],
)
def test_one_visitors_half_an_emoji_does_not_keep_the_day_from_landing(tmp_path, sent, landed):
    """Whoever cuts a text inside an emoji sends one; the whole day was refused, every night."""
    body = b'{"meta":{"totalCount":1},"data":[{"id":"a","createdAt":"%s","path":"%s","properties":{"k":"%s"}}]}'
    body %= f"{DAY}T01:00:00Z".encode(), sent.encode(), sent.encode()
    warehouse = Warehouse(tmp_path / "w.duckdb")
    with spooling(tmp_path / "s", EVENTS, DAY) as spool:
        land(warehouse, EVENTS, spool_pages(spool, EVENTS, DAY, read(body)))
    line = b'{"inserted_at":"%s","event_type":"track","event_name":"%s","metadata":{"k":"%s"}}\n'
    (tmp_path / "f").write_bytes(line % (f"{DAY}T01:00:00Z".encode(), sent.encode(), sent.encode()))
    land_files(warehouse, EXPORTED, [tmp_path / "f"], Origin(first=DAY, last=DAY, job_id="j", fingerprint="f"))
    with warehouse.read() as connection:
        assert connection.execute("select path, properties->>'k' from openpanel.events").fetchall() == [
            (landed, landed)
        ]
        assert connection.execute("select event_name, metadata->>'k' from userpilot.events").fetchall() == [
            (landed, landed)
        ]


# ---------- the aggregates

QUESTIONS = Questions(
    charts=(Chart(name="c", series=(Series(event="x"),), breakdowns=("country",)),),
    funnels=(Funnel(name="f", steps=("a", "b")),),
)
REPORTS = [stream for stream in streams(QUESTIONS) if stream.name != "events"]
SHAPES = st.one_of(
    JSON,
    st.builds(lambda v, more: {"metrics": v} | more, JSON, st.just({"series": []})),
    st.builds(lambda v: {"visitors": v}, JSON),
    st.builds(lambda v: {"types": v}, st.lists(JSON, max_size=3)),
    st.lists(st.dictionaries(st.sampled_from(["id", "created_at", "version", "last_seen_at"]), JSON), max_size=120),
    st.lists(st.dictionaries(st.sampled_from(["name", "path", "origin", "sessions", "revenue"]), JSON), max_size=12),
    st.builds(
        lambda v, n, e: {"series": [{"data": v, "names": n, "event": e}]}, st.lists(JSON, max_size=3), JSON, JSON
    ),
    st.builds(lambda v: {"steps": v}, st.lists(st.dictionaries(TEXTS, JSON, max_size=3), max_size=3)),
)


@pytest.mark.parametrize("stream", REPORTS, ids=lambda stream: stream.name)
@FEW
@given(answer=SHAPES)
@example(answer={"metrics": {"bounce_rate": "\ud83d"}})
@example(answer=[{"name": "\ud83d", "path": "\ud83d"}])
@example(answer={"series": [{"data": [{"date": 5, "count": None}], "event": {"id": "B", "name": {}}}]})
@example(answer={"steps": [{"\ud83d": "\ud83d"}]})
@example(answer={"metrics": {"total_sessions": 10**18}})
@example(answer=[{"id": f"{n}", "created_at": "0001-01-01T00:00:00+14:00"} for n in range(100)])
@example(answer=[{"id": " "}] * 100)
def test_reports_are_rows_or_told(stream, answer):
    body = spelt(answer)
    reports = Reports(Says(body), "demo", "UTC", at_once=1, newest_today=lambda *_: None)
    try:
        list(reports.read_day(stream, DAY))
    except ConnectorError as error:
        told(error)


def test_a_listing_without_an_end_is_not_read_for_ever():
    class Endless(Says):
        def get(self, path, params=(), **_):
            self.asked += 1
            assert self.asked < 20_000
            return spelt([{"name": f"{self.asked}-{n}", "sessions": 1} for n in range(10)])

    stream = next(stream for stream in REPORTS if stream.name == "insights_pages")
    with pytest.raises(ContractError, match="no end"):
        list(Reports(Endless(b""), "demo", "UTC", at_once=1, newest_today=lambda *_: None).read_day(stream, DAY))


# ---------- exports and lookups


def userpilot(answer):
    """The client, with one answer for everything."""
    body = answer if isinstance(answer, bytes) else spelt(answer)
    network = httpx.MockTransport(lambda request: httpx.Response(200, content=body))
    return Userpilot(
        url="http://127.0.0.1:1", api_key="k", transport=network, files_transport=network, sleep=lambda _: None
    )


def nearly(**members):
    """A job with some members replaced by anything."""
    names = ["job_id", "status", "type", "start_time", "end_time", "all_chunks", "completed_chunks", "presigned_urls"]
    return st.builds(lambda odd: members | odd, st.dictionaries(st.sampled_from(names), JSON, max_size=3))


LINKS = st.lists(st.fixed_dictionaries({"filename": LEAVES, "url": TEXTS}), max_size=3)
JOBS = st.one_of(JSON, nearly(job_id="j", status="completed", presigned_urls=[]), st.builds(
    lambda links: {"job_id": "j", "status": "completed", "presigned_urls": links}, LINKS,
))  # fmt: skip


@MANY
@given(answer=JOBS)
@example(answer={"job_id": "j", "presigned_urls": 5})
@example(answer={"job_id": "j", "all_chunks": 5, "completed_chunks": True})
@example(answer={"job_id": "j", "presigned_urls": [{"filename": "a", "url": "http://[::1/?X-Amz-Date=1"}]})
@example(answer={"job_id": "j", "start_time": "0001-01-01T00:00:00+23:59"})
def test_jobs_are_read_or_told(answer):
    with userpilot(answer) as client:
        for ask in (
            lambda: client.show("j"),
            lambda: client.list_jobs(),
            lambda: client.trigger(Request(first=DAY, last=DAY)),
        ):
            try:
                repr(ask())
            except ConnectorError as error:
                told(error)
    with userpilot([answer]) as client:
        try:
            repr(client.list_jobs())
        except ConnectorError as error:
            told(error)


@FEW
@given(body=st.one_of(st.just(DEEP.encode()), st.binary(max_size=60), st.builds(spelt, JSON)))
def test_any_answer_to_a_request_for_a_job_is_one_of_three(body):
    with userpilot(body) as client:
        client.trigger(Request(first=DAY, last=DAY))


@FEW
@given(filename=st.one_of(TEXTS, st.integers()), url=TEXTS)
@example(filename="../../../outside", url="http://127.0.0.1:1/a")
@example(filename="/etc/outside", url="http://127.0.0.1:1/a")
@example(filename="\ud83d", url="http://127.0.0.1:1/\ud83d")
@example(filename="a", url="file:///etc/passwd")
@example(filename="a\x00b", url="http://[::1/")
@example(filename="a", url="http://exa℀mple/?X-Amz-Signature=s")
def test_no_name_of_a_file_leaves_the_spool_and_no_link_opens_anything_else(tmp_path_factory, filename, url):
    folder = tmp_path_factory.mktemp("files")
    inside = folder / "deep" / "spool"
    with userpilot(
        {"job_id": "j", "status": "completed", "presigned_urls": [{"filename": filename, "url": url}]}
    ) as client:
        exports = Exports(client, inside, sleep=lambda _: None)
        job = Job(request=Request(first=DAY, last=DAY), state=State.POLLING, job_id="j", started=datetime.now(UTC))
        try:
            exports.fetch(job)
        except ConnectorError as error:
            told(error)
            assert "X-Amz-Signature=s" not in str(error)
    written = [path for path in folder.rglob("*") if path.is_file()]
    assert all(path.is_relative_to(inside) for path in written)
    names = {path.name for path in written} - {"files.json"}
    assert all(re.fullmatch(r"chunk-\d{5}(\.arrived)?(\.part)?|j\.lock", name) for name in names)
    assert not any(b"root:" in path.read_bytes() for path in written)


@MANY
@given(url=st.one_of(TEXTS, st.builds("http://{}".format, TEXTS), st.builds("https://127.0.0.1:1/{}".format, TEXTS)))
@example(url="http://127.0.0.1:99999/")
@example(url="http://\ud83d/")
@example(url="http://" + "a" * 70 + ".example/")
def test_any_link_is_fetched_or_told(tmp_path_factory, url):
    folder = tmp_path_factory.mktemp("links")
    files = Files(sleep=lambda _: None, transport=httpx.MockTransport(lambda _: httpx.Response(200, content=b"x")))
    try:
        files.fetch(url, folder / "file", where="here")
    except ConnectorError as error:
        told(error)
    finally:
        files.close()


@FEW
@given(
    answer=st.one_of(
        JSON, st.lists(st.dictionaries(st.sampled_from(["id", "key", "title", "modules", "x"]), JSON), max_size=4)
    )
)
@example(answer=[{"id": "\ud83d", "title": "\udc00", "\ud83d": 1}])
@example(answer={"data": [{"id": 1}], "metadata": {"cursor": {"after": 10**400}}})
@example(answer=[{"id": float("nan"), "title": float("inf")}])
def test_lookups_land_or_are_told(tmp_path_factory, answer):
    folder = tmp_path_factory.mktemp("lookup")
    stream = next(stream for stream in LOOKUPS if stream.name == "surveys")
    with userpilot(answer) as client:
        try:
            sync_lookup(client, stream, warehouse=Warehouse(folder / "w.duckdb"), spool_dir=folder / "s")
        except ConnectorError as error:
            told(error)


def test_a_lookup_whose_pages_never_end_is_not_walked_for_ever():
    asked = []

    def answer(request):
        asked.append(1)
        assert len(asked) < 50_000
        return httpx.Response(
            200, json={"data": [{"id": len(asked)}], "metadata": {"cursor": {"after": f"c{len(asked)}"}}}
        )

    client = Userpilot(url="http://127.0.0.1:1", api_key="k", transport=httpx.MockTransport(answer))
    with client, pytest.raises(ContractError, match="no end"):
        client.lookup(LOOKUPS[0])


# ---------- files


@st.composite
def exported(draw):
    """A file: lines, an array, CSV or anything; packed or not; perhaps damaged."""
    good = {"inserted_at": f"{DAY}T01:00:00Z", "event_type": "track", "event_name": "x"}
    odd = st.dictionaries(st.one_of(st.sampled_from([c.field for c in EXPORTED.columns]), TEXTS), JSON, max_size=3)
    rows = [good | more for more in draw(st.lists(odd, max_size=3))]
    content = draw(st.sampled_from([
        b"".join(spelt(row) + b"\n" for row in rows), spelt(rows), b"\n" * 50, b"",
        "\n".join(["inserted_at,event_type", *(f"{DAY}T01:00:00Z,track" for _ in rows), ""]).encode(),
        b'inserted_at,inserted_at,"a b",""\n1,2,3,4\n', b"inserted_at,event_type\n" + DEEP.encode() + b"\n",
        b'{"inserted_at": "' + str(DAY).encode() + b'T01:00:00Z", "metadata": ' + DEEP.encode() + b"}\n",
        b"inserted_at\n" + b'"' * 101 + b"\n", b"\xef\xbb\xbfinserted_at\r\nnever\r\n",
    ]))  # fmt: skip
    content = draw(changed(content))
    if draw(st.booleans()):
        content = draw(changed(gzip.compress(content)))
    return content


@FEW
@given(content=exported())
def test_exported_files_land_or_are_told(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("export")
    (folder / "f").write_bytes(content)
    try:
        prove_whole(folder / "f", "here")
        land_files(
            Warehouse(folder / "w.duckdb"), EXPORTED, [folder / "f"], Origin(first=DAY, last=DAY, job_id="j", fingerprint="f")
        )  # fmt: skip
    except ConnectorError as error:
        told(error)
    assert {path.name for path in folder.iterdir()} <= {"f", "w.duckdb", "w.duckdb.wal"}


# ---------- settings and rules

VARIABLES = ["OPENPANEL_API_URL", "OPENPANEL_CLIENT_ID", "OPENPANEL_CLIENT_SECRET", "OPENPANEL_PROJECT_ID",
             "OPENPANEL_TIMEZONE", "USERPILOT_API_KEY", "USERPILOT_API_URL", "WAREHOUSE", "START_DATE", "SPOOL_DIR",
             "CONNECTOR_HASH_KEY", "CONNECTOR_PERSONAL_DATA"]  # fmt: skip


@MANY
@given(st.dictionaries(st.sampled_from(VARIABLES), TEXTS))
@example(
    {
        "OPENPANEL_TIMEZONE": "../../etc/passwd",
        "OPENPANEL_CLIENT_ID": "a",
        "OPENPANEL_CLIENT_SECRET": "b",
        "OPENPANEL_PROJECT_ID": "c",
    }
)
@example(
    {
        "OPENPANEL_TIMEZONE": "a" * 5000,
        "OPENPANEL_CLIENT_ID": "a",
        "OPENPANEL_CLIENT_SECRET": "b",
        "OPENPANEL_PROJECT_ID": "c",
    }
)
@example({"SPOOL_DIR": "~nobody-of-this-name/x"})
def test_settings_are_read_or_named(values):
    env = Environment(values)
    for kind in (Settings, OpenPanelSettings, UserpilotSettings):
        try:
            found = kind.load(env)
            Warehouse(getattr(found, "warehouse", "w.duckdb"))
        except ConnectorError as error:
            told(error)


@MANY
@given(TEXTS | st.builds("https://{}".format, TEXTS) | st.builds("http://x.example/{}".format, TEXTS))
def test_a_base_url_is_one_or_refused(url):
    try:
        checked = checked_url("X", url)
    except ConnectorError as error:
        told(error)
        return
    parts = urlsplit(checked)
    assert (parts.query, parts.fragment, parts.username) == ("", "", None)
    try:
        Http(checked, headers={}, transport=httpx.MockTransport(lambda _: httpx.Response(200, content=b"{}"))).get(
            "/x", where="here"
        )
    except ConnectorError as error:
        told(error)


@MANY
@given(rules=st.one_of(JSON, st.dictionaries(st.sampled_from(["openpanel.events", "userpilot.events"]), st.one_of(
    JSON, st.dictionaries(st.sampled_from(["drop", "hash"]), st.lists(st.one_of(TEXTS, st.sampled_from(
        ["profile_id", "properties.email", "**.email", "_extra.ip", "properties.*.x", "**.*"])), max_size=3)))))
)  # fmt: skip
def test_rules_are_understood_or_refused(rules):
    try:
        Privacy(rules, key="k" * 20)
    except ConnectorError as error:
        told(error)


RULES = Privacy({"openpanel.events": {"drop": ["**.email"], "hash": ["profile_id", "properties.user"]},
                 "userpilot.events": {"drop": ["**.email"], "hash": ["user_id"]}}, key="k" * 20)  # fmt: skip


@MANY
@given(body=pages())
@example(
    body=spelt(
        {"meta": {"totalCount": 1}, "data": [{"id": "a", "createdAt": f"{DAY}T01:00:00Z", "profileId": "\ud83d"}]}
    )
)
def test_rules_meet_any_page(body):
    try:
        list(RULES.pages(EVENTS, iter(read(body))))
    except ConnectorError as error:
        told(error)


@FEW
@given(content=exported())
def test_rules_meet_any_file(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("rules")
    (folder / "f").write_bytes(content)
    try:
        RULES.protector(EXPORTED).files([folder / "f"], folder / "out", where="here")
    except ConnectorError as error:
        told(error)


# ---------- injection


@MANY
@given(TEXTS)
def test_no_text_leaves_its_place_in_a_statement(value):
    assume(not any("\ud800" <= char <= "\udfff" for char in value))
    with duckdb.connect() as connection:
        assert connection.execute(f"select {text(value)}, {literal([value])}").fetchone() == (value, [value])
        if value and "\x00" not in value:
            connection.execute(f"create table {quoted(value)} (x int)")
            assert connection.execute("select table_name from duckdb_tables()").fetchall() == [(value,)]


@MANY
@given(project=TEXTS, dimension=TEXTS)
@example(project=".", dimension="metrics")
@example(project="demo", dimension="..")
def test_no_id_and_no_name_leaves_its_place_in_a_url(project, dimension):
    assume(project and not any("\ud800" <= char <= "\udfff" for char in project + dimension))
    seen = []

    def answer(request):
        seen.append(request)
        return httpx.Response(200, content=b"[]")

    http = Http("http://127.0.0.1:1/api", headers={}, transport=httpx.MockTransport(answer))
    reports = Reports(http, project, "UTC", at_once=1, newest_today=lambda *_: None)
    try:
        reports.insights(dimension)
    except ConnectorError as error:
        told(error)
        return
    (request,) = seen
    assert request.url.host == "127.0.0.1"
    assert request.url.raw_path.startswith(b"/api/insights/")
    assert request.url.raw_path.count(b"/") == 4
    assert parse_qsl(request.url.query.decode()) == []


@MANY
@given(ANY_TEXT | st.binary(max_size=40) | NASTY)
def test_whatever_is_shown_is_one_printable_line(value):
    shown = excerpt(value)
    assert shown.isprintable() or not shown
    assert len(shown) <= 300
    shown.encode()


# ---------- sizes


def test_an_answer_packed_twice_is_refused_before_it_is_unpacked():
    """64 kB of it are 64 GB; one packing is at most a thousand times its size, and counted piece by piece."""
    body = gzip.compress(gzip.compress(b" " * 2**20))
    network = httpx.MockTransport(
        lambda _: httpx.Response(200, content=body, headers={"content-encoding": "gzip, gzip"})
    )
    with (
        Http("http://127.0.0.1:1", headers={}, transport=network) as http,
        pytest.raises(ContractError, match="packed"),
    ):
        http.get("/x", where="here")


def test_a_page_of_five_gigabytes_is_refused_after_a_few(tmp_path):
    sent = []

    class Endless(httpx.SyncByteStream):
        def __iter__(self):
            for _ in range(5 * 1024):
                sent.append(1)
                yield b" " * 2**20

    network = httpx.MockTransport(lambda _: httpx.Response(200, stream=Endless()))
    with Http("http://127.0.0.1:1", headers={}, transport=network, largest_body=2**22) as http:
        with pytest.raises(ContractError, match="larger"):
            http.get("/x", where="here")
    assert len(sent) <= 6


@pytest.mark.parametrize(
    "location", ["http://[", "\x00", "//", "http://exa℀mple/", "javascript:x", "http://127.0.0.1:1:1/"]
)
def test_a_redirect_to_nowhere_is_told(location):
    network = httpx.MockTransport(lambda _: httpx.Response(302, headers=[(b"location", location.encode())]))
    with Http("http://127.0.0.1:1", headers={}, transport=network, sleep=lambda _: None) as http:
        with pytest.raises(ConnectorError) as caught:
            http.get("/x", where="here")
    told(caught.value)
