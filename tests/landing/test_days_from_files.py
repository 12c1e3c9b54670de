"""Exported files of every kind and spelling: what they hold lands, or the error says why it cannot."""

import csv
import gzip
import io
import json
from datetime import date

import pytest

from connector import ContractError
from connector.catalogue.userpilot import EVENTS
from connector.landing.days_from_files import Origin, land_files
from connector.privacy.policy import Privacy

DAY = date(2026, 3, 3)
ROW = {"inserted_at": f"{DAY}T01:00:00Z", "event_type": "track", "event_name": "x", "metadata": {"a": {"b": 1}}}


@pytest.fixture(params=["plain", "packed"])
def land_bytes(request, tmp_path, warehouse):
    """Lands one file of these bytes, plain and packed."""

    def run(content):
        file = tmp_path / "file"
        file.write_bytes(content if request.param == "plain" else gzip.compress(content))
        return land_files(warehouse, EVENTS, [file], Origin(first=DAY, last=DAY, job_id="j", fingerprint="f"))

    return run


def lines(*rows):
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def cells(*rows):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([rows[0].keys(), *(row.values() for row in rows)])
    return text.getvalue().encode()


@pytest.mark.parametrize("kind", [lines, cells])
@pytest.mark.parametrize(
    ("spelt", "utc"),
    [
        (1772580600, "23:30:00"),
        ("1772580600", "23:30:00"),
        (1772580600123, "23:30:00.123"),
        ("1772580600123", "23:30:00.123"),
        (1772580600123457, "23:30:00.123457"),
        ("1772580600123457", "23:30:00.123457"),
    ],
)
def test_a_moment_may_be_the_time_since_1970(land_bytes, query, kind, spelt, utc):
    receipt = land_bytes(kind(ROW, ROW | {"inserted_at": spelt}))
    assert (receipt.landed, receipt.outside) == (2, 0)
    assert query(f"select max(inserted_at) = '{DAY} {utc}Z'::timestamptz, count(_extra) from userpilot.events") == [
        (True, 0)
    ]


@pytest.mark.parametrize("kind", [lines, cells])
@pytest.mark.parametrize(
    "spelt",
    [177258060, 17725806001, 1772580600.5, "1772580600.5", -177258060, "١٧٧٢٥٨٠٦٠٠", "yesterday", "", None, True],
)
def test_what_is_no_moment_is_refused(land_bytes, kind, spelt):
    with pytest.raises(ContractError):
        land_bytes(kind(ROW, ROW | {"inserted_at": spelt}))


MARK = b"\xef\xbb\xbf"
OTHER = ROW | {"event_name": "y"}


@pytest.mark.parametrize(
    "content",
    [
        *(before + lines(ROW, OTHER) for before in (b"", MARK, MARK + b"\r\n", b"\n \n")),
        *(before + json.dumps([ROW, OTHER]).encode() for before in (b"", MARK, MARK + b"\r\n", b"\n \n")),
        *(before + cells(ROW, OTHER) for before in (b"", MARK)),
    ],
)
def test_a_byte_order_mark_and_blanks_before_a_text_are_no_part_of_it(land_bytes, query, content):
    receipt = land_bytes(content)
    assert (receipt.landed, receipt.duplicates, receipt.strangers) == (2, 0, frozenset())
    assert query("select list(event_name order by event_name) from userpilot.events") == [(["x", "y"],)]


@pytest.mark.parametrize("content", [MARK, MARK + b"\n", b""])
def test_a_mark_alone_is_a_file_without_rows(land_bytes, content):
    assert land_bytes(content).received == 0


@pytest.mark.parametrize("indent", [0, 1, "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_an_array_that_is_indented_holds_its_records_as_they_are(land_bytes, query, indent, end):
    text = json.dumps(
        [ROW | {"metadata": {"a": ["x\ny\ud83d", {"b": "1  2"}]}, "new": {"c": [1.10, {}]}}, ROW], indent=indent
    )
    assert land_bytes(text.replace("\n", end).encode()).landed == 2
    assert query("select metadata::varchar, _extra::varchar from userpilot.events order by 2") == [
        ('{"a":["x\\ny\N{REPLACEMENT CHARACTER}",{"b":"1  2"}]}', '{"new":{"c":[1.1,{}]}}'),
        ('{"a":{"b":1}}', None),
    ]


@pytest.mark.parametrize(
    "content", [b"[\n{\n}", b"[\n" + b"[" * 100_000 + b"]" * 100_000 + b"\n]", b"[\n1\n]", b"[\n{}\n]\n[]"]
)
def test_an_array_that_is_none_is_refused(land_bytes, content):
    with pytest.raises(ContractError):
        land_bytes(content)


@pytest.mark.parametrize("rules", ["without rules", "with rules"])
@pytest.mark.parametrize(
    ("more", "what"),
    [
        (["Plan", "plan"], "'Plan' and 'plan'"),
        (["x", "x"], "'x' and 'x'"),
        ([""], "without a name"),
        (["INSERTED_AT"], "called"),
    ],
)
def test_columns_that_cannot_be_told_apart_are_told(land_bytes, tmp_path, more, what, rules):
    """One of the cells would be lost; DuckDB's own words for it did not help."""
    content = "\n".join([",".join([*ROW, *more]), ",".join(["2026-03-03 01:00:00", "", "", "", *more])]) + "\n"
    with pytest.raises(ContractError, match=what) as told:
        if rules == "without rules":
            land_bytes(content.encode())
        file = tmp_path / "protected"
        file.write_text(content)
        Privacy({"userpilot.events": {"drop": ["user_agent"]}}).protector(EVENTS).files(
            [file], tmp_path / "made", where="here"
        )
    assert "ask for json" in str(told.value)
