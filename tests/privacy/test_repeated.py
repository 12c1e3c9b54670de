"""Rules about personal data hold for every value of a key that stands twice in a record."""

import gzip
import json
from datetime import date

import pytest

from connector import EVENTS, ContractError, Page
from connector.catalogue.userpilot import EVENTS as EXPORTED
from connector.privacy.policy import Privacy
from connector.records.fit import read_rows
from connector.settings import Secret

DAY = date(2026, 3, 4)
KEY = Secret("a key that is long enough, 32 characters")
ROW = '"id":"a","createdAt":"2026-03-04T01:00:00.000Z"'
SECRETS = ("ann@example.com", "bob@example.com")
TWICE = [
    (["profile_id"], '"profileId":"ann@example.com","profileId":"bob@example.com"'),
    (["profile.email"], '"profile":{"email":"ann@example.com"},"profile":{"email":"bob@example.com"}'),
    (["profile.email"], '"profile":{"email":"ann@example.com","email":"bob@example.com"}'),
    (["profile.a.email"], '"profile":{"a":{"email":"ann@example.com"},"a":{"email":"bob@example.com"}}'),
    (["**.email"], '"properties":{"list":[{"email":"ann@example.com","email":["bob@example.com"]}]}'),
    (["_extra.mail"], '"mail":"ann@example.com","mail":"bob@example.com"'),
    (["profile.email"], '"profile":"{\\"email\\":\\"ann@example.com\\"}","profile":{"email":"bob@example.com"}'),
]


@pytest.mark.parametrize("act", ["drop", "hash"])
@pytest.mark.parametrize("other", ["", ',"brandNew":1'], ids=["known fields", "an undeclared field"])
@pytest.mark.parametrize(("paths", "members"), TWICE)
def test_no_value_of_a_repeated_key_escapes_a_rule(act, other, paths, members):
    rules = Privacy({"openpanel.events": {act: paths}}, key=KEY)
    rows = read_rows(f"[{{{ROW},{members}{other}}}]".encode(), EVENTS, where="test")
    page = Page(number=1, of=1, rows=1, announced=1, body=rows.body, misfits=rows.misfits)
    body = bytes(rules.protector(EVENTS).page(page).body).decode()
    assert [secret for secret in SECRETS if secret in body] == []
    (row,) = json.loads(body)
    if act == "hash" and paths == ["profile_id"]:
        (earlier,) = row["_extra"]["profileId (repeated)"]
        assert len({earlier, row["profileId"]}) == 2


def test_a_value_that_no_rule_names_is_kept_beside_a_rule():
    """The earlier value was lost where rules were applied to a page."""
    rows = read_rows(f'[{{{ROW},"name":"one","name":"two","profileId":"x"}}]'.encode(), EVENTS, where="test")
    page = Page(number=1, of=1, rows=1, announced=1, body=rows.body)
    made = Privacy({"openpanel.events": {"drop": ["profile_id"]}}, key=KEY).protector(EVENTS).page(page)
    (row,) = json.loads(bytes(made.body))
    assert (row["name"], row["_extra"], "profileId" in row, made.misfits) == (
        "two", {"name (repeated)": ["one"]}, False, 1,
    )  # fmt: skip


@pytest.mark.parametrize("act", ["drop", "hash"])
@pytest.mark.parametrize("kind", ["lines", "array"])
def test_no_value_of_a_repeated_key_escapes_from_a_file(tmp_path, act, kind):
    twice = '"user_agent":"ann@example.com","user_agent":"bob@example.com","event_name":"a","event_name":"b"'
    record = "{" + f'"inserted_at":"x",{twice}' + "}"
    (tmp_path / "file").write_text(record if kind == "lines" else f"[{record}]")
    rules = Privacy({"userpilot.events": {act: ["user_agent"]}}, key=KEY)
    (made,) = rules.protector(EXPORTED).files([tmp_path / "file"], tmp_path / "made", where="here")
    text = gzip.decompress(made.read_bytes()).decode()
    assert [secret for secret in SECRETS if secret in text] == []
    assert '"event_name":"b"' in text
    assert '"event_name (repeated)":["a"]' in text


HEADER = "inserted_at,event_name,user_id\n"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (f"\n{HEADER}2026-03-04,a\n", "line 3: 2 cells"),
        (f"{HEADER}2026-03-04,a,b,c\n", "line 2: 4 cells"),
        (f"{HEADER}2026-03-04,a,b\n{HEADER}", "line 3: the header"),
        (f'{HEADER}2026-03-04,a,"b\n', "line 2: a quoted cell begins"),
        ('{"inserted_at":"x"}\n\n{"a":1}{"b":2}\n', "line 3: "),
    ],
)
def test_a_file_that_is_read_for_rules_is_as_strictly_read(tmp_path, content, what):
    """Cells too many were dropped in silence, and with them what they held."""
    (tmp_path / "file").write_text(content)
    rules = Privacy({"userpilot.events": {"drop": ["user_agent"]}}, key=KEY)
    with pytest.raises(ContractError, match=what) as caught:
        rules.protector(EXPORTED).files([tmp_path / "file"], tmp_path / "made", where="here")
    assert "file" in caught.value.what


@pytest.mark.parametrize(
    "rows",
    ["2026-03-04,a,b\n\n\n2026-03-05,c,d\n", '2026-03-04,"a\rb","c\n\nd"\n2026-03-05,c,d\n', f"x,{'y' * 200_000},z\n"],
)
def test_a_file_keeps_its_lines_and_cells_when_rules_were_applied(tmp_path, rows):
    (tmp_path / "file").write_bytes(("\n" + HEADER + rows).encode())
    rules = Privacy({"userpilot.events": {"drop": ["user_agent"]}}, key=KEY)
    (made,) = rules.protector(EXPORTED).files([tmp_path / "file"], tmp_path / "made", where="here")
    text = gzip.decompress(made.read_bytes()).decode()
    assert text.replace('"', "") == ("\n" + HEADER + rows).replace('"', "")
