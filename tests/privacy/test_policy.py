"""What a rule names is on no disk afterwards, in no spelling and no place; what no rule names is as it was sent."""

import hashlib
import hmac
import json
import re
from datetime import date, timedelta

import pytest

from connector import EVENTS, SettingsError, Warehouse, sync_day
from connector.catalogue.openpanel import CHARTS, STREAMS
from connector.catalogue.userpilot import EVENTS as EXPORTED
from connector.openpanel.settings import OpenPanelSettings
from connector.privacy.policy import Privacy
from connector.sandbox import READ
from connector.settings import Environment
from connector.stream import Page
from connector.warehouse.coverage import under_other_rules
from tests.conftest import DAY
from tests.factories import openpanel_client
from tests.landing.test_day import page as page_of
from tests.privacy.conftest import KEY, RULES


def hashed(text):
    return hmac.new(KEY.encode(), text.encode(), hashlib.sha256).hexdigest()[:32]


def protected(rows, rules, stream=EVENTS):
    """Rows of a page after the rules, as Python sees them."""
    found = Privacy({f"{stream.vendor}.{stream.name}": rules}, key=KEY).protector(stream).page(page_of(rows))
    return json.loads(bytes(found.body)), found


def bytes_below(folder):
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


@pytest.fixture
def ada(vendor):
    """One known person with a name, an address in every place an address can be, and one anonymous visitor."""
    vendor.add_profile("user-ada", first_name="Adaxq", last_name="Lovelacexq", email="ada.xq@example.com")
    properties = {"plan": "team", "contact.email": "ada.xq@example.com", "Email": "ada.xq@example.com"}
    vendor.add("e1", at=f"{DAY}T08:00:00Z", profile_id="user-ada", device_id="d" * 32, properties=properties,
               latitude=59.3293, longitude=18.0686)  # fmt: skip
    vendor.add("e2", at=f"{DAY}T09:00:00Z", profile_id="f" * 32, device_id="f" * 32)


def test_nothing_that_a_rule_names_is_written_anywhere(ada, private_sync, query, tmp_path, monkeypatch):
    import connector.spool

    spooled = []
    write = connector.spool._write
    monkeypatch.setattr(
        connector.spool,
        "_write",
        lambda folder, name, page, where: spooled.append(bytes(page.body)) or write(folder, name, page, where),
    )
    receipt = private_sync()

    assert (receipt.landed, receipt.announced, receipt.misfits) == (2, 2, 0)
    everything = b"".join(spooled) + bytes_below(tmp_path) + repr(receipt).encode()
    for trace in (b"Adaxq", b"Lovelacexq", b"ada.xq", b"user-ada", b"18.0686", b"d" * 32):
        assert trace not in everything, trace
    ((profile_id, profile, properties),) = query(
        "select profile_id, profile::varchar, properties::varchar from openpanel.events where name = 'screen_view' "
        "and profile is not null"
    )
    assert profile_id == hashed("user-ada")
    profile, properties = json.loads(profile), json.loads(properties)
    assert profile["id"] == profile_id, "the person's id inside the profile is the same value"
    assert profile["email"] == hashed("ada.xq@example.com") == properties["contact.email"] == properties["Email"]
    assert properties["plan"] == "team"
    assert not {"firstName", "lastName"} & profile.keys()


def test_landing_again_in_another_process_gives_the_same_rows(ada, private_sync, query):
    """A hash that differs from night to night would make two people of one."""
    private_sync()
    before = query("select * exclude (_load_id, _landed_at, profile) from openpanel.events order by id")
    receipt = private_sync()
    assert query("select * exclude (_load_id, _landed_at, profile) from openpanel.events order by id") == before
    assert (receipt.landed, receipt.replaced) == (2, 2)


def test_anonymous_people_stay_recognisable_and_an_empty_id_stays_empty(ada, vendor, private_sync, query):
    vendor.add("e3", at=f"{DAY}T10:00:00Z", profile_id="", device_id="")
    private_sync()
    assert query("select count(*) from openpanel.events where profile_id = device_id and profile_id <> ''") == [(1,)]
    assert query("select count(*) from openpanel.events where profile_id = '' and device_id = ''") == [(1,)]


