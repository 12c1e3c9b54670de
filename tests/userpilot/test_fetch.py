"""Files by presigned link: what lies on the host is what lies on our disk, whatever the host says about packing."""

import gzip

import httpx
import pytest

from connector.http import Files

BODY = gzip.compress(b'{"a": 1}\n' * 50_000, mtime=0)
LINK = "https://files.example.com/export/chunk-1.json.gz?X-Amz-Signature=s"


class Sent(httpx.SyncByteStream):
    """A body on its way; its connection may break off after some bytes."""

    def __init__(self, body: bytes, *, torn_after: int | None = None) -> None:
        self._body, self._torn_after = body, torn_after

    def __iter__(self):
        yield self._body[: self._torn_after]
        if self._torn_after is not None:
            raise httpx.ReadError("connection reset")


@pytest.fixture
def fetch(tmp_path):
    """Fetch the link from a host; returns the requests it got and the bytes on our disk."""

    def run(host):
        requests = []

        def answer(request: httpx.Request) -> httpx.Response:
            requests.append(request)
            return host(request)

        files = Files(sleep=lambda _: None, transport=httpx.MockTransport(answer))
        size = files.fetch(LINK, tmp_path / "chunk", where="userpilot.events")
        kept = (tmp_path / "chunk").read_bytes()
        assert size == len(kept)
        return requests, kept

    return run


def test_a_host_that_calls_the_packing_an_encoding_does_not_make_us_unpack(fetch):
    requests, kept = fetch(lambda _: httpx.Response(200, stream=Sent(BODY), headers={"content-encoding": "gzip"}))
    assert kept == BODY
    assert requests[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("encoding", [{}, {"content-encoding": "gzip"}])
def test_a_file_that_broke_off_goes_on_at_the_byte_of_the_host_where_it_stopped(fetch, encoding):
    half = len(BODY) // 2

    def host(request: httpx.Request) -> httpx.Response:
        headers = {"etag": '"e1"', **encoding}
        if "range" not in request.headers:
            return httpx.Response(200, headers=headers, stream=Sent(BODY, torn_after=half))
        assert request.headers["if-match"] == '"e1"'
        start = int(request.headers["range"].removeprefix("bytes=").rstrip("-"))
        return httpx.Response(206, headers=headers, stream=Sent(BODY[start:]))

    requests, kept = fetch(host)
    assert kept == BODY
    assert [request.headers.get("range") for request in requests] == [None, f"bytes={half}-"]
