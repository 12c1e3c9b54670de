"""Whatever a file host puts around a file is undone, or named; and never does a small file fill a disk."""

import gzip
import os
import zlib

import pytest

from connector.errors import ContractError, TransientError
from connector.http.client import Http
from connector.http.codings import undo
from connector.http.download import Files
from connector.records.files import prove_whole, unpacked
from tests.http.hosts import host, whole

LINES = b"".join(b'{"id": %d, "name": "screen_view"}\n' % number for number in range(5_000))
PACKED = gzip.compress(LINES, mtime=0)
CSV = b"inserted_at,pathname\n2026-03-03 01:00:00,/a\n"


def raw_deflate(content):
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflate.compress(content) + deflate.flush()


def brotli(content):
    return pytest.importorskip("brotli").compress(content)


def zstd(content):
    return pytest.importorskip("zstandard").compress(content)


AROUND = {"gzip": gzip.compress, "deflate": zlib.compress, "raw": raw_deflate, "br": brotli, "zstd": zstd}


def put_around(content, *names):
    for name in names:
        content = AROUND[name](content)
    return content


CODINGS = [
    ("", ()),
    ("identity", ()),
    ("none", ()),
    ("aws-chunked", ()),
    ("utf-8", ()),
    ("gzip", ("gzip",)),
    ("GZIP", ("gzip",)),
    ("x-gzip", ("gzip",)),
    ("deflate", ("deflate",)),
    ("deflate", ("raw",)),
    ("gzip, gzip", ("gzip", "gzip")),
    ("deflate,gzip", ("deflate", "gzip")),
    ("gzip , deflate", ("gzip", "raw")),
    ("identity, x-gzip, deflate, identity", ("gzip", "deflate")),
    ("aws-chunked,gzip", ("gzip",)),
    ("br", ("br",)),
    ("zstd", ("zstd",)),
    ("gzip, br, zstd", ("gzip", "br", "zstd")),
    # What the header says and the bytes do not.
    ("gzip", ()),
    ("deflate", ()),
    ("br", ()),
    ("compress", ()),
    ("x-own", ()),
]


@pytest.mark.parametrize(("header", "around"), CODINGS)
@pytest.mark.parametrize("stored", [LINES, PACKED, CSV, gzip.compress(CSV)], ids=["lines", "gz", "csv", "csv.gz"])
@pytest.mark.parametrize("length", [True, False])
def test_a_file_is_what_its_host_stores(tmp_path, header, around, stored, length):
    body = put_around(stored, *around)
    status, headers, _ = whole(body, content_encoding=header)
    if not length:
        del headers["content-length"]
    with host((status, headers, body)) as server, Files(sleep=lambda _: None) as files:
        size, _ = files.fetch(f"{server.url}/a", tmp_path / "a", where="test")
        assert len(server.asked) == 1
    assert size == (tmp_path / "a").stat().st_size
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]
    prove_whole(tmp_path / "a", "test")
    with unpacked(tmp_path / "a", "test") as stream:
        found = b"".join(iter(lambda: stream.read(2**16), b""))
    assert found == (gzip.decompress(stored) if stored[:2] == b"\x1f\x8b" else stored)


@pytest.mark.parametrize(
    ("header", "around"),
    [("gzip", "gzip"), ("x-gzip", "gzip"), ("deflate", "deflate"), ("deflate", "raw"), ("identity, X-GZIP", "gzip")],
)
def test_an_answer_of_the_api_may_come_in_a_coding_too(header, around):
    with host(whole(put_around(b'{"a": 1}', around), content_encoding=header)) as server:
        with Http(server.url, headers={}, sleep=lambda _: None) as http:
            assert http.get("/x", where="test") == b'{"a": 1}'
        assert len(server.asked) == 1


@pytest.mark.parametrize("name", ["br", "zstd", "compress", "own\x1b[2Jcoding"])
def test_a_coding_that_is_not_known_is_named_with_what_to_do(tmp_path, monkeypatch, name):
    monkeypatch.setattr("connector.http.codings._decoder", lambda _: None)
    path = tmp_path / "a"
    path.write_bytes(b"\x28\xb5\x2f\xfd" + os.urandom(100))
    with pytest.raises(ContractError, match="content coding") as caught:
        undo(path, name, "test")
    assert name[:3] in caught.value.what
    assert str(caught.value).isprintable()
    wanted = {"br": "brotli>=1.2", "zstd": "pip install zstandard"}.get(name, "store its files without it")
    assert wanted in caught.value.next_step


