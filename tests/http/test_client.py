"""One request -> one body, or an error that says what to do; never too often, never to a stranger."""

import socket
import ssl

import httpx
import pytest

from connector.errors import ContractError, RejectedError, TransientError
from connector.http.budget import Unlimited
from connector.http.client import Http, vendor_message
from connector.meter import Meter
from connector.redaction import excerpt

SECRET = "s3cr3t-value"
HEADERS = {"openpanel-client-id": "id", "openpanel-client-secret": SECRET}


@pytest.fixture
def http(url):
    with Http(url, headers=HEADERS, budget=Unlimited(), timeout=2.0, deadline=4.0, sleep=lambda _: None) as client:
        yield client


def get(http, meter=None):
    return http.get("/healthcheck", where="test", meter=meter)


def reached(vendor):
    return [request for request in vendor.requests if request.path == "/healthcheck"]


@pytest.mark.parametrize(
    ("status", "error", "requests"),
    [
        (400, RejectedError, 1),
        (401, RejectedError, 1),  # asking again with the same wrong secret only spends the budget
        (403, RejectedError, 1),
        (404, RejectedError, 1),
        (409, RejectedError, 1),
        (431, RejectedError, 1),
        (408, TransientError, 5),
        (500, TransientError, 3),  # also the server's word for a parameter it cannot read
        (502, TransientError, 5),
        (503, TransientError, 5),
        (504, TransientError, 5),
        (429, TransientError, 30),
    ],
)
def test_each_status_is_asked_as_often_as_it_deserves(vendor, http, no_pauses, status, error, requests):
    vendor.faults.add("status", path="/healthcheck", status=status, times=1000, body="no", headers={"retry-after": "0"})

    meter = Meter()
    with pytest.raises(error, match=str(status)):
        get(http, meter)

    assert len(reached(vendor)) == requests == meter.requests


@pytest.mark.parametrize("kind", ["truncate", "reset", "hang", "wrong_content_length", "html_200"])
def test_a_passing_fault_is_survived(vendor, http, no_pauses, kind):
    vendor.faults.add(kind, path="/healthcheck", times=1, seconds=3.0)

    assert get(http)
    assert len(reached(vendor)) == 2


def test_a_server_that_drips_is_given_up(vendor, url, no_pauses):
    with Http(url, headers={}, timeout=2.0, deadline=0.5) as http:
        vendor.faults.add("drip", path="/healthcheck", times=100, seconds=1.5)
        with pytest.raises(TransientError, match="not complete"):
            get(http)


@pytest.mark.parametrize(
    ("base_url", "verified"),
    [("https://host", True), ("HTTPS://host", True), ("Https://host", True), ("http://host", None), ("HTTP://h", None)],
)
def test_certificates_are_verified_however_the_scheme_is_spelt(monkeypatch, base_url, verified):
    given = {}
    monkeypatch.setattr(httpx, "HTTPTransport", lambda **options: given.update(options))

    Http(base_url, headers={})

    assert (given["verify"] and given["verify"].verify_mode == ssl.CERT_REQUIRED) is (verified or False)


def test_a_page_larger_than_the_limit_is_refused(url):
    with Http(url, headers={}, largest_body=10) as http, pytest.raises(ContractError, match="larger"):
        get(http)


def test_a_web_page_instead_of_json_points_at_the_base_url(vendor, http, no_pauses):
    vendor.faults.add("html_200", path="/healthcheck", times=100)

    with pytest.raises(ContractError, match="base URL"):
        get(http)


def test_credentials_never_follow_a_redirect_to_another_host(vendor, http):
    from connector.sandbox import OpenPanel, serve

    elsewhere = OpenPanel()
    with serve(elsewhere.app) as other:
        vendor.faults.add("redirect", path="/healthcheck", location=other + "/healthcheck")
        with pytest.raises(RejectedError, match="not sent there"):
            get(http)
    assert elsewhere.requests == []


def test_a_redirect_on_the_same_host_is_followed(vendor, http, url):
    vendor.faults.add("redirect", path="/healthcheck", location=url + "/healthcheck?moved=1")

    assert get(http)
    assert vendor.requests[-1].headers["openpanel-client-secret"] == SECRET


def test_nobody_listening_is_transient(no_pauses):
    with Http("http://127.0.0.1:9", headers=HEADERS, timeout=1.0) as http, pytest.raises(TransientError) as caught:
        get(http)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None, "httpx exceptions carry the request and its headers"


def test_an_error_shows_no_secret_and_no_forged_line(vendor, http, no_pauses):
    body = "first\r\n2026-01-01 ERROR forged https://files.example/a.gz?X-Amz-Signature=abc end"
    vendor.faults.add("status", path="/healthcheck", status=400, body=body)

    with pytest.raises(RejectedError) as caught:
        get(http)

    text = str(caught.value)
    assert "\n" not in text
    assert "\r" not in text
    assert "abc" not in text
    assert "files.example/a.gz?[cut]" in text


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"error":"Unauthorized","message":"Export: Invalid client id"}', "Export: Invalid client id; Unauthorized"),
        (b'{"errors":[{"details":null,"error":"Unauthorized","error_code":"401","message":"no plan"}]}', "no plan"),
        (b'{"status":403,"message":"You do not have access"}', "You do not have access"),
        (b"Internal server error", "Internal server error"),
        (b"", "an empty body"),
        (b"[1, 2]", "[1, 2]"),
        (b"\xff\xfe", "��"),
    ],
)
def test_every_error_body_has_a_message(body, said):
    assert said in vendor_message(body)


def test_excerpts_are_short():
    assert len(excerpt("x" * 10_000)) == 300


def test_a_server_that_is_not_there_is_named_with_its_port_and_the_variable(no_pauses):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{free.getsockname()[1]}"
    with Http(f"http://{place}", headers=HEADERS, setting="OPENPANEL_API_URL", sleep=lambda _: None) as http:
        with pytest.raises(TransientError, match=rf"GET {place}/healthcheck failed: ConnectError") as told:
            get(http)
    assert "check OPENPANEL_API_URL, the network" in told.value.next_step
