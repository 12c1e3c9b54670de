"""What the attacks found, one sentence each: the shortest way to see it come back."""

import gzip
import json
import resource
import time
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from functools import partial

import duckdb
import pytest

from connector.catalogue.userpilot import EVENTS as EXPORTED
from connector.errors import BusyError, ContractError, TransientError
from connector.http.client import Http
from connector.http.download import Files
from connector.landing.days_from_files import Origin, land_files
from connector.landing.receipts import record_failure
from connector.meter import Meter
from connector.records.files import prove_whole
from connector.system.prefetch import ahead
from connector.userpilot.exports.job import Created, Do, Job, LinkRefused, Listed, Seen, Shown, State
from connector.userpilot.exports.machine import after_report, next_action, with_intent
from connector.userpilot.exports.request import Request
from connector.warehouse.connection import Warehouse
from tests.soak.matrix import cells, judged
from tests.soak.stages import TARGETS, staged

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
DAY = date(2026, 3, 4)
REQUEST = Request(first=DAY, last=DAY)
EVENTS = TARGETS[0].stream
READY = Job(request=REQUEST, state=State.READY, job_id="j", started=NOW, files=("a",), refused=1)


def test_a_full_disk_is_told_and_not_hidden_by_the_receipt_that_does_not_fit_either(tmp_path):
    warehouse = Warehouse(tmp_path / "w.duckdb")
    with warehouse.write() as connection:
        connection.execute("create table t as select 1")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(TransientError, match="free space"):
            record_failure(warehouse, EVENTS, [DAY], TransientError("x", where="y", next_step="z"), Meter())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_taken_warehouse_is_told_with_the_partition_that_wanted_it(tmp_path):
    warehouse = Warehouse(tmp_path / "w.duckdb", lock_wait=0.05)
    with warehouse.write(), pytest.raises(BusyError) as caught:
        record_failure(warehouse, EVENTS, [DAY], TransientError("x", where="y", next_step="z"), Meter())
    assert caught.value.where == f"openpanel.events[{DAY}]"


def test_errors_of_the_callers_own_statements_stay_what_they_are(tmp_path):
    with pytest.raises(duckdb.CatalogException), Warehouse(tmp_path / "w.duckdb").write() as connection:
        connection.execute("select * from nowhere")


def test_exports_whose_files_cannot_be_had_are_not_asked_for_again_and_again():
    """Each costs the vendor a whole export; there were 240 an hour."""
    job, done = READY, []
    for _ in range(3):
        job = after_report(job, LinkRefused(problem="403"), NOW)
        done.append((job.state, next_action(job, NOW)[1]))
        job = after_report(Job(request=REQUEST, state=State.READY, lost=job.lost, refused=1), Listed(()), NOW)
        job = Job(request=REQUEST, state=State.READY, lost=job.lost, refused=1, files=("a",))
    assert done == [(State.IDLE, Do.LIST), (State.IDLE, Do.WAIT), (State.FATAL, Do.STOP)]


def test_after_two_unanswered_requests_a_third_is_sent_when_its_time_has_come():
    """Every list made the wait begin again, so that the request was never sent again, by any run."""
    job = with_intent(with_intent(Job(request=REQUEST), NOW), NOW)
    for _ in range(3):
        job = after_report(job, Listed(()), NOW)
    assert next_action(job, NOW)[1] == Do.WAIT
    later = NOW + timedelta(minutes=2)
    job, do = next_action(job, later)
    assert do == Do.LIST
    assert next_action(after_report(job, Listed(()), later), later)[1] == Do.SUBMIT


def _origin():
    return Origin(first=DAY, last=DAY, job_id="j", fingerprint="f")


@pytest.mark.parametrize("text", ["<html><body>Please sign in</body></html>", "sign in\nplease\n"])
def test_a_web_page_among_the_files_is_not_a_table_without_rows(tmp_path, warehouse, text):
    """It was read as CSV: the file's rows were missing, and no message said so."""
    page, good = tmp_path / "page", tmp_path / "good"
    page.write_text(text)
    good.write_text(json.dumps({"inserted_at": f"{DAY}T01:00:00Z", "event_type": "track"}) + "\n")
    with pytest.raises(ContractError, match="neither JSON nor CSV"):
        land_files(warehouse, EXPORTED, [good, page], _origin())
    if text.startswith("<"):
        with pytest.raises(TransientError, match="web page"):
            prove_whole(page, "here")
        assert not page.exists(), "it is fetched again"