def test_another_instance_has_rules_of_its_own():
    assert Privacy(RULES, key=KEY).protector(EVENTS.of("shop")) is not None
    assert Privacy({}).protector(EVENTS.of("shop")) is None


def test_what_no_rule_names_keeps_its_spelling():
    """1.50 and a thirty-digit number must not be rounded on their way through."""
    inside = b'{"price":1.50,"n":123456789012345678901234567890,"email":"x"}'
    body = b'[{"id":"a","createdAt":"2026-03-04T01:00:00Z","properties":' + inside + b"}]"
    sent = Page(number=1, of=1, rows=1, announced=1, body=body)
    found = Privacy({"openpanel.events": {"drop": ["properties.email"]}}).protector(EVENTS).page(sent)
    assert bytes(found.body) == body.replace(b',"email":"x"', b"")


def test_a_stream_without_rules_is_not_even_looked_at():
    pages = iter([])
    assert Privacy(RULES, key=KEY).pages(CHARTS, pages) is pages


@pytest.mark.parametrize(
    ("rule", "sent"),
    [
        ("properties.email", {"properties": {"email": "SECRET"}}),
        ("properties.email", {"properties": {"eMail": "SECRET", "E-Mail": "SECRET"}}),
        ("properties.first_name", {"properties": {"firstName": "SECRET", "First Name": "SECRET"}}),
        ("properties.address", {"properties": {"address.street": "SECRET", "address.city": "SECRET"}}),
        ("properties.address.street", {"properties": {"address": {"street": "SECRET"}, "address.street": "SECRET"}}),
        ("properties.items.*.name", {"properties": {"items": [{"name": "SECRET"}, {"name": "SECRET"}]}}),
        ("properties.items.*.name", {"properties": {"items.0.name": "SECRET"}}),
        ("properties.email", {"properties": '{"email": "SECRET"}'}),
        ("**.email", {"properties": {"a": {"b": [{"email": {"work": "SECRET"}}]}, "user.email.0": "SECRET"}}),
        ("**.email", {"path": {"email": "SECRET"}, "properties": {"n": 1}}),
        ("**.user.email", {"properties": {"user": {"email": "SECRET"}, "user.email": "SECRET"}}),
        ("profile.email", {"email": "SECRET"}),
        ("profile.email", {"account": {"owner": {"Email": "SECRET"}}}),
        ("profile.email", {"profile.email": "SECRET"}),
        ("_extra.ip", {"ip": "SECRET", "request": {"ip": "SECRET"}}),
        ("profile", {"person": {"profile": "SECRET"}}),
        ("groups", {"groups": ["SECRET"]}),
        ("groups", {"groups": "SECRET"}),
    ],
)
def test_a_name_does_not_slip_by_in_another_spelling_or_place(rule, sent):
    from connector.records.fit import read_rows

    rows = read_rows(json.dumps([{"id": "a", "createdAt": f"{DAY}T01:00:00Z", **sent}]).encode(), EVENTS, where="x")
    sent_page = Page(number=1, of=1, rows=1, announced=1, body=rows.body, misfits=rows.misfits)
    for act in ("drop", "hash"):
        found = Privacy({"openpanel.events": {act: [rule]}}, key=KEY).protector(EVENTS).page(sent_page)
        assert b"SECRET" not in bytes(found.body), bytes(found.body)
        assert (hashed("SECRET").encode() in bytes(found.body)) == (act == "hash")
        (row,) = json.loads(bytes(found.body))
        assert found.misfits == ("_extra" in row), "an _extra without anything in it is none"


def test_a_name_does_not_slip_by_behind_an_escape():
    inside = rb'{"\u0065mail": "SECRET", "a": "{\"em\\u0061il\": \"SECRET\"}"}'
    body = b'[{"id":"a","createdAt":"2026-03-04T01:00:00Z","properties":' + inside + b"}]"
    sent = Page(number=1, of=1, rows=1, announced=1, body=body)
    found = Privacy({"openpanel.events": {"drop": ["**.email"]}}).protector(EVENTS).page(sent)
    assert b"SECRET" not in bytes(found.body), bytes(found.body)


