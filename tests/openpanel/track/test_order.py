"""Several changes of one profile: none is lost, whichever run sends them, and what is stored is looked up."""

import subprocess
import sys
import textwrap
import threading
import time
from contextlib import contextmanager, suppress

import httpx
import pytest

from connector.errors import BusyError
from connector.openpanel.track import turns
from connector.openpanel.track.journal import Step, journal
from connector.openpanel.track.plan import Outbox
from connector.openpanel.track.send import deliver
from connector.sandbox import READ, ROOT, WRITE, OpenPanel
from connector.state.place import of_machine
from tests.factories import openpanel_client

FLUSH, SETTLE = 0.3, 0.45
pytestmark = pytest.mark.usefixtures("each_state")


@pytest.fixture
def vendor():
    """Keeps profiles as the real server does, only faster."""
    vendor = OpenPanel(visible_after=FLUSH, rate_limit=None)
    for number in range(5):
        vendor.add_profile(f"u-{number}", properties={"orders": "1", "plan": "free"})
    return vendor


@pytest.fixture
def told():
    return []


@pytest.fixture
def send(url, warehouse, tmp_path, told):
    """Deliver outboxes, one after the other, in one run."""
    with warehouse.write() as connection:
        connection.execute("create table t as select 'u-' || i as profile_id, 'k' || i as key from range(5) r(i)")

    def run(*outboxes, client=READ, **options):
        known = {"settle": SETTLE, "a_second": 10_000, "tell": told.append}
        with (
            openpanel_client(url, client_id=client.id, client_secret=client.secret) as asking,
            asking.track(**(known | options)) as track,
        ):
            return [deliver(one, track, warehouse=warehouse, folder=tmp_path / "outbox") for one in outboxes]

    return run


def outbox(kind, columns, name=None, rows="t"):
    return Outbox(name=name or f"{kind}-{columns}", kind=kind, query=f"select *, {columns} from {rows}")


IDENTIFY = Outbox(name="people", kind="identify", query="select profile_id, 'pro' as plan, 'Ada' as first_name from t")
ASSIGN = Outbox(name="members", kind="assign_group", query="select profile_id, ['acme'] as group_ids from t")
ORDERS = outbox("increment", "'orders' as property, 10 as value")
RETURNS = outbox("decrement", "'orders' as property, 2 as value")
SPENT = outbox("increment", "'spent' as property, 7 as value")


def stored(vendor):
    time.sleep(FLUSH + 0.05)
    vendor.tick()
    return list(vendor.projects["demo"].profiles.values())


def sent_to(vendor, kind=None):
    bodies = [request.json() for request in vendor.requests if request.path == "/track"]
    return [body for body in bodies if kind in (None, body["type"])]


@pytest.mark.parametrize("client", [ROOT, READ, WRITE], ids=["root", "read", "write"])
def test_every_change_of_a_profile_in_one_file_counts(vendor, send, client):
    done = send(IDENTIFY, ORDERS, RETURNS, SPENT, ASSIGN, client=client)

    assert [one.sent for one in done] == [5] * 5
    for profile in stored(vendor):
        assert profile.properties | {"device": ""} == {"orders": "9", "spent": "7", "plan": "pro", "device": ""}
        assert (profile.first_name, profile.groups) == ("Ada", ["acme"])
    assert [one.verified for one in done] == [0 if client is WRITE else 5] * 5


def test_two_counters_of_one_profile_in_one_outbox_both_count(vendor, send):
    two = Outbox(
        name="two",
        kind="increment",
        query="select key || property as key, profile_id, property, 3 as value "
        "from t, (select unnest(['orders', 'visits', 'orders']) as property) group by all",
    )
    send(two)
    assert {(one.properties["orders"], one.properties["visits"]) for one in stored(vendor)} == {("4", "3")}


def test_the_next_run_waits_for_what_the_last_one_changed(vendor, send, told):
    for one in (ORDERS, RETURNS, SPENT):
        send(one, verify=False)
    assert {(one.properties["orders"], one.properties["spent"]) for one in stored(vendor)} == {("9", "7")}


