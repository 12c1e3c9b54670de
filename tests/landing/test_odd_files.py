"""Files that DuckDB refuses or misreads: the exact rows land, or the error names the file, the line and the fault."""

import gzip
import json
import re
from datetime import date

import pytest

from connector.catalogue.userpilot import EVENTS
from connector.errors import ContractError, UndatedError
from connector.landing.days_from_files import Origin, land_files
from connector.privacy.policy import Privacy

DAY = date(2026, 3, 3)
MARK = b"\xef\xbb\xbf"
A = b'{"inserted_at":"2026-03-03T01:00:00Z","event_type":"track","event_name":"a","user_id":"u1"}\n'
B = b'{"inserted_at":"2026-03-03T02:00:00Z","event_type":"track","event_name":"b","user_id":"u2"}\n'
HEADER = b"inserted_at,event_type,event_name,user_id,metadata\n"
C = b"2026-03-03 01:00:00,track,a,u1,\n"
D = b'2026-03-03 02:00:00,track,b,u2,"{""k"": ""v""}"\n'


@pytest.fixture
def land(tmp_path, warehouse):
    """Lands files of these bytes, with rules about personal data or without."""

    def run(*contents, rules=None, **options):
        files = []
        for number, content in enumerate(contents, start=1):
            files.append(tmp_path / f"chunk-{number:05d}")
            files[-1].write_bytes(content)
        if rules:
            files = Privacy({"userpilot.events": rules}).protector(EVENTS).files(files, tmp_path / "made", where="here")
        origin = Origin(first=DAY, last=DAY, job_id="j", fingerprint="f", **options)
        return land_files(warehouse, EVENTS, files, origin)

    return run


@pytest.fixture
def names(query):
    return lambda: [name for (name,) in query("select event_name from userpilot.events order by inserted_at")]


WHOLE = {
    "blank lines before the header": b"\n \n" + HEADER + C + D,
    "blank lines at the end": HEADER + C + D + b"\n \n\n",
    "a blank line in the middle": HEADER + C + b"  \n" + D,
    "lines that end in CRLF": (HEADER + C + D).replace(b"\n", b"\r\n"),
    "lines that end in one way and in the other": (HEADER + C).replace(b"\n", b"\r\n") + D,
    "a mark before a later row": HEADER + C + MARK + D,
    "a mark before a later row of JSON": A + MARK + B,
    "a mark before the second packed member": gzip.compress(MARK + A) + gzip.compress(MARK + B),
    "a mark before the second packed member of CSV": gzip.compress(MARK + HEADER + C) + gzip.compress(MARK + D),
    "a comma at the end of a line": HEADER + C[:-1] + b",\n" + D,
    "no end of the last line": HEADER + C + D[:-1],
    "lines of JSON that end in CRLF": (A + b"\n" + B).replace(b"\n", b"\r\n"),
}


@pytest.mark.parametrize("rules", [None, {"drop": ["user_agent"]}], ids=["without rules", "with rules"])
@pytest.mark.parametrize("content", WHOLE.values(), ids=WHOLE)
def test_files_whose_rows_are_beyond_doubt_land(land, names, query, content, rules):
    receipt = land(content, rules=rules)
    assert (receipt.landed, receipt.undated, receipt.outside, names()) == (2, 0, 0, ["a", "b"])
    assert query("select count(*) filter (starts_with(event_type, 'track')), count(_extra) from userpilot.events") == [
        (2, 0)
    ]


@pytest.mark.parametrize("rules", [None, {"drop": ["user_agent"]}], ids=["without rules", "with rules"])
@pytest.mark.parametrize("text", ["a\rb", "a\r\nb", "\r", "a\n\nb\r", '"', "\ufeff", "x" * 3_000_000])
def test_a_quoted_cell_holds_any_text(land, names, text, rules):
    """A carriage return in an LF file is allowed by RFC 4180; 16 MiB is what the documentation promises."""
    cell = '"' + text.replace('"', '""') + '"'
    assert land(HEADER + C.replace(b",a,", f",{cell},".encode()) + D, rules=rules).landed == 2
    assert names() == [text, "b"]


@pytest.mark.parametrize("rules", [None, {"drop": ["user_agent"]}], ids=["without rules", "with rules"])
def test_the_first_cell_may_begin_with_a_mark_of_its_own(land, query, rules):
    content = b'event_name,inserted_at\n"\xef\xbb\xbfx",2026-03-03 01:00:00\n'
    assert land(content, rules=rules).landed == 1
    assert query("select event_name from userpilot.events") == [("\ufeffx",)]


