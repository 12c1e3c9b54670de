"""Export jobs: keys, request bodies, the one slot, progress, and when jobs are forgotten.

Where the contract is undecided, the test names the world (`World`) that shows each reading.
"""

import re

import httpx
import pytest

from connector.sandbox import USERPILOT_KEY, USERPILOT_KEY_WITHOUT_PLAN, Userpilot
from connector.sandbox.userpilot.store import DEFAULT_TYPES
from tests.sandbox.factory import EXPORTS, WORLDS

DAY = 86_400
UUID = r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}"


def error(answer):
    found = answer.json()["errors"]
    assert len(found) == 1
    assert found[0].keys() == {"details", "error", "error_code", "message"}
    assert isinstance(found[0]["error_code"], str)
    return found[0]


# ---------- keys


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        USERPILOT_KEY,
        f"Bearer {USERPILOT_KEY}",
        f"token {USERPILOT_KEY}",
        f"Token  {USERPILOT_KEY}",
        "Token x",
    ],
)
@pytest.mark.parametrize("path", [f"{EXPORTS}/jobs/", f"{EXPORTS}/lookups/flows"])
def test_only_the_word_token_and_the_key(pilot, authorization, path):
    answer = pilot.send("GET", path, authorization)
    assert answer.status_code == 401
    assert error(answer)["message"] == "Unauthorized - Invalid API key or insufficient permissions"
    assert pilot.send("GET", path).status_code == 200


@pytest.mark.parametrize(("world", "status"), [("documented", 403), ("odd", 401)])
def test_plan_without_the_feature(userpilot, world, status):
    """403 by the page's text (documented), 401 by its heading and the newer pages (odd); the body always says 401."""
    answer = userpilot(world).send("POST", EXPORTS, f"Token {USERPILOT_KEY_WITHOUT_PLAN}", json={})
    assert answer.status_code == status
    assert error(answer)["error_code"] == "401"
    assert error(answer)["error"] == "Unauthorized"
    assert "current plan for application NX-51f4acf7 does not support" in error(answer)["details"]


def test_rate_limit(userpilot):
    ask = userpilot(rate_limit=(3, 60))
    assert [ask.send("GET", f"{EXPORTS}/jobs/").status_code for _ in range(5)] == [200, 200, 200, 429, 429]
    refused = ask.trigger()
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "60")
    ask.clock.now += 60
    assert ask.trigger().status_code == 201


# ---------- spelling of paths


@pytest.mark.parametrize(
    ("world", "slash", "bare_status", "slash_status"),
    [
        ("documented", "either", 201, 201),
        ("documented", "required", 404, 201),
        ("odd", 308, 200, 308),
        ("odd", 301, 200, 301),
        ("odd", 404, 200, 404),
    ],
)
def test_trailing_slash_of_the_post(userpilot, world, slash, bare_status, slash_status):
    """The page has the slash, the newer pages do not. A missing route has another envelope than an unknown job."""
    for path, status in ((EXPORTS, bare_status), (EXPORTS + "/", slash_status)):
        ask = userpilot(world, slash=slash, prefix="/pilot")
        answer = ask.trigger(path=path)
        assert answer.status_code == status
        assert len(ask.vendor.jobs.all) == answer.is_success
        if status == 404:
            assert answer.json() == {"errors": {"detail": "Not Found"}}
        if status in (301, 308):
            assert answer.headers["location"] == "/pilot" + EXPORTS


@pytest.mark.parametrize(
    ("world", "settings", "bare", "slashed"),
    [("documented", {}, 200, 200), ("odd", {}, 200, 200), ("documented", {"slash": "required"}, 404, 200)],
)
def test_list_has_both_spellings(userpilot, world, settings, bare, slashed):
    ask = userpilot(world, **settings)
    assert ask.send("GET", f"{EXPORTS}/jobs").status_code == bare
    assert ask.send("GET", f"{EXPORTS}/jobs/").status_code == slashed