def test_other_profiles_are_not_waited_for(vendor, send):
    rows = [f"(select * from t where profile_id = 'u-{number}')" for number in range(2)]
    began = time.monotonic()
    for row in rows:
        send(outbox("increment", "'orders' as property", name=row[-5:-1], rows=row), verify=False, settle=20.0)
    assert time.monotonic() - began < 10


def test_a_client_that_may_not_read_is_told_once_and_its_rows_are_sent(vendor, send, told):
    done = send(IDENTIFY, ORDERS, SPENT, client=WRITE)
    assert [(one.sent, one.verified) for one in done] == [(5, 0)] * 3
    assert ["not verified" in sentence for sentence in told].count(True) == 1
    assert "401" in next(sentence for sentence in told if "not verified" in sentence)


def test_a_wait_is_told(vendor, send, told):
    send(ORDERS, RETURNS, verify=False, settle=1.5)
    assert any(sentence.startswith("waiting up to") for sentence in told)


@contextmanager
def another_sender(vendor, url, kind, body):
    """Overwrites the first change that we send of each profile, before it is stored."""
    over, headers = threading.Event(), {"openpanel-client-id": WRITE.id, "openpanel-client-secret": WRITE.secret}

    def run():
        met = set()
        with httpx.Client(base_url=url, headers=headers) as client:
            while not over.wait(0.005):
                for one in sent_to(vendor, kind):
                    profile = one["payload"]["profileId"]
                    if profile not in met:
                        met.add(profile)
                        payload = {"profileId": profile, **body["payload"]}
                        client.post("/track", json={**body, "payload": payload}).raise_for_status()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


VISIT = {"type": "increment", "payload": {"property": "visits", "value": 1}}


def test_a_profile_that_something_else_overwrites_is_sent_again(vendor, url, send):
    with another_sender(vendor, url, "identify", VISIT):
        (done,) = send(IDENTIFY)
    assert (done.sent, done.verified) == (5, 5)
    assert len(sent_to(vendor, "identify")) == 10
    assert {(one.properties["plan"], one.properties["visits"]) for one in stored(vendor)} == {("pro", "1")}


def test_a_counter_that_something_else_overwrites_is_unknown_and_never_sent_twice(vendor, url, send, query):
    with another_sender(vendor, url, "decrement", VISIT):
        (done,) = send(RETURNS)
    assert (done.sent, done.unknown, done.verified) == (0, 5, 0)
    ((said,),) = query("select distinct said[:39] from connector.rejected where status = 'unknown'")
    assert said == "orders was 1, must be -1 and is 1 2 s l"
    assert send(RETURNS)[0].unchanged == 5
    assert len(sent_to(vendor, "decrement")) == 5


def test_what_the_server_rewrites_is_rejected_with_its_name(vendor, send, query):
    (done,) = send(Outbox(name="p", kind="identify", query="select 'u-1' as profile_id, 'phone' as device"))
    assert (done.sent, done.rejected) == (0, 1)
    assert "not stored as sent: device" in query("select said from connector.rejected")[0][0]
    assert len(sent_to(vendor)) == 3


def test_a_stored_fraction_is_rejected_before_it_is_cut(vendor, send, query):
    vendor.add_profile("u-1", properties={"orders": "12.5"})
    (done,) = send(ORDERS)
    assert (done.sent, done.rejected) == (4, 1)
    assert query("select key, said[:40] from connector.rejected") == [
        ("k1", "orders is no whole number in OpenPanel, ")
    ]
    assert vendor.projects["demo"].profiles["u-1"].properties["orders"] == "12.5"


@pytest.mark.parametrize("happened", [True, False])
def test_a_counter_whose_answer_a_killed_run_missed_is_looked_up(vendor, send, tmp_path, happened):
    vendor.add_profile("u-1", properties={"orders": "11" if happened else "1"})
    with journal(tmp_path / "outbox", ORDERS.name) as book:
        book.intend(["k1"], ["h"], Step("u-1", "orders", 1, 11))
        book._held.append(b'{"done": "k')  # torn by the kill
    (done,) = send(outbox("increment", "'orders' as property, 10 as value", name=ORDERS.name))
    assert {one.properties["orders"] for one in stored(vendor)} == {"11"}
    assert len(sent_to(vendor)) == (4 if happened else 5)
    assert done.unknown == 0


