"""From a request to rows, in both worlds: what arrives is what the vendor has, whatever happens on the way."""

import json
from datetime import UTC, date, datetime, timedelta

import httpx
import msgspec
import pytest

from connector import ContractError, RejectedError, SuddenDropError, TransientError
from connector.catalogue.userpilot import DEFAULT_EVENT_TYPES
from connector.errors import InProgressError
from connector.sandbox import USERPILOT_KEY
from connector.userpilot.client import Userpilot
from connector.userpilot.exports.job import State
from connector.userpilot.exports.request import Options, Request
from connector.userpilot.exports.run import Exports, LostError
from tests.factories import ALL_TYPES, DAYS, FIRST, LAST, NOW

EXPORTS = "/api/v1/analytics/exports"


def posts(pilot):
    """Requests for a job, apart from those that were refused for the spelling of a word."""
    return [request for request in pilot.requests if request.method == "POST" and request.status not in (404, 422)]


def per_day(query):
    return dict(query("select _day, count(*) from userpilot.events group by 1"))


def truth(pilot, days=DAYS):
    return {day: pilot.count(day, distinct=True) for day in days}


def test_every_day_holds_what_the_vendor_has(sample, land, query):
    (receipt,) = land()

    assert per_day(query) == truth(sample)
    assert {day.day: day.landed for day in receipt.days} == truth(sample)
    assert receipt.outside > 0
    assert len(posts(sample)) == 1
    assert query("select distinct typeof(inserted_at), typeof(metadata) from userpilot.events") == [
        ("TIMESTAMP WITH TIME ZONE", "JSON")
    ]
    edges = query("select min(inserted_at), max(inserted_at) from userpilot.events")[0]
    assert [edge.astimezone(UTC).date() for edge in edges] == [FIRST, LAST]


def test_fields_arrive_as_they_are(pilot, land, query):
    metadata = {"a b": {"c": [1, "x"]}, "Plan": "p"}
    pilot.add_event(at="2026-03-03T07:45:30.123456Z", event_name="Größe", metadata=metadata, screen_width=1920)
    pilot.add_event(at="2026-03-03T08:00:00Z", event_name="none", metadata={})
    land()

    rows = query(
        "select event_name, epoch_us(inserted_at), metadata::varchar, screen_width from userpilot.events order by 2"
    )
    assert rows[0][:2] == ("Größe", int(datetime(2026, 3, 3, 7, 45, 30, 123456, UTC).timestamp() * 1e6) + 0)
    assert json.loads(rows[0][2]) == metadata
    assert rows[0][3] == 1920
    assert rows[1][2] in ("{}", None)


@pytest.mark.parametrize("world", ["documented"])
@pytest.mark.parametrize(
    ("spelt", "utc"),
    [
        ("2026-03-03T23:30:00.5Z", "2026-03-03 23:30:00.5"),
        ("2026-03-03 23:30:00.000001", "2026-03-03 23:30:00.000001"),
        ("2026-03-04T02:30:00+03:00", "2026-03-03 23:30:00"),
        ("2026-03-03T23:30:00", "2026-03-03 23:30:00"),
    ],
)
def test_every_spelling_of_a_time_is_the_same_moment(pilot, land, query, spelt, utc):
    pilot.add_event(inserted_at=spelt)
    land()
    assert query("select _day::varchar, inserted_at = ($$" + utc + "Z$$)::timestamptz from userpilot.events") == [
        ("2026-03-03", True)
    ]


@pytest.mark.parametrize("world", ["documented"])
@pytest.mark.parametrize(
    ("metadata", "landed"),
    [
        ({"a": 1}, '{"a":1}'),
        ('{"a":1}', '{"a":1}'),
        ([], None),
        (None, None),
        ("just text", '"just text"'),
        ([1], "[1]"),
    ],
)
def test_metadata_of_any_shape(pilot, land, query, metadata, landed):
    pilot.add_event(at="2026-03-03T01:00:00Z", metadata=metadata)
    land()
    assert query("select metadata::varchar from userpilot.events") == [(landed,)]


