"""The way back: everything once, or said to be unknown; a second run sends only what changed."""

import json
import random
import subprocess
import sys
import textwrap
import time

import httpx
import pytest

from connector import OpenPanel as Client
from connector import RejectedError, SettingsError
from connector.errors import BusyError
from connector.openpanel.track.journal import journal
from connector.openpanel.track.plan import Outbox
from connector.openpanel.track.send import deliver, describe
from connector.sandbox import READ, OpenPanel, serve, vendor_variables


@pytest.fixture
def fill(warehouse):
    def run(sql):
        with warehouse.write() as connection:
            connection.execute(sql)

    return run


@pytest.fixture
def send(openpanel, warehouse, tmp_path):
    def run(outbox, **options):
        with openpanel.track(settle=0.0, a_second=10_000) as track:
            return deliver(outbox, track, warehouse=warehouse, folder=tmp_path / "outbox", **options)

    return run


def bodies(vendor):
    return [request.json() for request in vendor.requests if request.path == "/track"]


PEOPLE = Outbox(name="people", kind="identify", query="select * from people order by profile_id")


@pytest.fixture
def people(fill):
    fill("""create table people as select 'u-' || i as profile_id, 'First' || i as first_name, i * 10 as seats
        from range(5) t(i)""")


def test_profiles_are_sent_and_then_only_what_changed(vendor, send, people, fill):
    assert send(PEOPLE).sent == 5
    assert bodies(vendor)[0]["type"] == "identify"
    payloads = {body["payload"]["profileId"]: body["payload"] for body in bodies(vendor)}
    assert payloads["u-3"] == {"profileId": "u-3", "firstName": "First3", "properties": {"seats": 30}}
    vendor.requests.clear()

    assert send(PEOPLE).unchanged == 5
    assert bodies(vendor) == []
    fill("update people set seats = 99 where profile_id = 'u-2'")
    assert (send(PEOPLE).sent, len(bodies(vendor))) == (1, 1)


def test_groups_memberships_and_events_have_the_documented_shape(vendor, send, fill):
    fill("create table t as select 'acme' as id, 'company' as type, 'Acme' as name, {'plan': 'pro'} as properties")
    send(Outbox(name="g", kind="group", query="select * from t"))
    send(Outbox(name="m", kind="assign_group", query="select 'u-1' as profile_id, ['acme'] as group_ids"))
    send(
        Outbox(
            name="e",
            kind="track",
            query="""select 'o-1' as key, 'revenue' as name, 'u-1' as profile_id, ['acme'] as groups, 1250 as revenue,
                timestamptz '2026-03-04 01:00:00Z' as timestamp, 'EUR' as currency""",
        )
    )
    group, member, event = bodies(vendor)
    assert group["payload"] == {"id": "acme", "type": "company", "name": "Acme", "properties": {"plan": "pro"}}
    assert member == {"type": "assign_group", "payload": {"profileId": "u-1", "groupIds": ["acme"]}}
    assert event["payload"]["groups"] == ["acme"]
    properties = event["payload"]["properties"]
    assert (properties["__revenue"], properties["currency"]) == (1250, "EUR")
    assert properties["__timestamp"].startswith("2026-03-04T01:00:00")


def test_counters_are_summed_per_profile_and_never_counted_twice(vendor, send, fill, no_pauses):
    vendor.add_profile("u-1", properties={"visits": "1"})
    counters = Outbox(name="visits", kind="increment", query="select * from visits")
    fill(
        "create table visits as select 'k' || i as key, 'u-1' as profile_id, 'visits' as property, i as value "
        "from range(1, 4) t(i)"
    )

    assert send(counters).sent == 3
    assert [body["payload"]["value"] for body in bodies(vendor)] == [6]
    assert send(counters).unchanged == 3
    fill("update visits set value = 50 where key = 'k2'")
    fill("insert into visits values ('k9', 'u-1', 'visits', 1)")
    delivery = send(counters)
    assert (delivery.sent, delivery.rejected) == (1, 1)
    assert str(vendor.projects["demo"].profiles["u-1"].properties["visits"]) == "8"