@pytest.mark.parametrize(
    ("record", "kept"),
    [
        ('"user_id":"first","user_id":"second"', {"user_id (repeated)": ["first"]}),
        ('"user_id":"first","user_id":"first"', {"user_id (repeated)": ["first"]}),
        ('"user_id":1,"user_id":"x","user_id":"second"', {"user_id (repeated)": [1, "x"]}),
        ('"new":1,"new":2', {"new": 2, "new (repeated)": [1]}),
        ('"screen_width":5,"screen_width":"wide"', {"screen_width": "wide", "screen_width (repeated)": [5]}),
    ],
)
@pytest.mark.parametrize("kind", ["lines", "array"])
@pytest.mark.parametrize("beside", ["", ',"undeclared":1'], ids=["known fields", "an undeclared field"])
def test_the_last_value_of_a_repeated_key_lands_and_the_earlier_ones_are_kept(land, query, record, kept, kind, beside):
    text = f'{{"inserted_at":"2026-03-03T01:00:00Z",{record}}}\n{{"inserted_at":"2026-03-03T02:00:00Z"{beside}}}'
    land((text if kind == "lines" else f"[{text.replace(chr(10), ',')}]").encode())
    ((extra,),) = query("select _extra::varchar from userpilot.events order by inserted_at limit 1")
    assert json.loads(extra) == kept


@pytest.mark.parametrize("rules", [None, {"drop": ["user_agent"]}], ids=["without rules", "with rules"])
@pytest.mark.parametrize("array", [False, True], ids=["lines", "an array"])
def test_half_an_emoji_keeps_no_export_from_landing(land, names, rules, array):
    """A text that was cut inside a pair; no UTF-8 can hold the half."""
    cut = A.replace(b'"a"', b'"a\\ud83d"')
    land(b"[" + cut.strip() + b"," + B + b"]" if array else cut + B, rules=rules)
    assert names() == ["a\ufffd", "b"]


def test_an_object_inside_a_json_column_stays_the_text_that_was_sent(land, query):
    land(b'{"inserted_at":"2026-03-03T01:00:00Z","metadata":{"a":1,"a":{"b":1,"b":2}}}\n')
    assert query("select metadata::varchar, _extra from userpilot.events") == [('{"a":1,"a":{"b":1,"b":2}}', None)]


BROKEN = {
    "too few cells": (HEADER + C + b"2026-03-03 02:00:00,track\n", "line 3: 2 cells stand where the header has 5"),
    "too many cells": (HEADER + C + D[:-1] + b",x\n", "line 3: 6 cells"),
    "cut in a quoted cell": (HEADER + C + D[:-3], "line 3: a quoted cell begins that never ends"),
    "text behind a quote": (HEADER + C.replace(b"track", b'"tr"ack') + D, "line 2: a quoted cell ends"),
    "latin-1": (HEADER + C + D.replace(b",b,", b",\xe9,"), "line 3: byte 27 is 0xe9, which is not UTF-8"),
    "the header once more": (HEADER + C + HEADER + D, "line 3: the header stands there once more"),
    "CR alone": ((HEADER + C + D).replace(b"\n", b"\r"), "line 1: .*carriage return stands outside quotes"),
    "CR alone in the middle": (HEADER + C + D[:-1] + b"\r" + C, "line 3: a carriage return stands outside quotes"),
    "a line beyond all size": (
        HEADER + C + D.replace(b",b,", b"," + b"x" * 2**24 + b","),
        "line 3: the line is longer",
    ),
    "two records on a line": (A + B + b"\n" + A[:-1] + B, "line 4, .*two records stand on one line"),
    "records that end in CR": ((A + B).replace(b"\n", b"\r"), "line 1, .*with a carriage return between them"),
    "a cut record": (A + B[:-9], "line 2, "),
    "latin-1 in JSON": (A + B.replace(b'"b"', b'"\xe9"'), "line 2, .*byte 74 is 0xe9, which is not UTF-8"),
    "an array with no record": (b"[" + A + b", 1]", "record 2, "),
    "an array that is cut": (b"[" + A + b",\n" + B, "line 3, "),
}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
@pytest.mark.parametrize(("content", "what"), BROKEN.values(), ids=BROKEN)
def test_broken_files_are_told_with_file_and_line(land, content, what, packed):
    with pytest.raises(ContractError, match=rf"chunk-00002,? .*{what}|chunk-00002, {what}") as caught:
        land(A if content[:1] in b"[{" else HEADER + C, gzip.compress(content) if packed else content)
    said = str(caught.value)
    assert said.isprintable()
    assert re.search(r"(?i)select|insert into|read_csv|read_json|strict_mode|ignore_errors|/tmp|lines-", said) is None