def test_equal_people_have_equal_hashes_at_both_vendors():
    (one,), _ = protected([{"id": "a", "profileId": "42"}], {"hash": ["profile_id"]})
    (other,), _ = protected(
        [{"inserted_at": "2026-03-04T00:00:00Z", "user_id": 42, "createdAt": None}], {"hash": ["user_id"]}, EXPORTED
    )
    assert one["profileId"] == other["user_id"] == hashed("42")


# ---------- Userpilot


def people(pilot):
    metadata = {"email": "ada.xq@example.com", "name": "Adaxq", "address.street": "Streetxq", "logins": 28}
    pilot.add_event(at="2026-03-03T08:00:00Z", event_type="identify_user", user_id="user-ada", metadata=metadata)
    pilot.add_event(at="2026-03-03T09:00:00Z", user_id="user-ada", metadata=json.dumps(metadata), user_agent="Agentxq")
    pilot.add_event(at="2026-03-03T10:00:00Z", event_type="identify_company", user_id="", company_id="c-1", metadata={})
    pilot.add_event(
        at="2026-03-03T11:00:00Z", user_id="user-ada", metadata={}, name="Adaxq", contact={"EMail": "ada.xq"}
    )


@pytest.mark.parametrize("form", ["json", "csv"])
def test_exported_files_land_without_what_a_rule_names(pilot, private_land, query, tmp_path, request_, form):
    from connector.userpilot.exports.request import Options, Request

    people(pilot)
    options = Options.of({"event_type": list(request_.options.event_type), "format": form})
    asked = Request.checked(request_.first, request_.last, options, today=date(2026, 3, 10))
    (receipt,) = private_land(request=asked)

    assert receipt.landed == 4
    everything = bytes_below(tmp_path) + repr(receipt).encode()
    for trace in (b"ada.xq", b"Adaxq", b"Streetxq", b"Agentxq", b"user-ada"):
        assert trace not in everything, trace
    rows = query("select user_id, metadata::varchar from userpilot.events order by inserted_at")
    assert [row[0] or "" for row in rows] == [hashed("user-ada"), hashed("user-ada"), "", hashed("user-ada")]
    for _, metadata in rows[:2]:
        assert {k: str(v) for k, v in json.loads(metadata).items()} == {
            "email": hashed("ada.xq@example.com"),
            "logins": "28",
        }


def test_exported_files_hashed_with_another_key_are_refused_and_land_with_the_old_one(pilot, private_land, query):
    people(pilot)
    private_land()
    before = query("select user_id, _load_id from userpilot.events order by all")

    with pytest.raises(SettingsError, match="is not the key that userpilot has been hashed with"):
        private_land(key="another key of sixteen characters")

    assert query("select user_id, _load_id from userpilot.events order by all") == before
    (receipt,) = private_land()
    assert receipt.landed == len(before)


def test_files_are_removed_once_they_are_landed(pilot, private_land, tmp_path):
    people(pilot)
    private_land()
    assert [file.name for file in (tmp_path / "spool").rglob("chunk-*")] == []


def test_with_rules_every_day_holds_as_many_rows_as_the_vendor_has(pilot, private_land, query):
    pilot.load_sample(date(2026, 3, 1), date(2026, 3, 8))
    private_land()
    found = dict(query("select _day, count(*) from userpilot.events group by 1"))
    assert found == {
        day: pilot.count(day, distinct=True) for day in (date(2026, 3, 2) + timedelta(n) for n in range(5))
    }