@pytest.mark.parametrize("kind", ["increment", "decrement"])
def test_a_counter_moves_by_more_than_nothing_and_by_one_if_nothing_is_said(vendor, send, fill, query, no_pauses, kind):
    for number in range(6):
        vendor.add_profile(f"u-{number}", properties={"n": "10"})
    fill(
        "create table c as select 'k' || i as key, 'u-' || i as profile_id, 'n' as property, v as value "
        "from (values (0, 0), (1, -2), (2, null), (3, 'nan'::double), (4, 'inf'::double), (5, 2.5)) t(i, v)"
    )

    delivery = send(Outbox(name="c", kind=kind, query="select * from c order by key"))

    assert (delivery.sent, delivery.rejected) == (1, 5)
    assert {body["payload"]["profileId"]: body["payload"]["value"] for body in bodies(vendor)} == {"u-2": 1}
    said = dict(query("select key, said from connector.rejected"))
    assert all(said[key].startswith("value is") and "more than 0" in said[key] for key in ("k0", "k1"))
    assert all("JSON cannot carry" in said[key] for key in ("k3", "k4"))
    assert "whole numbers only" in said["k5"]


@pytest.mark.parametrize(("column", "said"), [("'2' as value", "cast it"), ("true as value", "not a number")])
def test_a_counter_that_is_no_number_is_told_and_the_others_are_sent(vendor, send, fill, query, column, said):
    vendor.add_profile("u-1", properties={"n": "1"})
    fill("create table x as select 1")
    row = "'u-1' as profile_id, 'n' as property"
    rows = [f"select 'k1' as key, {row}, {column}", f"select 'k2' as key, {row}, {column}"]
    delivery = send(Outbox(name="c", kind="increment", query=" union all ".join(rows)))
    assert (delivery.sent, delivery.rejected) == (0, 2)
    assert all(said in reason for (reason,) in query("select said from connector.rejected"))
    assert send(Outbox(name="c", kind="increment", query=f"select 'k3' as key, {row}")).sent == 1


POISON = [
    "'nan'::double as note",
    "'inf'::double as note",
    "{'deep': ['-inf'::double]} as note",
    """'{"deep": NaN}' as note""",
    """'["\\ud800"]' as note""",
    "'no object' as properties",
    "'[1]' as properties",
]


@pytest.mark.parametrize("column", POISON)
@pytest.mark.parametrize("kind", ["identify", "track"])
def test_a_row_that_json_cannot_carry_is_told_and_the_others_are_sent(vendor, send, fill, query, kind, column):
    fill("create table x as select 1")
    name = column.rsplit(" ", 1)[1]
    rows = [
        f"select 'k{number}' as key, 'u-{number}' as profile_id, 'seen' as name, {value}"
        for number, value in enumerate((f"null as {name}", column, f"null as {name}"))
    ]
    outbox = Outbox(name="p", kind=kind, query=" union all by name ".join(rows))

    first, second = send(outbox), send(outbox)

    assert (first.sent, first.rejected, first.unknown) == (2, 1, 0)
    assert (second.unchanged, second.rejected) == (2, 1), "it is told again until the query leaves it out"
    assert [reason.split()[0] for (reason,) in query("select said from connector.rejected")] == [name]


def test_a_text_of_brackets_without_end_is_a_text(vendor, send, fill):
    fill("create table x as select 1")
    query = "select 'u-1' as profile_id, repeat('[', 100000) || repeat(']', 100000) as note"
    assert send(Outbox(name="p", kind="identify", query=query)).sent == 1


@pytest.mark.parametrize("kind", ["status", "truncate"])
def test_a_counter_without_a_clear_answer_is_unknown_and_never_sent_again(vendor, send, fill, query, no_pauses, kind):
    vendor.add_profile("u-1", properties={"visits": "1"})
    counters = Outbox(
        name="visits", kind="increment", query="select 'k' as key, 'u-1' as profile_id, 'visits' as property"
    )
    fill("create table x as select 1")
    vendor.faults.add(kind, path="/track", status=502)

    assert send(counters).unknown == 1
    vendor.requests.clear()
    assert send(counters).unchanged == 1
    assert bodies(vendor) == []
    assert query("select key, status from connector.rejected") == [("k", "unknown")]