@pytest.mark.parametrize("world", ["documented"])
def test_what_has_no_column_is_kept(pilot, land, query):
    pilot.add_event(at="2026-03-03T01:00:00Z", brand_new={"a": [1]}, screen_width=1.5)
    pilot.add_event(at="2026-03-03T02:00:00Z", screen_width="wide")
    pilot.add_event(at="2026-03-03T03:00:00Z")
    (receipt,) = land()

    rows = query("select _extra::varchar, screen_width from userpilot.events order by inserted_at")
    assert [json.loads(text) if text else None for text, _ in rows] == [
        {"screen_width": 1.5, "brand_new": {"a": [1]}}, {"screen_width": "wide"}, None,
    ]  # fmt: skip
    assert [width for _, width in rows] == [None, None, 0]
    assert receipt.strangers == {"screen_width", "brand_new"}


@pytest.mark.parametrize("world", ["documented"])
def test_only_equal_records_are_duplicates(pilot, land, query):
    for metadata in ({"a": 1}, {"a": 1}, {"a": 2}):
        pilot.add_event(at="2026-03-03T01:00:00Z", event_type="identify_user", metadata=metadata)
    (receipt,) = land()
    assert (receipt.received, receipt.landed, receipt.duplicates) == (3, 2, 1)
    assert sorted(query("select metadata::varchar from userpilot.events")) == [('{"a":1}',), ('{"a":2}',)]


@pytest.mark.parametrize("world", ["documented"])
def test_the_order_of_members_makes_no_other_record(pilot, land, query):
    """Bulk identifies share every other field; what decides is what their JSON says, in whatever order."""
    same = {"at": "2026-03-03T01:00:00Z", "event_type": "identify_user"}
    for metadata in ({"a": 1, "b": {"c": 1, "d": 2}}, {"b": {"d": 2, "c": 1}, "a": 1}, {"a": 2}, {"a": 1}, {"a": 1}):
        pilot.add_event(**same, metadata=metadata)
    for more in ({"x": 1, "y": 2}, {"y": 2, "x": 1}, {"x": 2, "y": 1}):
        pilot.add_event(**same, metadata={"a": 1}, stranger=more)
    pilot.add_event(**same | {"at": "2026-03-03T01:00:00.000001Z"}, metadata={"b": {"c": 1, "d": 2}, "a": 1})
    (receipt,) = land()
    assert (receipt.received, receipt.landed, receipt.duplicates) == (9, 6, 3)
    assert query("select metadata::varchar, _extra::varchar from userpilot.events order by rowid") == [
        ('{"a":1,"b":{"c":1,"d":2}}', None),
        ('{"a":2}', None),
        ('{"a":1}', None),
        ('{"a":1}', '{"stranger":{"x":1,"y":2}}'),
        ('{"a":1}', '{"stranger":{"x":2,"y":1}}'),
        ('{"b":{"c":1,"d":2},"a":1}', None),
    ]


def test_csv_lands_the_same_rows(sample, land, query, request_):
    options = Options.of({"event_type": list(ALL_TYPES.event_type), "format": "csv"})
    land(Request(first=FIRST, last=LAST, options=options))
    assert per_day(query) == truth(sample)
    kinds = "select distinct json_type(metadata) from userpilot.events where metadata is not null"
    assert query(kinds) == [("OBJECT",)]


def test_landing_again_changes_nothing_and_takes_what_moved(sample, land, query, clock):
    land()
    before = query("select * exclude (_load_id, _landed_at) from userpilot.events order by all")
    sample.add_event(at="2026-03-04T01:00:00Z", event_name="imported later")
    land()
    after = query("select * exclude (_load_id, _landed_at) from userpilot.events order by all")
    assert len(after) == len(before) + 1
    assert per_day(query) == truth(sample)


def test_neighbours_are_neither_erased_nor_doubled(sample, land, query):
    land(Request(first=FIRST, last=DAYS[1], options=ALL_TYPES))
    land(Request(first=DAYS[2], last=LAST, options=ALL_TYPES))
    land(Request(first=DAYS[1], last=DAYS[2], options=ALL_TYPES))
    assert per_day(query) == truth(sample)