@pytest.mark.parametrize("name", ["gzip", "deflate", "raw", "br", "zstd"])
@pytest.mark.parametrize(
    "harm", [lambda body: body[: len(body) // 2], lambda body: body + b"more", lambda body: body[:-1]]
)
def test_a_file_damaged_within_its_coding_is_fetched_again(tmp_path, name, harm):
    good = put_around(PACKED, name)
    header = {"raw": "deflate"}.get(name, name)
    script = [whole(harm(good), content_encoding=header), whole(good, content_encoding=header)]
    with host(*script) as server, Files(sleep=lambda _: None) as files:
        files.fetch(f"{server.url}/a", tmp_path / "a", where="test")
        if name == "gzip":  # noticed by who reads it whole, as for every file
            return
        assert len(server.asked) == 2
    assert (tmp_path / "a").read_bytes() == PACKED


def test_a_file_that_is_always_damaged_is_told_after_five_times(tmp_path):
    body = zlib.compress(PACKED)[:-9]
    with host(whole(body, content_encoding="deflate")) as server, Files(sleep=lambda _: None) as files:
        with pytest.raises(TransientError, match="damaged in its content coding deflate"):
            files.fetch(f"{server.url}/a", tmp_path / "a", where="test")
        assert len(server.asked) == 5
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("header", ["deflate", "gzip", "gzip, gzip", "deflate, deflate"])
def test_a_file_that_broke_off_goes_on_where_it_stopped_whatever_is_around_it(tmp_path, header):
    """Ranges count the bytes as they are sent; what is undone is the whole."""
    body = put_around(PACKED, *header.split(", "))
    half = len(body) // 2
    known = {"etag": '"e"', "content-encoding": header}
    cut = (200, {**known, "content-length": str(len(body))}, body[:half])
    rest = whole(body[half:], 206, etag='"e"', content_range=f"bytes {half}-{len(body) - 1}/{len(body)}")
    with host(cut, rest) as server, Files(sleep=lambda _: None) as files:
        files.fetch(f"{server.url}/a", tmp_path / "a", where="test")
        assert [one.headers.get("range") for one in server.asked] == [None, f"bytes={half}-"]
    assert gzip.decompress((tmp_path / "a").read_bytes()) == LINES


@pytest.mark.parametrize("other", [{"content_encoding": "gzip"}, {"content_range": "bytes 0-9/99"}])
def test_a_rest_that_is_not_the_rest_is_thrown_away_with_what_came_before(tmp_path, other):
    body = zlib.compress(PACKED)
    cut = (200, {"etag": '"e"', "content-encoding": "deflate", "content-length": str(len(body))}, body[:99])
    again = whole(body, content_encoding="deflate")
    with host(cut, whole(body[99:], 206, etag='"e"', **other), again) as server, Files(sleep=lambda _: None) as files:
        files.fetch(f"{server.url}/a", tmp_path / "a", where="test")
        assert len(server.asked) == 3
    assert (tmp_path / "a").read_bytes() == PACKED


@pytest.mark.parametrize(
    "names", [("deflate",), ("deflate", "deflate"), ("raw",), ("gzip", "gzip"), ("br",), ("zstd",)]
)
def test_a_small_file_does_not_fill_a_disk(tmp_path, monkeypatch, names):
    monkeypatch.setattr("connector.records.files.ANY_RATIO", 2**20)
    path = tmp_path / "a"
    path.write_bytes(put_around(b" " * 2**25, *names))
    with pytest.raises(ContractError, match="unpacks to more than"):
        undo(path, ", ".join(names).replace("raw", "deflate"), "test")
        prove_whole(path, "test")
    assert [each.name for each in tmp_path.iterdir()] == ["a"]


def test_what_is_packed_around_a_packed_file_wins_nothing_or_is_an_attack(tmp_path):
    """Each layer may unpack to 300 times its size; two of them would to 90,000."""
    bomb = gzip.compress(b" " * 2**20, 9) * 4_000
    path = tmp_path / "a"
    path.write_bytes(zlib.compress(bomb, 9))
    with pytest.raises(ContractError, match="unpacks to more than"):
        undo(path, "deflate", "test")