EVENT = "select 'k' as key, 'signup' as name, 'u-1' as profile_id"


@pytest.mark.parametrize("kind", ["track", "increment"])
@pytest.mark.parametrize("headers", [{"retry-after": "0"}, {}])
def test_what_the_rate_limit_refused_is_sent_again_once_it_listens(vendor, send, fill, no_pauses, kind, headers):
    vendor.add_profile("u-1", properties={"n": "1"})
    fill("create table x as select 1")
    vendor.faults.add("status", path="/track", status=429, times=1, headers=headers)

    assert send(Outbox(name="e", kind=kind, query=EVENT + ", 'n' as property")).sent == 1
    assert len(bodies(vendor)) == 2


def test_what_the_rate_limit_refuses_for_ever_is_unsent_and_sent_by_the_next_run(vendor, send, fill, query, no_pauses):
    fill("create table x as select 1")
    vendor.faults.add("status", path="/track", status=429, times=30, headers={"retry-after": "0"})
    outbox = Outbox(name="e", kind="track", query=EVENT)

    first = send(outbox)
    assert (first.sent, first.failed, first.unknown) == (0, 1, 0)
    assert "429" in query("select said from connector.rejected")[0][0]
    assert send(outbox).sent == 1
    assert query("select count(*) from connector.rejected") == [(0,)]


@pytest.fixture
def send_through(warehouse, tmp_path, no_pauses):
    """Send to a server that behaves as ``answers`` say, one after the other: an exception, or a status and a body."""

    def run(outbox, *answers):
        said, asked = list(answers), []

        def handle(request):
            asked.append(request)
            answer = said.pop(0) if len(said) > 1 else said[0]
            if isinstance(answer, Exception):
                raise answer
            return httpx.Response(answer[0], json=answer[1])

        client = Client(
            url="https://panel.example.com",
            client_id=READ.id,
            client_secret=READ.secret,
            project_id="demo",
            transport=httpx.MockTransport(handle),
        )
        with client, client.track(settle=0.0, a_second=10_000) as track:
            return deliver(outbox, track, warehouse=warehouse, folder=tmp_path / "outbox"), len(asked)

    return run


GOOD = (200, {"deviceId": "d", "sessionId": "s"})


@pytest.mark.parametrize("never", [httpx.ConnectError("refused"), httpx.ConnectTimeout("slow"), httpx.ProxyError("no")])
def test_what_never_left_is_sent_again_and_stays_unsent(send_through, fill, never):
    fill("create table x as select 1")
    outbox = Outbox(name="e", kind="track", query=EVENT)

    away, asked = send_through(outbox, never)
    assert (away.failed, away.unknown, asked) == (1, 0, 5)
    back, asked = send_through(outbox, never, GOOD)
    assert (back.sent, asked) == (1, 2)


@pytest.mark.parametrize("kind", ["track", "identify"])
def test_a_server_out_of_reach_is_not_tried_for_every_row(send_through, fill, query, kind):
    fill("create table x as select 1")
    rows = "select 'k' || i as key, 'signup' as name, 'u-' || i as profile_id from range(200) t(i)"
    outbox = Outbox(name="e", kind=kind, query=rows)

    away, asked = send_through(outbox, httpx.ConnectError("refused"))
    assert (away.failed, away.unknown) == (200, 0)
    assert asked <= 8 * 5, "those that were under way"
    assert query("select count(*) from connector.rejected where said like 'not tried%'")[0][0] >= 192
    assert send_through(outbox, GOOD)[0].sent == 200


@pytest.mark.parametrize("lost", [httpx.ReadError("reset"), httpx.WriteError("reset"), httpx.ReadTimeout("slow")])
def test_an_answer_that_was_lost_leaves_it_unknown_whatever_came_before(send_through, fill, lost):
    fill("create table x as select 1")
    outbox = Outbox(name="e", kind="track", query=EVENT)

    delivery, asked = send_through(outbox, httpx.ConnectError("refused"), lost, GOOD)
    assert (delivery.unknown, asked) == (1, 2)
    assert send_through(outbox, GOOD)[0].unchanged == 1


