"""Two machines with disks of their own and one database: what one has under way, the other one knows."""

import pytest

from connector.errors import BusyError, TransientError
from connector.http.budget import SharedBudget
from connector.openpanel.track.journal import journal
from connector.openpanel.track.plan import Outbox
from connector.openpanel.track.send import deliver
from connector.state.kinds import VARIABLE
from connector.userpilot.exports.job import State
from connector.userpilot.exports.ledger import Ledger, ledgers
from connector.userpilot.exports.run import Exports
from tests.factories import DAYS, openpanel_client


@pytest.fixture(autouse=True)
def _database(postgres, monkeypatch):
    monkeypatch.setenv(VARIABLE, postgres.database())


@pytest.fixture
def machines(tmp_path):
    return tmp_path / "one" / "spool", tmp_path / "two" / "spool"


@pytest.fixture
def asking(userpilot, clock, machines):
    return [Exports(userpilot, spool, clock=clock.moment, sleep=clock.sleep) for spool in machines]


@pytest.fixture
def world():
    return "documented"


def test_an_export_that_one_machine_asked_for_is_followed_by_the_other(pilot, asking, request_):
    one, other = asking
    first = one.ask(request_)
    assert other.ask(request_).job_id == first.job_id != ""
    assert len(pilot.jobs.all) == 1
    (known,) = ledgers(other.spool_dir)
    assert [job.job_id for job in known.jobs()] == [first.job_id]


def test_files_that_one_machine_fetched_are_fetched_and_landed_by_the_other(pilot, asking, request_, warehouse, query):
    pilot.load_sample(DAYS[0], DAYS[-1])
    one, other = asking
    (job,) = one.wait(request_)
    assert job.state == State.FETCHED
    (again,) = other.wait(request_)
    other.land(again, warehouse=warehouse)
    assert dict(query("select _day, count(*) from userpilot.events group by 1")) == {
        day: pilot.count(day, distinct=True) for day in DAYS
    }
    assert len(pilot.jobs.all) == 1


def test_one_machine_at_a_time_asks_for_exports(machines):
    one, other = (Ledger(spool / "userpilot.exports") for spool in machines)
    with one.slot(wait=0.0):
        with pytest.raises(TransientError, match="another process asks for an export"), other.slot(wait=0.1):
            pass
    with other.slot(wait=0.1):
        pass


def test_one_machine_at_a_time_sends_an_outbox_and_the_next_knows_what_it_sent(url, vendor, warehouse, query, machines):
    """The first machine is lost between the request and its answer: the event is unknown, and never sent twice."""
    one, other = (spool / "outbox" for spool in machines)
    outbox = Outbox(name="orders", kind="track", query="select 'k' as key, 'ordered' as name, 'u' as profile_id")
    with journal(one, "orders") as book:
        book.intend(["k"], ["h"])
        with pytest.raises(BusyError), journal(other, "orders"):
            pass
    with warehouse.write() as connection:
        connection.execute("create table t as select 1")
    with openpanel_client(url) as client, client.track(settle=0.0) as track:
        deliver(outbox, track, warehouse=warehouse, folder=other)
        done = deliver(outbox, track, warehouse=warehouse, folder=one)
    assert (done.sent, done.rejected) == (0, 1)
    assert query("select status from connector.sent") == [("unknown",)]
    assert [request for request in vendor.requests if request.path == "/track"] == []


def test_machines_share_one_window_of_requests(tmp_path):
    one, other = (SharedBudget("key", folder=tmp_path / name, sleep=lambda _: pytest.fail("waits")) for name in "ab")
    rate = {"x-ratelimit-limit": "10", "x-ratelimit-remaining": "9", "x-ratelimit-reset": "60"}
    one.learn(one.take(), rate)
    for _ in range(9):
        ticket = other.take()
    assert ticket.issued == 10
    with pytest.raises(pytest.fail.Exception):
        one.take()