def test_a_run_that_holds_the_project_is_waited_for_and_then_told(url, send, told, monkeypatch):
    monkeypatch.setattr(turns, "QUIET", 0.05)
    monkeypatch.setattr(turns, "PATIENCE", 0.1)
    send(ORDERS)
    with turns.Pace(f"{url} demo", SETTLE, print).held(), pytest.raises(BusyError, match="same project"):
        send(RETURNS)
    assert "waiting for another run that sends to the same project" in told


def test_what_a_killed_run_had_under_way_is_waited_for_and_nothing_else(tmp_path):
    pace = turns.Pace(str(tmp_path), 15.0, print)
    with suppress(KeyboardInterrupt), pace.held() as changes:
        changes.begin(["profile u-1"])
        raise KeyboardInterrupt
    with pace.held() as changes:
        assert changes.ready_at("profile u-1") > time.time() + 14
        assert changes.ready_at("profile u-2") == 0


def test_the_last_changes_name_no_person(send):
    send(ORDERS, verify=False)
    state = of_machine()
    texts = [state.read(name) for name in state.names(".json") if name.startswith("track-")]
    assert any(texts)
    assert not any(b"u-1" in text for text in texts)


SENDER = """
    import sys
    from pathlib import Path
    from connector import OpenPanel, Warehouse
    from connector.openpanel.track.plan import Outbox
    from connector.openpanel.track.send import deliver
    client = OpenPanel(url={url!r}, client_id={client.id!r}, client_secret={client.secret!r}, project_id="demo")
    folder = Path(sys.argv[1])
    warehouse = Warehouse(folder / "w.duckdb")
    with warehouse.write() as connection:
        connection.execute("create table if not exists t as select 1")
    rows = "select 'u-' || i as profile_id, 'k' || i as key, " + sys.argv[3] + " from range(5) r(i)"
    with client.track(settle={settle}, a_second=10_000, verify={verify}) as track:
        print("started", flush=True)
        print(deliver(Outbox(name="o", kind=sys.argv[2], query=rows), track, warehouse=warehouse, folder=folder))
"""


def process(tmp_path, url, name, kind, columns, **options):
    (tmp_path / name).mkdir(exist_ok=True)
    known = {"client": READ, "settle": SETTLE, "verify": True} | options
    code = textwrap.dedent(SENDER).format(url=url, **known)
    command = [sys.executable, "-c", code, str(tmp_path / name), kind, columns]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("verify", [True, False])
def test_two_processes_that_send_at_once_lose_nothing(vendor, url, tmp_path, verify):
    changes = [
        ("identify", "'pro' as plan"),
        ("increment", "'orders' as property, 10 as value"),
        ("increment", "'spent' as property, 7 as value"),
    ]
    running = [process(tmp_path, url, f"p{n}", *change, verify=verify) for n, change in enumerate(changes)]
    for one in running:
        out, err = one.communicate(timeout=60)
        assert one.returncode == 0, err
        assert "sent=5" in out
    for profile in stored(vendor):
        assert {name: profile.properties[name] for name in ("orders", "spent", "plan")} == {
            "orders": "11",
            "spent": "7",
            "plan": "pro",
        }


def test_a_kill_between_sending_and_storing_loses_nothing(vendor, url, tmp_path, send):
    with process(tmp_path, url, "p", "increment", "'orders' as property, 10 as value") as one:
        assert one.stdout.readline() == "started\n"
        until = time.monotonic() + 20
        while len(sent_to(vendor)) < 5 and time.monotonic() < until:
            time.sleep(0.005)
        one.kill()
    send(SPENT, verify=False)
    assert {(one.properties["orders"], one.properties["spent"]) for one in stored(vendor)} == {("11", "7")}