@pytest.mark.parametrize("bot", [{"name": "curl", "type": "http"}, {}, "curl"])
def test_what_the_vendor_took_for_a_bots_is_told_and_sent_by_the_next_run(send_through, fill, query, bot):
    fill("create table x as select 1")
    outbox = Outbox(name="e", kind="track", query=EVENT)

    delivery, _ = send_through(outbox, (202, {"bot": bot}))
    assert (delivery.sent, delivery.rejected) == (0, 1)
    assert "taken for the bot" in query("select said from connector.rejected")[0][0]
    assert send_through(outbox, GOOD)[0].sent == 1


def test_an_answer_that_says_nothing_of_bots_is_good(send_through, fill):
    fill("create table x as select 1")
    for number, answer in enumerate(
        (GOOD, (202, {"said": '"bot"'}), (200, {"bot": False}), (200, ["bot"]), (200, '{"bot'))
    ):
        assert send_through(Outbox(name=f"e{number}", kind="track", query=EVENT), answer)[0].sent == 1


def test_a_counter_of_a_profile_made_moments_ago_is_tried_again(vendor, send, fill, no_pauses):
    fill("create table x as select 1")
    counters = Outbox(
        name="visits", kind="increment", query="select 'k' as key, 'nobody' as profile_id, 'v' as property"
    )
    delivery = send(counters)
    assert delivery.rejected == 1
    assert len(bodies(vendor)) == 3
    vendor.add_profile("nobody", properties={"v": "1"})
    assert send(counters).sent == 1


def test_rejected_rows_are_kept_with_the_vendors_words(vendor, send, fill, query):
    fill(
        "create table t as select 'x' as key, repeat('n', 90) as name union all select 'y', 'good' "
        "union all select '', 'z'"
    )
    delivery = send(Outbox(name="e", kind="track", query="select * from t"))

    assert (delivery.sent, delivery.rejected) == (1, 2)
    said = dict(query("select key, said from connector.rejected"))
    assert "400" in said["x"]
    assert said[""] == "key is missing"


def test_a_dry_run_shows_and_sends_nothing(vendor, send, people):
    lines = []
    delivery = send(PEOPLE, dry_run=lambda message: lines.append(describe(message)))

    assert delivery.sent == 0
    assert len(lines) == 5
    assert '"firstName": "First0"' in lines[0]
    assert bodies(vendor) == []


def test_refused_credentials_stop_the_run(vendor, send, people):
    vendor.faults.add("status", path="/track", status=401, body="Ingestion: Invalid cors or secret", times=100)
    with pytest.raises(RejectedError, match="OPENPANEL_CLIENT_SECRET"):
        send(PEOPLE)
    # Not their bodies: one that was under way when the client was closed may be cut.
    assert len([request for request in vendor.requests if request.path == "/track"]) < 20


def test_two_runs_of_one_outbox_do_not_send_at_once(send, people, tmp_path, each_state):
    with journal(tmp_path / "outbox", "people"), pytest.raises(BusyError):
        send(PEOPLE)


def test_mistakes_are_refused_before_anything_is_sent(vendor, send, fill):
    fill("create table x as select 1")
    with pytest.raises(SettingsError, match="kind"):
        Outbox(name="x", kind="alias", query="select 1")
    with pytest.raises(SettingsError, match="query"):
        send(Outbox(name="x", kind="identify", query="select nothing from nowhere"))
    assert bodies(vendor) == []