def test_an_empty_range_empties_its_days_only_when_allowed(pilot, land, query, world):
    for hour in range(3):
        pilot.add_event(at=f"2026-03-03T0{hour}:00:00Z")
    land()
    pilot.delete_events(event_type="track")
    with pytest.raises(SuddenDropError):
        land()
    assert per_day(query) == {date(2026, 3, 3): 3}
    (receipt,) = land(allow_drop=True)
    assert per_day(query) == {}
    assert [day.landed for day in receipt.days] == [0] * len(DAYS)


def test_every_day_has_a_receipt_and_the_job_is_there_to_query(sample, land, query):
    (receipt,) = land()
    rows = query("select day, announced, received, landed, duplicates, status from connector.landings order by day")
    assert [row[0] for row in rows] == DAYS
    assert {(row[1], row[5]) for row in rows} == {(None, "landed")}
    assert query("select job_id, first_day, last_day, rows_landed, rows_outside from connector.export_jobs") == [
        (receipt.job_id, FIRST, LAST, receipt.landed, receipt.outside)
    ]


def test_days_of_other_filters_are_not_replaced(sample, land, query):
    land()
    one = Options.of({"event_type": list(ALL_TYPES.event_type), "user_id": ["u-0001"]})
    with pytest.raises(RejectedError, match="other filters"):
        land(Request(first=FIRST, last=LAST, options=one))
    assert per_day(query) == truth(sample)


def test_the_key_of_another_environment_replaces_nothing(pilot, exports, land, query):
    """Not even on days that have no rows yet: a table holds one environment."""
    pilot.add_event(at=f"{FIRST}T01:00:00Z", app_token="NX-PRODUCTION")
    land()
    pilot.add_event(at=f"{LAST}T01:00:00Z", app_token="NX-STAGING")
    with pytest.raises(RejectedError, match=r"NX-PRODUCTION and those of this export NX-STAGING.*whose key"):
        land(Request(first=LAST, last=LAST, options=ALL_TYPES))
    assert query("select distinct app_token from userpilot.events") == [("NX-PRODUCTION",)]
    land(Request(first=LAST, last=LAST, options=ALL_TYPES), allow_drop=True)
    assert len(query("select distinct app_token from userpilot.events")) == 2


def test_types_are_named_also_when_nobody_named_them(sample, land, query):
    """A server whose usual types are others would send what the table is not meant to hold, or less."""
    land(Request(first=FIRST, last=LAST))
    assert json.loads(posts(sample)[0].body)["event_type"] == list(DEFAULT_EVENT_TYPES)


def test_a_type_that_came_unasked_lands_where_no_types_were_named(sample, land, query, monkeypatch):
    """A newer server's usual types are more than six; refused, such a row would keep every day from landing."""
    body = Request.body
    more = list(ALL_TYPES.event_type)
    monkeypatch.setattr(Request, "body", lambda self: {**body(self), "event_type": more})
    land(Request(first=FIRST, last=LAST))
    assert per_day(query) == truth(sample)


def test_a_vendor_that_ignores_the_types_is_noticed(sample, land, query, monkeypatch):
    """An unknown key exports everything without a word; so the rows are looked at."""
    body = Request.body
    monkeypatch.setattr(Request, "body", lambda self: {k: v for k, v in body(self).items() if k != "event_type"})
    only = Request(first=FIRST, last=LAST, options=Options.of({"event_type": ["page_view"]}))
    with pytest.raises(ContractError, match="not asked for"):
        land(only)
    assert query("select count(*) from duckdb_tables() where table_name = 'events'") == [(0,)]


def test_many_days_are_one_job(pilot, land, query):
    first = date(2025, 12, 1)
    for day in range(90):
        for n in range(day % 3):
            pilot.add_event(at=f"{first + timedelta(days=day)}T12:00:0{n}Z")
    (receipt,) = land(Request(first=first, last=first + timedelta(days=89)))
    assert len(posts(pilot)) == 1
    assert [day.landed for day in receipt.days] == [day % 3 for day in range(90)]
    assert query("select count(*), count(distinct load_id) from connector.landings") == [(90, 1)]


