"""A key that stands twice in one object: the last value counts, and the earlier ones are kept beside it."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector import EVENTS
from connector.records.fit import parsed, read_rows, refitted
from connector.records.members import members, objects

ROW = b'"id":"a","createdAt":"2026-03-04T01:00:00.000Z"'


def texts(found):
    return {name: bytes(raw).decode() for name, raw in found.items()}


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b'{"a":1}', {"a": "1"}),
        (b'{"a":1,"a":2}', {"a": "2", "a (repeated)": "[1]"}),
        (b'{"a":1,"b":0,"a":2,"a":3}', {"a": "3", "b": "0", "a (repeated)": "[1,2]"}),
        (b'{"a":1,"\\u0061":1}', {"a": "1", "a (repeated)": "[1]"}),
        (b' { "a" : 1.10 ,\n"a" : { "x" : [ ] , "x":1} }', {"a": '{ "x" : [ ] , "x":1}', "a (repeated)": "[1.10]"}),
        # What is missing is as long as the blanks inside the values.
        (b'{"a":{"x":  1},"b":"1","b":2}', {"a": '{"x":  1}', "b": "2", "b (repeated)": '["1"]'}),
        (b'{"a":1e999,"a":' + b"9" * 5000 + b"}", {"a": "9" * 5000, "a (repeated)": "[1e999]"}),
        ('{"é":"}","é":"{\\"a\\":"}'.encode(), {"é": '"{\\"a\\":"', "é (repeated)": '["}"]'}),
        (b'{"a (repeated)":0,"a":1,"a":2}', {"a": "2", "a (repeated)": "[0,1]"}),
        (b"{}", {}),
    ],
)
def test_no_value_of_a_repeated_key_is_lost_and_each_keeps_its_spelling(sent, kept):
    assert texts(members(sent)) == kept
    assert [texts(found) for found in objects(b"[" + sent + b',{"a":1}]')] == [kept, {"a": "1"}]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers() | st.text() | st.lists(st.none())), max_size=6))
def test_all_values_are_there_in_the_order_they_were_sent(pairs):
    """Property: the lists and the last values are what was sent."""
    text = "{" + ", ".join(f"{json.dumps(key)} : {json.dumps(value)}" for key, value in pairs) + "}"
    found = msgspec.json.decode(msgspec.json.encode(members(text.encode())))
    for key in "abc":
        sent = [value for name, value in pairs if name == key]
        assert [*found.get(f"{key} (repeated)", []), *([found[key]] if key in found else [])] == sent


def test_documents_that_are_read_as_values_follow_the_same_rule_at_any_depth():
    assert parsed(b'{"a":1,"a":{"b":1,"b":2}}') == {"a": {"b": 2, "b (repeated)": [1]}, "a (repeated)": [1]}


@pytest.mark.parametrize("other", [b"", b',"brandNew":1'], ids=["alone", "beside an undeclared field"])
def test_a_page_keeps_the_earlier_value_in_extra_whatever_else_it_holds(other):
    """The first value was gone where any record of the page had an undeclared field."""
    body = (
        b"[{" + ROW + b',"name":"first","name":"second"},{"id":"b","createdAt":"2026-03-04T02:00:00Z"' + other + b"}]"
    )
    rows = read_rows(body, EVENTS, where="test") if other else refitted(body, EVENTS, where="test")
    first = json.loads(bytes(rows.body))[0]
    assert (first["name"], first["_extra"]) == ("second", {"name (repeated)": ["first"]})


def test_what_is_in_extra_already_stays_there_when_a_page_is_fitted_again():
    body = b"[{" + ROW + b',"_extra":{"old":1},"importedAt":"2026-02-30T00:00:00Z"}]'
    (row,) = json.loads(bytes(refitted(body, EVENTS, where="test").body))
    assert row["_extra"] == {"old": 1, "importedAt": "2026-02-30T00:00:00Z"}