@pytest.mark.parametrize(
    ("kind", "rows", "each_state"),
    [
        ("identify", 10_000, "files"),
        ("group", 10_000, "files"),
        ("increment", 300, "files"),
        ("identify", 2000, "postgres"),
        ("increment", 300, "postgres"),
    ],
    indirect=["each_state"],
)
def test_killed_twice_on_the_way_each_is_there_once(tmp_path, kind, rows, each_state):
    """Profiles: each once, whatever happened. Counters: every key counted once or told as unknown."""
    vendor = OpenPanel()
    for number in range(rows if kind == "increment" else 0):
        vendor.add_profile(f"u-{number}", properties={"n": "0"})
    select = "'u-' || i as profile_id, 'F' || i as first_name"
    if kind == "group":
        select = "'u-' || i as id, 'company' as type, 'F' || i as name"
    if kind == "increment":
        select = "'k' || i as key, 'u-' || i as profile_id, 'n' as property, 5 as value"
    with serve(vendor.app) as url:
        code = textwrap.dedent(f"""
            from pathlib import Path
            from connector import OpenPanel, Warehouse
            from connector.openpanel.track.plan import Outbox
            from connector.openpanel.track.send import deliver
            client = OpenPanel(url={url!r}, client_id={READ.id!r}, client_secret={READ.secret!r}, project_id="demo")
            warehouse = Warehouse({str(tmp_path / "w.duckdb")!r})
            with warehouse.write() as connection:
                connection.execute("create table if not exists t as select {select} from range({rows}) r(i)")
            outbox = Outbox(name="o", kind={kind!r}, query="select * from t")
            with client.track(settle=0.0, a_second=100000) as track:
                print("started", flush=True)
                print(deliver(outbox, track, warehouse=warehouse, folder=Path({str(tmp_path / "outbox")!r})))
        """)
        random.seed(7)
        for _ in range(2):
            with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout.readline() == "started\n"
                time.sleep(random.uniform(0.1, 0.4))
                process.kill()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
    from connector import Warehouse

    with Warehouse(tmp_path / "w.duckdb").read() as connection:
        states = dict(connection.execute("select status, count(*) from connector.sent group by 1").fetchall())
        unknown = {
            row[0] for row in connection.execute("select key from connector.sent where status = 'unknown'").fetchall()
        }
    assert sum(states.values()) == rows
    profiles = vendor.projects["demo"].profiles
    if kind == "identify":
        assert states == {"sent": rows}
        assert {name: profile.first_name for name, profile in profiles.items()} == {
            f"u-{n}": f"F{n}" for n in range(rows)
        }
    elif kind == "group":
        groups = vendor.projects["demo"].groups
        assert {name: group.name for name, group in groups.items()} == {f"u-{n}": f"F{n}" for n in range(rows)}
    else:
        assert len(unknown) <= 16, "at most the requests in flight when it was killed"
        for number in range(rows):
            counted = int(profiles[f"u-{number}"].properties["n"])
            assert counted == 5 or (f"k{number}" in unknown and counted == 0)


def test_the_asset_sends_and_shows_what_became_of_it(url, vendor, people, tmp_path):
    import dagster as dg

    from connector.dagster import OpenPanelResource, WarehouseResource, track_asset

    source = OpenPanelResource(api_url=url, client_id=READ.id, client_secret=READ.secret, project_id="demo")
    target = WarehouseResource(database=str(tmp_path / "warehouse.duckdb"), spool_dir=str(tmp_path / "spool"))
    asset = track_asset(PEOPLE, openpanel=source, warehouse=target)
    with dg.DagsterInstance.ephemeral() as instance:
        assert dg.materialize([asset], instance=instance, tags={"connector/dry_run": "true"}).success
        assert bodies(vendor) == []
        result = dg.materialize([asset], instance=instance)
    assert result.asset_materializations_for_node("openpanel__track_people")[0].metadata["rows sent"].value == 5
    assert len(bodies(vendor)) == 5


def test_the_command_prints_a_dry_run(url, vendor, people, tmp_path, monkeypatch, capsys):
    from connector.cli.main import main

    file = tmp_path / "outboxes.yaml"
    file.write_text("people: {kind: identify, query: select * from people}")
    for name, value in {
        **vendor_variables(openpanel=url), "WAREHOUSE": str(tmp_path / "warehouse.duckdb"), "SPOOL_DIR": str(tmp_path),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)

    assert main(["track", str(file), "--dry-run"]) == 0
    assert capsys.readouterr().out.count('"type": "identify"') == 5
    assert bodies(vendor) == []
    assert main(["track", str(file), "--dry-run", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["outbox"] == "people"
    assert said.err.count('"type": "identify"') == 5
    assert main(["track", str(file)]) == 0
    assert capsys.readouterr().out.startswith("people: 5 sent, 0 unchanged, 0 rejected")
    assert len(bodies(vendor)) == 5