@pytest.mark.parametrize("said", ["invalid format", "Format is not one of ndjson, csv"])
def test_a_refusal_that_names_the_format_is_answered_with_the_other_word(said):
    asked = []

    def refuse_json(request):
        asked.append(json.loads(request.content)["format"])
        refusal = {"errors": [{"message": said}]}
        return httpx.Response(422, json=refusal) if asked == ["json"] else httpx.Response(201, json={"job_id": "j"})

    with Userpilot(url="http://127.0.0.1:1", api_key="k", transport=httpx.MockTransport(refuse_json)) as client:
        assert client.trigger(Request(first=FIRST, last=LAST)).job_id == "j"
    assert asked == ["json", "ndjson"]


# ---------- what goes wrong


def test_a_lost_answer_is_looked_for_and_never_sent_twice_blindly(sample, exports, land, query):
    """The job exists, but nothing says what it exports: its end is waited for, and one more is asked for."""
    sample.drop_next_post(created=True)
    land()
    assert len(posts(sample)) == 2
    assert per_day(query) == truth(sample)
    first, second = (sample.requests.index(post) for post in posts(sample))
    assert any(request.path.rstrip("/").endswith("/jobs") for request in sample.requests[first + 1 : second])


@pytest.mark.parametrize("status", [None, 502])
def test_an_unanswered_request_without_a_job_is_sent_once_more(sample, land, query, status):
    sample.drop_next_post(created=False, status=status)
    land()
    assert len(posts(sample)) == 2
    assert len(sample.jobs.all) == 1
    assert per_day(query) == truth(sample)


@pytest.mark.parametrize("listed", [True, False])
def test_a_strangers_export_is_waited_for_and_its_files_are_not_touched(sample, exports, land, query, listed):
    foreign = sample.foreign_job(seconds=7200, listed=listed)
    job = exports.ask(Request(first=FIRST, last=LAST, options=ALL_TYPES))
    assert job.state == State.FOREIGN
    assert "the export slot is held by" in job.sentence(exports.clock())
    assert job.attempts == 0

    land()
    assert per_day(query) == truth(sample)
    assert not any(foreign.id in request.path for request in sample.file_requests)


def test_patience_ends_resumably(sample, exports, land, query, request_):
    sample.foreign_job(seconds=7200)
    with pytest.raises(InProgressError, match="remembered"):
        list(exports.wait(request_, patience=600))
    land()
    assert per_day(query) == truth(sample)


def test_a_failed_job_is_asked_for_again_after_a_while(sample, land, query, clock):
    sample.fail_next_job()
    land()
    assert len(posts(sample)) == 2
    assert clock.now - NOW > timedelta(minutes=1)
    assert per_day(query) == truth(sample)


def test_two_failures_halve_the_days(sample, land, query):
    sample.fail_next_job(2)
    receipts = land()
    assert [len(receipt.days) for receipt in receipts] == [3, 2]
    assert per_day(query) == truth(sample)


def test_halves_are_found_again_by_whoever_only_looks_now_and_then(sample, exports, warehouse, query, request_, clock):
    """Every two minutes one look, as cron does: the first half lands, then the second, and no export is asked twice."""
    sample.fail_next_job(2)
    landed = []
    for _ in range(30):
        try:
            for job in exports.wait(request_, patience=0):
                landed.append(len(exports.land(job, warehouse=warehouse).days))  # noqa: PERF401 - kept if the next fails
            break
        except InProgressError:
            clock.sleep(120)
    assert landed == [3, 2]
    assert len(posts(sample)) == 4
    assert per_day(query) == truth(sample)
    list(exports.wait(request_))
    assert len(posts(sample)) == 5, "what has landed is asked for as a whole again"


def test_answers_that_never_arrive_do_not_cost_exports_for_ever(sample, exports, land):
    for _ in range(9):
        sample.drop_next_post(created=True, status=504)
    with pytest.raises(ContractError, match="3 exports were lost"):
        land()
    assert len(posts(sample)) == len(sample.jobs.all) == 3