def test_files_that_fail_leave_no_thread_behind_that_writes_into_a_folder_being_removed(tmp_path, warehouse):
    """Removing it failed now and then, and that error hid the one that mattered."""
    for number in range(6):
        (tmp_path / f"f{number}").write_text('{"inserted_at": "' + f"{DAY}" + 'T01:00:00Z", "x": 1}\n' * 20_000)
    (tmp_path / "f0").write_text("[1, 2]")
    for _ in range(5):
        with pytest.raises(ContractError, match="no record"):
            files = [tmp_path / f"f{number}" for number in range(6)]
            land_files(warehouse, EXPORTED, files, _origin())
        assert not list(tmp_path.glob("lines-*"))


def test_a_file_that_unpacks_to_a_disk_full_is_refused(tmp_path, monkeypatch):
    """Ten megabytes of packed blanks are ten gigabytes of blanks."""
    bomb = tmp_path / "bomb"
    bomb.write_bytes(gzip.compress(b" " * 2**20, 9) * 300)
    with pytest.raises(ContractError, match="unpacks to more than 256 MiB"):
        prove_whole(bomb, "here")
    monkeypatch.setattr("connector.records.files.ANY_RATIO", 2**20)
    monkeypatch.setattr("connector.records.files.MOST_RATIO", 20)
    usual = tmp_path / "usual"
    usual.write_bytes(gzip.compress(b"".join(b'{"id": %d, "name": "event"}\n' % n for n in range(99_999))))
    prove_whole(usual, "here")


def test_a_closed_client_stops_asking_in_its_other_threads(vendor, url):
    """A run that failed kept asking in the background, for as long as a vendor's rate limit made it wait."""
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        http.close()

    http = Http(url, headers={}, sleep=sleep)
    vendor.faults.add("status", path="/healthcheck", status=429, times=None, headers={"retry-after": "60"})
    with pytest.raises(TransientError, match="closed"):
        http.get("/healthcheck", where="here")
    assert (len(slept), len(vendor.requests)) == (1, 1)


def test_a_file_that_drips_is_given_up_and_asked_for_again(tmp_path, vendor, url):
    """Every byte came in time, and the file would have taken a year."""
    vendor.faults.add("drip", path="/healthcheck", times=1, seconds=20)
    files = Files(timeout=5, patience=0.1, sleep=lambda _: None)
    files.fetch(f"{url}/healthcheck", tmp_path / "file", where="here")
    files.close()
    assert len(vendor.requests) == 2


def test_calls_that_use_a_folder_are_over_before_it_is_removed():
    done = []

    def call(number):
        time.sleep(0.05 * (number + 1))
        done.append(number)

    with closing(ahead((partial(call, number) for number in range(3)), at_once=3, to_the_end=True)) as results:
        next(results)
    assert sorted(done) == [0, 1, 2]


@pytest.mark.parametrize("fault", ["JSON of another shape", "a list where an object is due"])
def test_a_file_that_can_never_land_is_not_met_again_by_every_rerun(tmp_path, fault):
    """It was whole and it was ours, so no run asked for another one."""
    target = next(target for target in TARGETS if target.name == "userpilot download")
    cell = next(cell for cell in cells((target,)) if cell.fault.name == fault and cell.once)
    with staged(target, tmp_path / "stage") as stage:
        outcome = judged(stage, cell)
    assert outcome.how == "told ContractError"
    assert outcome.violations == ()


def test_a_vendor_whose_clock_is_days_behind_has_forgotten_nothing():
    """The job looked three days old when it was made, so it was given up and asked for again, without a pause."""
    days_ago = NOW - timedelta(days=4)
    job = after_report(with_intent(Job(request=REQUEST), NOW), Created("j", days_ago), NOW)
    job = after_report(job, Shown(Seen(job_id="j", status="in_progress", started=days_ago)), NOW)
    assert next_action(job, NOW)[1] == Do.WAIT
