"""Exported files of every kind and spelling: what they hold lands, or somebody is told why it cannot."""

import csv
import gzip
import io
import json
from datetime import date

import pytest

from connector import ContractError
from connector.landing_files import Origin, land_files
from connector.userpilot.streams import EVENTS

DAY = date(2026, 3, 3)
ROW = {"inserted_at": f"{DAY}T01:00:00Z", "event_type": "track", "event_name": "x", "metadata": {"a": {"b": 1}}}


@pytest.fixture(params=["plain", "packed"])
def land_bytes(request, tmp_path, warehouse):
    """Lands one file of these bytes, plain and packed."""

    def run(content):
        file = tmp_path / "file"
        file.write_bytes(content if request.param == "plain" else gzip.compress(content))
        return land_files(warehouse, EVENTS, [file], DAY, DAY, origin=Origin(job_id="j", fingerprint="f"))

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