def test_an_answer_with_a_comma_too_many_names_its_job_all_the_same(sample, exports, land, query, monkeypatch):
    send = exports.client._http.send
    monkeypatch.setattr(
        exports.client._http,
        "send",
        lambda method, *rest, **more: (
            send(method, *rest, **more).replace(b"}", b", }") if method == "POST" else send(method, *rest, **more)
        ),
    )
    land()
    assert len(posts(sample)) == 1
    assert per_day(query) == truth(sample)


@pytest.mark.parametrize("first", ["none", "some", "no links"])
def test_files_named_after_the_end_of_the_job_are_waited_for(sample, exports, land, query, monkeypatch, first):
    show, ended, late = exports.client.show, [], 1 if first == "some" else 3

    def show_late(*given, **more):
        seen = show(*given, **more)
        if seen.status != "completed" or len(ended) == late:
            return seen
        ended.append(seen)
        links = dict(list(seen.links.items())[:1]) if first == "some" else {}
        return msgspec.structs.replace(seen, links=links, linkless=first == "no links")

    monkeypatch.setattr(exports.client, "show", show_late)
    land()
    assert len(posts(sample)) == 1
    assert per_day(query) == truth(sample)


@pytest.mark.parametrize("url", [None, "", 7])
def test_a_file_without_a_link_is_one_that_is_still_to_come(userpilot, monkeypatch, url):
    job = {"job_id": "j", "status": "completed", "presigned_urls": [{"filename": "a", "url": "https://f/a"},
                                                                    {"filename": "b", "url": url}]}  # fmt: skip
    monkeypatch.setattr(userpilot._http, "send", lambda *_, **__: json.dumps(job).encode())
    seen = userpilot.show("j")
    assert (seen.linkless, set(seen.links)) == (True, {"a"})


@pytest.mark.parametrize("days_ahead", [2, 1, 0, -1])
def test_a_server_that_takes_no_day_of_the_future_is_asked_for_less(sample, userpilot, monkeypatch, days_ahead):
    """Its today may be another one than ours; a day before the last one is never given up."""
    last = datetime.now(UTC).date() - timedelta(days=1)
    latest, asked = last + timedelta(days=days_ahead), []

    def strict(method, path, *, body, **more):
        asked.append(date.fromisoformat(body["to"]))
        if asked[-1] > latest:
            raise RejectedError("to must not be in the future", where="", next_step="", status=422)
        return b'{"job_id": "j"}'

    monkeypatch.setattr(userpilot._http, "send", strict)
    wanted = Request(first=last, last=last)
    if days_ahead < 0:
        with pytest.raises(RejectedError, match="future"):
            userpilot.trigger(wanted)
    else:
        assert userpilot.trigger(wanted).job_id == "j"
    assert asked == [last + timedelta(days=ahead) for ahead in range(2, max(days_ahead, 0) - 1, -1)]


def test_three_failures_are_enough(sample, land):
    sample.fail_next_job(9)
    with pytest.raises(ContractError, match="3 of 3"):
        land()
    assert len(posts(sample)) == 3


def test_a_forgotten_job_is_asked_for_again(sample, exports, land, query, request_, clock):
    job = exports.ask(request_)
    sample.lose_job(job.job_id)
    clock.now += timedelta(minutes=6)
    land()
    assert len(posts(sample)) == 2
    assert per_day(query) == truth(sample)


def test_links_are_asked_for_anew_before_they_end(sample, exports, warehouse, query, request_, clock, world):
    """Two days minus ten minutes later: the old links would do for a moment, and are not used."""
    job = exports.ask(request_)
    while job.state == State.POLLING:
        clock.sleep(61)
        job = exports.look(job)
    clock.now += timedelta(days=2) - timedelta(minutes=10)
    looks = len(sample.requests)
    exports.land(job, warehouse=warehouse)
    assert per_day(query) == truth(sample)
    assert len(sample.requests) > looks
    assert {request.status for request in sample.file_requests} == {200}


def test_links_that_ended_need_new_ones_or_a_new_export(sample, exports, warehouse, query, request_, clock, world):
    job = exports.ask(request_)
    sample.finish_job(job.job_id)
    job = exports.look(job)
    clock.now += timedelta(days=2, hours=1)
    if world == "odd":
        exports.land(job, warehouse=warehouse)
        assert per_day(query) == truth(sample)
    else:  # signs once: the links end for good
        with pytest.raises(LostError):
            exports.land(job, warehouse=warehouse)


