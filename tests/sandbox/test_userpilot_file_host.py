"""The host of the exported files: who may fetch them, until when, in which parts, and faults on both hosts."""

import gzip
import http.client
import re

import httpx
import pytest

from tests.sandbox.factory import EXPORTS

DAY = 86_400


def test_authorization_is_refused(pilot):
    _, url = pilot.one_file()
    for value in ("Token anything", "Basic eDp5"):
        answer, body = pilot.get(url, authorization=value)
        assert answer.status_code == 400
        assert b"Only one auth mechanism allowed" in body
    assert pilot.get(url)[0].status_code == 200


@pytest.mark.parametrize(
    ("method", "status", "code"),
    [("HEAD", 403, ""), ("POST", 405, "MethodNotAllowed"), ("PUT", 405, "MethodNotAllowed")],
)
def test_get_only(pilot, method, status, code):
    answer = pilot.http.request(method, pilot.one_file()[1])
    assert answer.status_code == status
    assert code in answer.text


def resorted(url):
    path, query = url.split("?")
    return f"{path}?{'&'.join(sorted(query.split('&'), reverse=True))}"


@pytest.mark.parametrize(
    "change",
    [
        resorted,
        lambda url: url.replace("%2F", "%2f"),
        lambda url: url + "&x=1",
        lambda url: url.replace("X-Amz-Expires=172800", "X-Amz-Expires=999999"),
        lambda url: url.replace(".json.gz", ".csv.gz"),
        lambda url: url.replace("/exports/", "/exports//"),
        lambda url: url.split("?")[0],
        lambda url: re.sub("Signature=.{4}", "Signature=0000", url),
    ],
)
def test_urls_are_good_to_the_last_byte(pilot, change):
    _, url = pilot.one_file()
    assert change(url) != url
    assert pilot.get(change(url))[0].status_code == 403


def test_path_with_an_escape(userpilot):
    """In the odd world, the path is signed exactly as it is written."""
    ask = userpilot("odd")
    _, url = ask.one_file()
    assert "/job%3D" in url
    host, port = ask.files_url.removeprefix("http://").split(":")
    statuses = []
    for target in (url, url.replace("%3D", "=")):
        connection = http.client.HTTPConnection(host, int(port), timeout=2)
        connection.request("GET", target.removeprefix(ask.files_url))
        statuses.append(connection.getresponse().status)
        connection.close()
    assert statuses == [200, 403]


@pytest.mark.parametrize(("world", "refreshed"), [("documented", 403), ("odd", 200)])
def test_urls_expire_after_two_days(userpilot, world, refreshed):
    """Documented: signed once, so a job outlives its URLs. Odd: signed again at every look."""
    ask = userpilot(world)
    job_id, url = ask.one_file()
    ask.clock.now += 2 * DAY - 1
    assert ask.get(url)[0].status_code == 200
    ask.clock.now += 1
    answer, body = ask.get(url)
    assert answer.status_code == 403
    assert b"Request has expired" in body
    again = ask.done(job_id)["presigned_urls"][0]["url"]
    assert ask.get(again)[0].status_code == refreshed
    assert (again == url) == (world == "documented")


@pytest.mark.parametrize(("world", "refreshed"), [("documented", 403), ("odd", 200)])
def test_urls_can_be_expired_by_hand(userpilot, world, refreshed):
    ask = userpilot(world)
    job_id, url = ask.one_file()
    ask.vendor.expire_urls()
    assert b"Request has expired" in ask.get(url)[1]
    assert ask.get(ask.done(job_id)["presigned_urls"][0]["url"])[0].status_code == refreshed


def test_url_says_when_it_expires(userpilot):
    query = httpx.URL(userpilot(url_life=3600).one_file()[1]).params
    assert (query["X-Amz-Date"], query["X-Amz-Expires"]) == ("20260305T120000Z", "3600")


def test_vanished_object(pilot):
    _, url = pilot.one_file()
    pilot.vendor.remove_files()
    answer, body = pilot.get(url)
    assert answer.status_code == 404
    assert b"NoSuchKey" in body