# ---------- what is refused


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ({"openpanel.event": {"drop": ["profile"]}}, "openpanel.event is not a table"),
        ({"openpannel.events": {"drop": ["profile"]}}, "is not a table of the catalogue"),
        ({"openpanel.events": {"drop": ["profil"]}}, "has no column profil"),
        ({"openpanel.events": {"drop": ["ip"]}}, "write _extra.ip"),
        ({"openpanel.events": {"mask": ["profile"]}}, "mask is not known"),
        ({"openpanel.events": {"drop": "profile"}}, "is not a list"),
        ({"openpanel.events": ["profile"]}, "is list"),
        ({"openpanel.events": {"drop": ["profile..email"]}}, "which is no path"),
        ({"openpanel.events": {"drop": [""]}}, "which is no path"),
        ({"openpanel.events": {"drop": [7]}}, "which is no path"),
        ({"openpanel.events": {"drop": ["a\nb"]}}, "which is no path"),
        ({"openpanel.events": {"drop": ["*"]}}, "write ** in front only"),
        ({"openpanel.events": {"drop": ["city.name"]}}, "which has no members"),
        ({"openpanel.events": {"drop": ["id"]}}, "part of the key"),
        ({"openpanel.events": {"drop": ["created_at"]}}, "part of the key"),
        ({"userpilot.events": {"drop": ["user_id"]}}, "hash it instead"),
        ({"openpanel.charts": {"drop": ["breakdowns.profile_id"]}}, "part of the key"),
        ({"openpanel.events": {"hash": ["created_at"]}}, "cannot hold a hash"),
        ({"openpanel.events": {"hash": ["latitude"]}}, "drop it instead"),
        ([], "is list"),
    ],
)  # fmt: skip
def test_a_rule_that_cannot_be_kept_is_refused_in_one_sentence(rules, says):
    with pytest.raises(SettingsError) as caught:
        Privacy(rules, key=KEY)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("key", "says"), [(None, "is not set"), ("short", "is shorter than 16")])
def test_a_hash_needs_a_key_that_cannot_be_guessed(key, says):
    with pytest.raises(SettingsError, match=f"CONNECTOR_HASH_KEY {says}"):
        Privacy({"openpanel.events": {"hash": ["profile_id"]}}, key=key)


def test_the_environment_names_the_file_and_the_key(tmp_path):
    file = tmp_path / "rules.yaml"
    file.write_text("openpanel.events: {hash: [profile_id]}\nuserpilot.surveys: {drop: [title]}\n")
    env = {
        "OPENPANEL_CLIENT_ID": READ.id,
        "OPENPANEL_CLIENT_SECRET": READ.secret,
        "OPENPANEL_PROJECT_ID": "demo",
        "CONNECTOR_PERSONAL_DATA": str(file),
        "CONNECTOR_HASH_KEY": KEY,
    }
    settings = OpenPanelSettings.load(Environment(env))
    assert settings.privacy.tables == {"openpanel.events": 1, "userpilot.surveys": 1}
    assert KEY not in repr(settings)
    with pytest.raises(SettingsError, match="CONNECTOR_HASH_KEY"):
        OpenPanelSettings.load(Environment(env | {"CONNECTOR_HASH_KEY": ""}))
    with pytest.raises(SettingsError, match="cannot be read"):
        OpenPanelSettings.load(Environment(env | {"CONNECTOR_PERSONAL_DATA": str(tmp_path / "gone.yaml")}))


def test_definitions_with_an_impossible_rule_do_not_load(tmp_path, monkeypatch):
    from connector.dagster import build_definitions

    file = tmp_path / "rules.yaml"
    file.write_text("openpanel.events: {drop: [id]}\n")
    monkeypatch.setenv("CONNECTOR_PERSONAL_DATA", str(file))
    with pytest.raises(SettingsError, match="part of the key"):
        build_definitions()


def test_a_bottomless_value_is_refused_and_not_a_crash():
    from connector import ContractError

    body = b'[{"id":"a","createdAt":"2026-03-04T01:00:00Z","properties":%s"email"%s}]' % (b"[" * 3000, b"]" * 3000)
    sent = Page(number=1, of=1, rows=1, announced=1, body=body)
    with pytest.raises(ContractError, match="nested too deeply"):
        Privacy({"openpanel.events": {"drop": ["**.email"]}}).protector(EVENTS).page(sent)


LISTS = {"sessions", "profiles"}


