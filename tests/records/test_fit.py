"""Nothing a vendor sends is dropped in silence: it fits its column, or it is kept in ``_extra``."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector import EVENTS, ContractError
from connector.records.fit import canonical, read_rows

ROW = {"id": "a", "createdAt": "2026-03-04T01:00:00.000Z"}


def read(*rows):
    return read_rows(json.dumps(rows).encode(), EVENTS, where="test")


def kept(rows):
    return json.loads(bytes(rows.body))


def test_a_row_that_fits_stays_the_bytes_it_came_as():
    body = json.dumps([ROW | {"name": "x", "revenue": 5, "properties": {"a.b": "1"}}]).encode()
    assert bytes(read_rows(body, EVENTS, where="test").body) == body


@pytest.mark.parametrize("place", [0, 1, 499, 998, 999])
def test_an_undeclared_field_is_kept_wherever_in_the_page_it_appears(place):
    rows = [ROW | {"id": str(number)} for number in range(1000)]
    rows[place] = rows[place] | {"brandNew": {"deep": [1, 2]}}

    result = read(*rows)

    assert result.strangers == {"brandNew"}
    assert kept(result)[place]["_extra"] == {"brandNew": {"deep": [1, 2]}}
    assert result.misfits == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("revenue", "abc"),
        ("revenue", 1.5),
        ("revenue", 2**63),
        ("revenue", True),
        ("longitude", "east"),
        ("groups", "acme"),
        ("groups", {"a": 1}),
        ("importedAt", "yesterday"),
        ("importedAt", 1_700_000_000),
    ],
)
def test_a_value_that_does_not_fit_is_kept(field, value):
    (row,) = kept(read(ROW | {field: value}))
    assert field not in row
    assert row["_extra"] == {field: value}


def test_a_number_beyond_any_type_is_kept():
    rows = read_rows(b'[{"id":"a","createdAt":"2026-03-04T01:00:00Z","revenue":1e999}]', EVENTS, where="test")
    assert b'"_extra":{"revenue":1e999}' in bytes(rows.body)


@pytest.mark.parametrize(
    ("field", "value", "landed"),
    [("revenue", 5.0, 5), ("revenue", None, None), ("longitude", 3, 3), ("name", 7, 7), ("name", {"a": 1}, {"a": 1})],
)
def test_a_value_that_fits_without_loss_is_landed(field, value, landed):
    (row,) = kept(read(ROW | {field: value, "unknown": 1}))
    assert row[field] == landed
    assert row["_extra"] == {"unknown": 1}


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[1]", b"[", b"[]x", b'[{"id":"a"}]', b'[{"createdAt":"2026-03-04T01:00:00Z"}]', b"\xff", b"null",
     b'[{"id":null,"createdAt":"2026-03-04T01:00:00Z"}]', b'[{"id":"","createdAt":"2026-03-04T01:00:00Z"}]'],
)  # fmt: skip
def test_what_is_not_rows_is_a_contract_error(body):
    with pytest.raises(ContractError):
        read_rows(body, EVENTS, where="test")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ('{"a": 1, "b": {"c": "é", "d": [{}]}}', '{"b":{"d":[{}],"c":"\\u00e9"},"a":1}', True),
        ("[1, 2]", "[2, 1]", False),
        ('{"a": 1}', '{"a": 1.0}', False),
        ('{"a": 1}', '{"a": true}', False),
        ('{"a": "1"}', '{"a": 1}', False),
        ('{"a": 0.1}', '{"a": 0.1000000000000000000001}', False),
        ('{"a": 1, "a": 2}', '{"a": 2}', False),
        ('{"a": 1, "a": 2}', '{"a": 2, "a": 1}', False),
        ("{}", "[]", False),
        ('{"number": "1"}', '["number", "1"]', False),
        ('{"a": ["number", "1"]}', '{"a": 1}', False),
        ("[" * 100_000 + "]" * 100_000, "[" * 100_000 + "1" + "]" * 100_000, False),
    ],
)
def test_json_is_the_same_only_if_it_says_the_same(one, other, same):
    assert (canonical(one) == canonical(other)) == same


plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = plain | st.lists(plain, max_size=3) | st.dictionaries(st.text(), plain, max_size=3)


@given(st.lists(st.dictionaries(st.sampled_from([c.field for c in EVENTS.columns]) | st.text(), values), max_size=4))
def test_every_value_of_every_row_is_somewhere(extra):
    """Property: whatever comes, a value stands in its column or in _extra, unchanged."""
    rows = [row | ROW | {"id": f"k{number}"} for number, row in enumerate(extra)]

    for sent, landed in zip(rows, kept(read(*rows)), strict=True):
        beside = landed.pop("_extra", {})
        assert {**landed, **beside} == sent


@given(st.binary(max_size=200))
def test_any_bytes_are_rows_or_a_contract_error(body):
    with contextlib.suppress(ContractError):
        read_rows(body, EVENTS, where="test")