@pytest.mark.parametrize(
    ("method", "path"), [("GET", EXPORTS), ("DELETE", f"{EXPORTS}/jobs/x"), ("GET", f"{EXPORTS}/lookups/x")]
)
def test_no_such_route(pilot, method, path):
    """A job cannot be cancelled or deleted."""
    assert pilot.send(method, path).json() == {"errors": {"detail": "Not Found"}}


# ---------- the created job


def test_created_as_documented(documented):
    answer = documented.trigger()
    body = answer.json()
    assert answer.status_code == 201
    assert re.fullmatch(UUID, body["job_id"])
    assert body == {
        "environment_app_token": "NX-51f4acf7",
        "environment_name": "production",
        "job_id": body["job_id"],
        "links": f"{EXPORTS}/jobs/{body['job_id']}",
        "start_time": "2026-03-05T12:00:00.000000",
    }
    assert documented.send("GET", body["links"]).status_code == 200


def test_created_in_the_odd_world(userpilot):
    """Odd: another 2xx status, another name for the token, and a link without a route."""
    ask = userpilot("odd")
    answer = ask.trigger()
    assert answer.status_code == 200
    assert answer.json()["app_token"] == "NX-51f4acf7"
    assert ask.send("GET", answer.json()["links"]).json() == {"errors": {"detail": "Not Found"}}
    assert ask.show(answer.json()["job_id"]).status_code == 200


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "from"),
        ({"from": "2026-03-02"}, "to"),
        ({"from": "2026-03-02T00:00:00Z", "to": "2026-03-04"}, "from"),
        ({"from": "20260302", "to": "2026-03-04"}, "from"),
        ({"from": "2026-02-30", "to": "2026-03-04"}, "from"),
        ({"from": "2026-03-04", "to": "2026-03-02"}, "from"),
        ({"from": "2026-03-02", "to": "2026-03-04", "event_type": "track"}, "event_type"),
        ({"from": "2026-03-02", "to": "2026-03-04", "user_id": [7]}, "user_id"),
        ({"from": "2026-03-02", "to": "2026-03-04", "segment_id": 101}, "segment_id"),
        ({"from": "2026-03-02", "to": "2026-03-04", "segment_id": "999"}, "segment_id"),
        ({"from": "2026-03-02", "to": "2026-03-04", "format": "parquet"}, "format"),
        ({"from": "2026-03-02", "to": "2026-03-04", "exclusions": "yes"}, "exclusions"),
        ([], "object"),
    ],
)
@pytest.mark.parametrize(("world", "status"), [("documented", 400), ("odd", 422)])
def test_refused_bodies(userpilot, world, status, body, named):
    """The status is not documented; each world uses one of the two usual ones."""
    ask = userpilot(world)
    answer = ask.send("POST", EXPORTS, json=body)
    assert answer.status_code == status
    assert named in error(answer)["details"]
    assert ask.jobs() == []


def test_body_of_another_type_is_not_read(pilot):
    answer = pilot.send("POST", EXPORTS, content=b'{"from":"2026-03-02","to":"2026-03-04"}')
    assert "from must be" in error(answer)["details"]
    broken = pilot.send("POST", EXPORTS, content=b"{", headers={"content-type": "application/json"})
    assert (broken.status_code, broken.json()) == (400, {"errors": {"detail": "Bad Request"}})


def test_format_json_is_refused_where_it_is_called_ndjson(userpilot):
    """The page has json and csv (documented), the published schema ndjson and csv (odd)."""
    assert userpilot().trigger(format="json").status_code == 201
    odd = userpilot("odd")
    answer = odd.trigger(format="json")
    assert answer.status_code == 422
    assert error(answer)["details"] == "format must be one of ndjson, csv: 'json'"
    assert odd.trigger(format="ndjson").is_success
    assert userpilot("odd", invalid_status=400).trigger(format="json").status_code == 400
    assert userpilot("odd").trigger().is_success