@pytest.mark.parametrize("stream", [one for one in STREAMS if one.name in LISTS], ids=lambda one: one.name)
def test_a_table_of_people_that_the_rules_do_not_mention_is_refused(stream):
    """It would be landed with the ids that the rules hash elsewhere. No request is sent."""
    with pytest.raises(SettingsError, match=rf"without a word about {stream.table}.*`{stream.table}: {{}}`"):
        Privacy({"openpanel.events": {"hash": ["profile_id"]}}, key=KEY).pages(stream, iter(()))
    mentioned = Privacy({"openpanel.events": {"hash": ["profile_id"]}, stream.table: {}}, key=KEY)
    assert list(mentioned.pages(stream, iter(()))) == []
    assert list(Privacy({"userpilot.events": {"drop": ["user_agent"]}}).pages(stream, iter(()))) == []
    assert list(Privacy({"openpanel.events": {"drop": ["city"]}}).pages(EVENTS, iter(()))) == []


def test_lists_land_under_their_rules_with_hashes_that_join(vendor, url, tmp_path):
    vendor.add_profile("ada", email="ada@x.example", first_name="Ada", properties={"phone": "1", "plan": "x"})
    vendor.add("e", at="2026-03-04T10:00:00Z", profile_id="ada", device_id="d", session_id="s")
    rules = {
        "openpanel.events": {"hash": ["profile_id", "device_id", "**.email"]},
        "openpanel.sessions": {"hash": ["profile_id", "device_id"]},
        "openpanel.profiles": {"hash": ["id", "email"], "drop": ["first_name", "properties.phone"]},
    }
    store = Warehouse(tmp_path / "w.duckdb")
    with openpanel_client(url, privacy=Privacy(rules, key=KEY)) as client:
        for stream in [one for one in STREAMS if one.name in ("events", *LISTS)]:
            sync_day(client, stream, DAY, warehouse=store, spool_dir=tmp_path / "s")
    with store.read() as connection:
        joined = connection.execute(
            "select count(*) from openpanel.events e join openpanel.sessions s using (profile_id, device_id) "
            "join openpanel.profiles p on p.id = e.profile_id where p.first_name is null "
            'and p.properties::varchar = \'{"plan":"x"}\' and length(p.email) = 32'
        ).fetchone()
    assert joined == (1,)
    assert b"ada@x.example" not in (tmp_path / "w.duckdb").read_bytes()


def test_the_document_lists_every_personal_column():
    from pathlib import Path

    from connector.catalogue.tables import tables

    text = (Path(__file__).parents[2] / "docs" / "personal-data.md").read_text()
    told = text.split("<!-- personal -->")[1].split("<!-- /personal -->")[0]
    flagged = {
        f"{table.schema}.{table.name}": [column.name for column in table.columns if column.personal]
        for table in tables()
        if table.vendor
    }
    rows = [f"| `{table}` | {', '.join(f'`{name}`' for name in names)} |" for table, names in flagged.items() if names]
    assert told.strip().splitlines()[2:] == rows


def test_the_rules_of_the_document_are_valid():
    from pathlib import Path

    import yaml

    text = (Path(__file__).parents[2] / "docs" / "personal-data.md").read_text()
    rules = yaml.safe_load(text.split("```yaml")[1].split("```")[0])
    assert sum(Privacy(rules, key=KEY).tables.values()) == 12


def test_another_key_is_refused_before_it_gives_every_person_another_hash(vendor, private_sync, query):
    vendor.add("a", at=f"{DAY}T08:00:00Z", profileId="user-42")
    private_sync()
    (before,) = query("select id, profile_id, _load_id from openpanel.events")

    with pytest.raises(SettingsError, match=r"CONNECTOR_HASH_KEY is not the key .* openpanel .* set the old key again"):
        private_sync(key="another key of sixteen characters")

    assert query("select id, profile_id, _load_id from openpanel.events") == [before]
    assert private_sync().landed == 1, "the old key is still welcome"
    (mark,) = query("select fingerprint from connector.hash_keys where schema_name = 'openpanel'")
    assert len(mark[0]) == 16
    assert mark[0] not in (hashed(""), hashed("which key is this")[:16])