def test_ranges_as_documented(documented):
    _, url = documented.one_file()
    whole, body = documented.get(url)
    size, etag = len(body), whole.headers["etag"]
    assert whole.headers["content-length"] == str(size)
    for asked, start, end in ((f"bytes=10-{size}", 10, size), ("bytes=0-3", 0, 4), ("bytes=-5", size - 5, size)):
        answer, part = documented.get(url, range=asked, **{"if-match": etag})
        assert (answer.status_code, part) == (206, body[start:end])
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
    assert documented.get(url, range="bytes=1-", **{"if-match": '"another"'})[0].status_code == 412
    assert documented.get(url, range=f"bytes={size}-")[0].status_code == 416
    assert documented.get(url, range="bytes=1-", **{"if-range": '"another"'})[0].status_code == 200
    assert documented.get(url, range="lines=1-")[0].status_code == 200


def test_no_ranges_without_an_etag(userpilot):
    """In the odd world a download cannot be resumed: the whole file is sent again."""
    answer, body = (ask := userpilot("odd")).get(ask.one_file()[1], range="bytes=5-")
    assert answer.status_code == 200
    assert body[:2] == b"\x1f\x8b"
    assert not {"etag", "accept-ranges"} & answer.headers.keys()


# ---------- faults on both hosts

FILES = "/exports/*"


@pytest.mark.parametrize(
    ("kind", "options", "status", "length"),
    [
        ("status", {"status": 403}, 403, None),
        ("status", {"status": 404}, 404, None),
        ("status", {"status": 500}, 500, None),
        ("status", {"status": 503}, 503, None),
        ("html_200", {}, 200, None),
        ("redirect", {"location": "https://elsewhere.example.com/"}, 302, 0),
        ("empty", {}, 200, 0),
        ("cut", {"after_bytes": 20}, 200, 20),
        ("wrong_content_length", {"after_bytes": 20}, 200, 20),
    ],
)
def test_faulty_file(pilot, kind, options, status, length):
    """One bad answer, then a good one. A cut gzip has the announced length."""
    _, url = pilot.one_file()
    pilot.vendor.faults.add(kind, FILES, **options)
    answer, body = pilot.get(url)
    assert answer.status_code == status
    assert length is None or len(body) == length
    if kind in ("cut", "wrong_content_length"):
        with pytest.raises(EOFError):
            gzip.decompress(body)
    assert pilot.get(url)[0].status_code == 200
    assert [request.status for request in pilot.vendor.file_requests] == [status, 200]


@pytest.mark.parametrize("kind", ["drop", "truncate", "reset", "hang"])
@pytest.mark.parametrize("where", ["file", "list", "post"])
def test_broken_connection(documented, kind, where):
    _, url = documented.one_file()
    path = {"file": FILES, "list": f"{EXPORTS}/jobs", "post": EXPORTS}[where]
    act = {"file": lambda: documented.get(url), "list": documented.jobs, "post": documented.trigger}[where]
    documented.vendor.faults.add(kind, path)
    documented.http.timeout = 0.2
    with pytest.raises(httpx.TransportError):
        act()
    documented.http.timeout = 2
    if where == "post":
        assert documented.trigger().status_code == 409  # the answer was lost, the job exists
    else:
        act()


@pytest.mark.parametrize("status", [401, 409, 422, 429, 500, 502])
def test_status_of_the_api(pilot, status):
    pilot.vendor.faults.add("status", status=status)
    answer = pilot.show("any")
    assert answer.status_code == status
    if status == 502:
        assert answer.text.startswith("<html>")
    else:
        assert answer.json()["errors"][0]["error_code"] == str(status)
    pilot.vendor.faults.add("status", f"{EXPORTS}/jobs", status=418, body="teapot", headers={"Retry-After": "7"})
    assert pilot.trigger().is_success
    answer = pilot.send("GET", f"{EXPORTS}/jobs/")
    assert (answer.status_code, answer.text, answer.headers["retry-after"]) == (418, "teapot", "7")