# ---------- filters


def fill(vendor):
    for number, kind in enumerate([*DEFAULT_TYPES, "session_start"]):
        vendor.add_event(at=f"2026-03-03T10:00:0{number}Z", event_type=kind, event_name=kind, user_id=f"u{number}")
    vendor.add_event(at="2026-03-03T11:00:00Z", event_name="other firm", user_id="u8", company_id="c9")
    vendor.segments["101"] = {"u0", "u8"}
    vendor.excluded_users.add("u1")
    vendor.excluded_companies.add("c9")


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({}, {*DEFAULT_TYPES, "other firm"}),
        ({"event_type": []}, {*DEFAULT_TYPES, "other firm"}),
        ({"event_type": ["track", "session_start"]}, {"track", "other firm", "session_start"}),
        ({"event_type": ["nothing"]}, set()),
        ({"user_id": ["u0", "u1"]}, {"identify_user", "identify_company"}),
        ({"company_id": ["c9"]}, {"other firm"}),
        ({"segment_id": "101"}, {"identify_user", "other firm"}),
        ({"exclusions": True}, set(DEFAULT_TYPES) - {"identify_company"}),
        ({"exclusions": False, "emails": ["someone@example.com"]}, {*DEFAULT_TYPES, "other firm"}),
        ({"event_types": ["track"], "users": ["u0"]}, {*DEFAULT_TYPES, "other firm"}),
    ],
)
def test_filters_filter_and_misspelt_ones_do_not(pilot, body, found):
    """`session_start` is exported only on request; unknown keys are ignored silently."""
    fill(pilot.vendor)
    assert set(pilot.names(**body)) == found


def test_exclusions_as_text(userpilot):
    """The published schema declares ``exclusions`` a string (odd)."""
    assert userpilot().trigger(exclusions="true").status_code == 400
    odd = userpilot("odd")
    fill(odd.vendor)
    assert "other firm" not in odd.names(exclusions="true")


# ---------- the one slot


@WORLDS
def test_second_export_is_a_conflict_until_the_first_is_over(userpilot, world):
    ask = userpilot(world, polls_to_complete=3)
    first = ask.trigger().json()["job_id"]
    refused = ask.trigger()
    assert refused.status_code == 409
    assert "already an export job in progress" in error(refused)["details"]
    ask.done(first)
    assert ask.trigger().is_success
    assert len(ask.vendor.jobs.all) == 2


def test_environments_do_not_share_a_slot(userpilot):
    assert [userpilot().trigger().status_code for _ in range(2)] == [201, 201]


@pytest.mark.parametrize("listed", [True, False])
def test_foreign_job_holds_the_slot_and_may_be_invisible(pilot, listed):
    job = pilot.vendor.foreign_job(seconds=90, listed=listed)
    assert pilot.trigger().status_code == 409
    assert [item["job_id"] for item in pilot.jobs()] == ([job.id] if listed else [])
    assert pilot.show(job.id).status_code == (200 if listed else 404)
    pilot.clock.now += 89
    assert pilot.trigger().status_code == 409
    pilot.clock.now += 1
    assert pilot.trigger().is_success


def test_foreign_job_may_come_later_and_has_its_own_rows(pilot):
    fill(pilot.vendor)
    job = pilot.vendor.foreign_job(
        pilot.clock.now + 10, 5, first="2026-03-01", last="2026-03-31", types=frozenset({"session_start"})
    )
    assert pilot.jobs() == []
    pilot.clock.now += 10
    assert pilot.trigger().status_code == 409
    pilot.clock.now += 5
    assert pilot.done(job.id)["presigned_urls"]