def test_a_new_start_with_another_key_is_confirmed_in_the_warehouse(vendor, private_sync, warehouse, query):
    vendor.add("a", at=f"{DAY}T08:00:00Z", profileId="user-42")
    private_sync()
    with pytest.raises(SettingsError) as refused:
        private_sync(key="another key of sixteen characters")
    (statement,) = re.findall(r"`(delete [^`]+)`", str(refused.value))
    with warehouse.write() as connection:
        connection.execute(statement)

    private_sync(key="another key of sixteen characters")

    assert query("select profile_id from openpanel.events") != [(hashed("user-42"),)]
    with pytest.raises(SettingsError):
        private_sync()


def test_dropping_alone_remembers_no_key(vendor, private_sync, query):
    vendor.add("a", at=f"{DAY}T08:00:00Z", profileId="user-42")
    private_sync(rules={"openpanel.events": {"drop": ["city"]}})
    private_sync(rules={"openpanel.events": {"drop": ["city"]}}, key="another key of sixteen characters")
    assert query("select count(*) from duckdb_tables() where table_name = 'hash_keys'") == [(0,)]


ONE_RULE = {"openpanel.events": {"drop": ["city"]}}


def other_rules(warehouse, rules):
    privacy = Privacy(rules, key=KEY)
    return under_other_rules(warehouse, {stream.table: privacy.fingerprint(stream) for stream in (EVENTS, EXPORTED)})


def test_days_that_landed_under_other_rules_are_known_until_they_land_again(ada, vendor, private_sync, warehouse):
    vendor.add("b", at=f"{DAY + timedelta(days=1)}T08:00:00Z")
    private_sync(rules=ONE_RULE)
    private_sync(rules=RULES, day=DAY + timedelta(days=1))
    assert other_rules(warehouse, RULES) == {"openpanel.events": (2, DAY, DAY)}
    assert other_rules(warehouse, {}) == {"openpanel.events": (3, DAY, DAY + timedelta(days=1))}
    private_sync(rules=RULES)
    assert other_rules(warehouse, RULES) == {}


def test_rules_are_the_same_in_another_order_and_spelling():
    one = {"openpanel.events": {"drop": ["city", "profile.first_name"], "hash": ["profile_id"]}}
    same = {"openpanel.events": {"hash": ["profileId"], "drop": ["profile.First Name", "city", "city"]}}
    other = {"openpanel.events": {"drop": ["profile_id", "city", "profile.first_name"]}}
    marks = [Privacy(rules, key=KEY).fingerprint(EVENTS) for rules in (one, same, other, {})]
    assert marks[0] == marks[1]
    assert len(set(marks)) == 3
    assert marks[3] == ""
    assert Privacy(one, key=f"{KEY}!").fingerprint(EVENTS) != marks[0]


def test_a_growing_day_is_read_whole_when_the_rules_were_changed(vendor, private_sync, query):
    """Added to, it would keep until tomorrow what today's rule drops."""
    vendor.add("a", at=f"{DAY}T08:00:00Z", city="Cityxq")
    private_sync(rules={})
    vendor.add("b", at=f"{DAY}T09:00:00Z", city="Cityxq")
    assert private_sync(rules=ONE_RULE, incremental=True).incremental is False
    assert query("select distinct city from openpanel.events") == [(None,)]
    vendor.add("c", at=f"{DAY}T10:00:00Z", city="Cityxq")
    assert private_sync(rules=ONE_RULE, incremental=True).incremental is True


def test_exported_days_and_empty_ones_say_under_which_rules_they_landed(pilot, private_land, query, warehouse):
    people(pilot)
    private_land()
    assert query("select distinct rules from connector.landings") == [(Privacy(RULES, key=KEY).fingerprint(EXPORTED),)]
    assert other_rules(warehouse, RULES) == {}
    assert other_rules(warehouse, {})["userpilot.events"][0] == 4


def test_a_warehouse_that_was_written_before_rules_were_noted_is_one_without_rules(ada, private_sync, warehouse):
    private_sync(rules={})
    with warehouse.write() as connection:
        connection.execute("alter table connector.landings drop column rules")
    assert other_rules(warehouse, RULES) == {}, "nothing is noted"
    private_sync(rules={}, incremental=True)
    assert other_rules(warehouse, {}) == {}
    assert other_rules(warehouse, RULES)["openpanel.events"][0] == 2