def test_the_line_is_right_far_into_a_file(land):
    """Lines are counted only once something is wrong, and across the blocks a file is read in."""
    with pytest.raises(ContractError, match="line 9001, "):
        land(MARK + A * 9000 + b"nothing\n" + A)


TIMES = ["2026-02-29", "2026-03-03T10:00:60Z", "infinity", "-infinity", "", "yesterday", "2026-13-01T00:00:00Z", "0",
         "epoch", "-2026-03-03T01:00:00Z"]  # fmt: skip


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("kind", ["lines", "array", "csv"])
@pytest.mark.parametrize("beside", ["", "new"], ids=["known fields", "an undeclared field"])
def test_one_row_that_no_day_can_hold_is_told_and_the_rest_lands_once_that_is_allowed(
    land, names, query, time, kind, beside
):
    if kind == "csv":
        content = (
            HEADER.replace(b"metadata", beside.encode() or b"metadata")
            + C
            + D.replace(b"2026-03-03 02:00:00", time.encode())
        )
    else:
        bad = B.replace(b"2026-03-03T02:00:00Z", time.encode()).replace(b"{", b'{"new":1,' if beside else b"{")
        content = A + bad if kind == "lines" else b"[" + A + b"," + bad + b"]"
    place = "record 2" if kind == "array" else "line [23]"
    with pytest.raises(UndatedError, match=rf"1 rows have no usable inserted_at.*chunk-00001 {place} ") as caught:
        land(content)
    assert "--allow-undated" in caught.value.next_step
    assert query("select count(*) from duckdb_tables() where table_name = 'events'") == [(0,)]

    receipt = land(content, allow_undated=True)
    assert (receipt.landed, receipt.undated, receipt.outside, names()) == (1, 1, 0, ["a"])
    assert query("select rows_undated, rows_received, rows_outside from connector.export_jobs") == [(1, 1, 0)]
    ((warning,),) = query("select warnings from connector.landings")
    assert re.search(rf"1 rows without a usable inserted_at were left out: chunk-00001 {place} ", warning)


def test_allowing_it_changes_nothing_where_every_row_has_a_day(land, names):
    receipt = land(A + B, allow_undated=True)
    assert (receipt.landed, receipt.undated, receipt.warnings, names()) == (2, 0, (), ["a", "b"])


def test_of_many_rows_that_no_day_can_hold_three_are_named_and_all_are_counted(land):
    bad = B.replace(b"2026-03-03T02:00:00Z", b"infinity")
    with pytest.raises(UndatedError, match="20004 rows") as caught:
        land(A + bad * 4, bad * 20_000)
    assert len(re.findall("chunk-", caught.value.what)) == 3


def test_a_time_is_read_alike_whether_or_not_a_file_is_read_slowly(land, names):
    """``2026-03-03 01:00`` was a time in one block and none in another that held an undeclared field."""
    short = A.replace(b"T01:00:00Z", b" 01:00")
    assert land(short + B.replace(b"{", b'{"new":1,')).landed == 2
    assert names() == ["a", "b"]


@pytest.mark.parametrize("allowed", [False, True])
@pytest.mark.parametrize(
    "page", [b'{"message":"upstream timed out","status":503}\n', b'[{"unexpected":1},{"other":2}]']
)
def test_a_file_whose_records_are_no_events_is_refused_whatever_is_allowed(land, query, page, allowed):
    """Its rows are not rows of the export, so leaving them out would hide rows that are."""
    with pytest.raises(
        ContractError, match=r"chunk-00002 holds records of another shape; .* 1: '(message|unexpected)"
    ) as told:
        land(A, page, allow_undated=allowed)
    assert type(told.value) is ContractError
    assert query("select count(*) from duckdb_tables() where table_name = 'events'") == [(0,)]


def test_a_file_with_one_event_without_a_time_is_an_event_without_a_time(land, names):
    lost = b'{"event_name":"b","user_id":"u2"}\n'
    with pytest.raises(UndatedError, match="chunk-00002 line 1"):
        land(A, lost)
    assert land(A, lost, allow_undated=True).undated == 1
    assert names() == ["a"]