def test_another_type_of_job_holds_no_slot(userpilot):
    """The list contains the type in the odd world only."""
    for world, told in (("documented", [None]), ("odd", ["import"])):
        ask = userpilot(world)
        job = ask.vendor.foreign_job(type="import")
        assert [item.get("type") for item in ask.jobs()] == told
        assert ask.show(job.id).json()["type"] == "import"
        assert ask.trigger().is_success


@pytest.mark.parametrize(
    ("created", "status", "left"), [(True, None, 1), (True, 502, 1), (False, None, 0), (False, 504, 0)]
)
def test_lost_answer_of_a_post(pilot, created, status, left):
    """After a lost answer the job may or may not exist; the client cannot know."""
    pilot.vendor.drop_next_post(created=created, status=status)
    if status is None:
        with pytest.raises(httpx.RemoteProtocolError):
            pilot.trigger()
    else:
        assert (pilot.trigger().status_code, pilot.vendor.requests[-1].method) == (status, "POST")
    assert len(pilot.jobs()) == left
    assert pilot.trigger().status_code == (409 if created else pilot.vendor.world.created_status)


# ---------- progress


def test_progress_by_looks(userpilot):
    """Documented: one chunk per month, labelled with its first day; no URLs before the end."""
    ask = userpilot(polls_to_complete=5)
    ask.vendor.add_event(at="2024-07-29T10:00:00Z")
    ask.vendor.add_event(at="2024-08-11T10:00:00Z")
    job_id = ask.trigger("2024-05-02", "2024-09-30").json()["job_id"]
    seen = [ask.show(job_id).json() for _ in range(5)]
    assert [item["status"] for item in seen] == ["in_progress"] * 4 + ["completed"]
    assert [len(item["completed_chunks"]) for item in seen] == [1, 2, 3, 4, 5]
    assert [item["end_time"] for item in seen] == [None] * 4 + ["2026-03-05T12:00:00.000000Z"]
    assert [len(item["presigned_urls"]) for item in seen] == [0, 0, 0, 0, 2]
    last = seen[-1]
    assert last["all_chunks"] == [f"2024-0{month}-01" for month in range(5, 10)] == last["completed_chunks"]
    assert last["current_chunk"] == "2024-09-01"  # although the job has ended
    assert last["progress"] == "2 out of 5 partitions"
    assert last["start_time"] == "2026-03-05T12:00:00.000000Z"
    assert last["type"] == "export"
    assert last["app_token"] == "NX-51f4acf7"
    assert [item["filename"] for item in last["presigned_urls"]] == ["2024-07-29.json.gz", "2024-08-05.json.gz"]
    assert ask.jobs()[0]["progress"] == "5 out of 5 partitions"


def test_unknown_words_and_partial_urls_before_the_end(userpilot):
    """Odd: undocumented status words, null and then some of the URLs, weekly labels, daily files."""
    ask = userpilot("odd", polls_to_complete=4)
    for day in range(2, 10):
        ask.vendor.add_event(at=f"2026-03-0{day}T10:00:00Z")
    job_id = ask.trigger("2026-03-02", "2026-03-22").json()["job_id"]
    seen = [ask.show(job_id).json() for _ in range(4)]
    assert [item["status"] for item in seen] == ["queued", "processing", "in_progress", "completed"]
    assert seen[0]["presigned_urls"] is None
    assert [len(item["presigned_urls"]) for item in seen[1:]] == [7, 14, 21]
    assert seen[-1]["all_chunks"] == ["2026-03-02", "2026-03-09", "2026-03-16"]


def test_urls_may_be_absent_at_first(userpilot):
    ask = userpilot(urls_before=("absent",))
    assert "presigned_urls" not in ask.show(ask.trigger().json()["job_id"]).json()