def test_refused_links_are_replaced_once_by_new_ones(sample, land, query, world):
    sample.faults.add("status", path="/exports/*", status=403, times=1)
    land()
    assert per_day(query) == truth(sample)
    assert len(posts(sample)) == 1


def test_files_that_are_gone_need_a_new_export(sample, exports, warehouse, request_):
    job = exports.ask(request_)
    sample.finish_job(job.job_id)
    exports.client.show(job.job_id)
    sample.remove_files()
    with pytest.raises(LostError):
        exports.land(job, warehouse=warehouse)


@pytest.mark.parametrize("kind", ["drop", "truncate", "reset", "status"])
def test_a_broken_download_goes_on(sample, land, query, kind, monkeypatch):
    monkeypatch.setattr("connector.http.client.random.uniform", lambda *_: 0.0)
    sample.faults.add(kind, path="/exports/*", times=2, status=503)
    land()
    assert per_day(query) == truth(sample)


@pytest.mark.parametrize("world", ["documented"])
@pytest.mark.parametrize("kind", ["cut", "empty"])
def test_a_file_cut_at_its_source_does_not_land(sample, land, kind):
    sample.faults.add(kind, path="/exports/*", times=None)
    with pytest.raises(TransientError, match="ends early"):
        land()


def test_the_key_never_travels_to_the_host_of_the_files(sample, land):
    land()
    assert sample.file_requests
    assert all("authorization" not in request.headers for request in sample.file_requests)


def test_files_that_are_there_are_not_fetched_again(sample, exports, land, query, request_):
    """What a killed process had fetched counts; the rest is fetched, and nothing is asked for twice."""
    job = exports.ask(request_)
    sample.finish_job(job.job_id)
    job = exports.look(job)
    names = list(job.files)
    real = exports.client.download
    done = []

    def one_then_die(*args, **options):
        if done:
            raise KeyboardInterrupt
        done.append(1)
        return real(*args, **options)

    exports.client.download = one_then_die
    if len(names) > 1:
        with pytest.raises(KeyboardInterrupt):
            exports.fetch(job)
    exports.client.download = real
    land()
    assert len([r for r in sample.file_requests if r.status == 200]) == len(names)
    assert per_day(query) == truth(sample)
    assert not list(exports.folder.glob("*.chunks"))


def test_a_forgotten_job_does_not_matter_once_its_files_are_ours(sample, exports, warehouse, query, request_, clock):
    job = exports.ask(request_)
    sample.finish_job(job.job_id)
    job = exports.fetch(job)
    clock.now += timedelta(days=9)
    exports.land(job, warehouse=warehouse)
    assert per_day(query) == truth(sample)


def test_the_same_request_finds_its_job_again(sample, exports, userpilot, tmp_path, clock, request_):
    job = exports.ask(request_)
    later = Exports(userpilot, tmp_path / "spool", clock=clock.moment, sleep=clock.sleep)
    assert later.ask(request_).job_id == job.job_id
    assert len(posts(sample)) == 1


def test_nothing_secret_is_written_or_said(sample, urls, tmp_path, exports, request_, warehouse):
    with Userpilot(url=urls[0], api_key="wrong-secret-key") as bad, pytest.raises(RejectedError) as refused:
        Exports(bad, tmp_path / "other").ask(request_)
    assert "wrong-secret-key" not in str(refused.value)
    assert "USERPILOT_API_KEY" in str(refused.value)
    job = exports.ask(request_)
    sample.finish_job(job.job_id)
    sample.faults.add("status", path="/exports/*", status=403, times=None)
    with pytest.raises(LostError) as lost:
        exports.land(job, warehouse=warehouse)
    written = b"".join(file.read_bytes() for file in (tmp_path / "spool").rglob("*") if file.is_file())
    for text in (str(lost.value), repr(exports.client.show(job.job_id)), written.decode("latin-1")):
        assert "X-Amz-Signature" not in text
        assert USERPILOT_KEY not in text
    assert (exports.folder / "exports.json").stat().st_mode & 0o077 == 0
