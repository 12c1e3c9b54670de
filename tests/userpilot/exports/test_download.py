"""Files by presigned link: what lies on the host is what lies on our disk, whatever the host says about packing."""

import gzip

import httpx
import pytest

from connector import TransientError, Userpilot
from connector.http.download import Files

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
        size, _ = files.fetch(LINK, tmp_path / "chunk", where="userpilot.events")
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


@pytest.fixture
def download(tmp_path):
    """Download the link from a host that answers with one body after the other; returns the file and the requests."""

    def run(*bodies, end_told):
        requests = []

        def answer(request: httpx.Request) -> httpx.Response:
            body = bodies[min(len(requests), len(bodies) - 1)]
            requests.append(request)
            headers = {"content-length": str(len(body))} if end_told else {}
            return httpx.Response(200, stream=Sent(body), headers=headers)

        network = httpx.MockTransport(answer)
        with Userpilot(url="http://127.0.0.1:1", api_key="k", files_transport=network, sleep=lambda _: None) as client:
            try:
                size = client.download(LINK, tmp_path / "chunk", where="userpilot.events")
            except TransientError as error:
                return str(error), len(requests)
        kept = (tmp_path / "chunk").read_bytes()
        assert size == len(kept)
        assert [path.name for path in tmp_path.iterdir()] == ["chunk"]
        return kept, len(requests)

    return run


CSV = b"inserted_at,pathname\n2026-03-03 01:00:00,/a/very/long/path\n"


@pytest.mark.parametrize(
    ("whole", "cut"),
    [(CSV, CSV[:-9]), (CSV, CSV[:-1]), (b'[{"a":\n1}, {"a": 2}]', b'[{"a":\n1}, {"a": 2}'), (BODY, BODY[:-20])],
)
@pytest.mark.parametrize("end_told", [False, True])
def test_a_file_cut_where_only_the_connection_ends_it_is_fetched_again(download, whole, cut, end_told):
    """Where the host told the end and kept to it, a plain file may do without a newline behind its last line."""
    for times in (0, 1, 2):
        noticed = not end_told or whole is BODY
        assert download(*[cut] * times, whole, end_told=end_told) == (
            (whole, times + 1) if noticed or not times else (cut, 1)
        )


@pytest.mark.parametrize("body", [BODY[:-20], b"", b"<html></html>\n", CSV[:-9]])
def test_a_file_that_never_arrives_whole_is_given_up_after_three_times(download, body):
    said, requests = download(body, end_told=False)
    assert "is damaged, ends early, or is a web page" in said
    assert requests == 3