@WORLDS
def test_progress_by_the_clock(userpilot, world):
    ask = userpilot(world, seconds_to_complete=40)
    job_id = ask.trigger().json()["job_id"]
    ask.clock.now += 39
    running = ask.show(job_id).json()
    assert (running["status"], running["end_time"]) == ("in_progress", None)
    ask.clock.now += 5
    assert ask.show(job_id).json()["end_time"] == "2026-03-05T12:00:40.000000Z"
    item = ask.jobs()[0]
    assert item["elapsed_time_seconds"] == (40 if world == "documented" else "40")
    assert item["elapsed_time"] == "40 seconds"
    assert item["start_time"] == "2026-03-05T12:00:00.000000"
    assert item["end_time"] == "2026-03-05T12:00:40.000000Z"


@pytest.mark.parametrize(("world", "order"), [("documented", -1), ("odd", 1)])
def test_order_of_the_list(userpilot, world, order):
    ask = userpilot(world, polls_to_complete=0)
    ids = []
    for _ in range(3):
        ids.append(ask.trigger().json()["job_id"])
        ask.clock.now += 1
    assert [item["job_id"] for item in ask.jobs()] == ids[::order]


def test_failed_job_leaves_some_files_and_the_slot(pilot):
    for day in range(2, 5):
        pilot.vendor.add_event(at=f"2026-02-0{day}T10:00:00Z")
        pilot.vendor.add_event(at=f"2026-03-0{day}T10:00:00Z")
    pilot.vendor.fail_next_job()
    failed = pilot.done(pilot.trigger("2026-02-01", "2026-03-04").json()["job_id"])
    assert failed["status"] == "failed"
    assert failed["end_time"]
    assert failed["presigned_urls"]
    assert len(failed["completed_chunks"]) < len(failed["all_chunks"])
    good = pilot.done(pilot.trigger("2026-02-01", "2026-03-04").json()["job_id"])
    assert len(good["presigned_urls"]) > len(failed["presigned_urls"])


# ---------- forgetting


def test_unknown_job(pilot):
    answer = pilot.show("ba111778-f28a-40ca-8c64-e83e2a3bb96e")
    assert answer.status_code == 404
    assert error(answer) == {
        "details": None,
        "error": "Resource not found",
        "error_code": "404",
        "message": "Failed to retrieve job with id ba111778-f28a-40ca-8c64-e83e2a3bb96e for application NX-51f4acf7: "
        "job not found",
    }


def test_jobs_are_forgotten_after_three_days(pilot):
    job_id = pilot.trigger().json()["job_id"]
    pilot.done(job_id)
    pilot.clock.now += 3 * DAY - 1
    assert pilot.show(job_id).status_code == 200
    pilot.clock.now += 1
    assert pilot.show(job_id).status_code == 404
    assert pilot.jobs() == []


def test_abandoned_job_frees_its_slot_when_it_is_forgotten(pilot):
    pilot.trigger()
    pilot.clock.now += 3 * DAY
    assert pilot.trigger().is_success


def test_lost_job_is_gone_and_its_slot_free(pilot):
    job_id = pilot.trigger().json()["job_id"]
    pilot.vendor.lose_job(job_id)
    assert pilot.show(job_id).status_code == 404
    assert pilot.trigger().is_success


def test_new_job_may_be_hidden_at_first(userpilot):
    """With a lagging replica, a job that holds the slot is unknown for two looks."""
    ask = userpilot(hidden_looks=2)
    job_id = ask.trigger().json()["job_id"]
    assert ask.jobs() == []
    assert ask.show(job_id).status_code == 404
    assert ask.trigger().status_code == 409
    assert ask.show(job_id).status_code == 200


def test_job_can_be_finished_by_hand(userpilot):
    ask = userpilot(polls_to_complete=1000)
    job_id = ask.trigger().json()["job_id"]
    assert ask.show(job_id).json()["status"] == "in_progress"
    ask.vendor.finish_job(job_id)
    assert ask.show(job_id).json()["status"] == "completed"


def test_unknown_setting_is_a_mistake_of_the_test():
    with pytest.raises(TypeError, match="politeness"):
        Userpilot(politeness=1)
