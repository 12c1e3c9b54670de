"""Undoes what a file's host put around it: the codings that its Content-Encoding header names.

A stored ``.gz`` may be sent with ``gzip`` around it, or with ``gzip`` meaning the file itself; only the bytes tell. So
the bytes are believed: a coding that they do not have is not undone.
"""

import contextlib
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from isal import igzip

from connector.errors import ContractError, TransientError
from connector.http.connection import coding_names
from connector.records import files
from connector.redaction import excerpt
from connector.system.files import private

Decoder = Callable[[BinaryIO], Iterator[bytes]]
# What gzip around a file that is packed itself can win: nothing. More is an attack, as the inner file unpacks again.
_MOST_AROUND_PACKED, _ANY_AROUND_PACKED = 4, 2**20
_HEAD = 4096


def undo(path: Path, codings: str, where: str) -> None:
    """Make the file at ``path`` what its host stores. One gzip around a plain file stays: its reader unpacks that.

    Args:
        codings: the Content-Encoding header; the last one was put on last.

    Raises:
        ContractError: a coding is not known, or the file unpacks to far more than any export does.
        TransientError: the bytes are damaged; they should be fetched again.
    """
    names = coding_names(codings)
    size = path.stat().st_size
    most = min(files.MOST_UNPACKED, max(files.ANY_RATIO, size * files.MOST_RATIO))
    while names and size:
        name = names.pop()
        if name == "gzip" and not (files.is_packed(path) and (names or _is_packed_inside(path))):
            continue
        _undo_one(path, name, most, where)
        if files.is_packed(path) and path.stat().st_size > max(_ANY_AROUND_PACKED, size * _MOST_AROUND_PACKED):
            raise _too_large(path, size, _MOST_AROUND_PACKED * size, where)


def _undo_one(path: Path, name: str, most: int, where: str) -> None:
    found = _decoder(name)
    if found is None:
        if _is_plain(path):
            return
        raise ContractError(
            f"file {excerpt(path.name, 60)} came in the content coding {excerpt(name, 40)}, which is not known here",
            where=where,
            next_step=f"{_WANTED.get(name, 'ask the vendor to store its files without it')}; then rerun.",
        )
    decoder, damaged = found
    target, size = path.with_name(f"{path.name}.undone"), 0
    try:
        with open(path, "rb") as source, open(target, "wb", opener=private) as file:
            for piece in decoder(source):
                size += len(piece)
                if size > most:
                    raise _too_large(path, path.stat().st_size, most, where)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        os.replace(target, path)
    except damaged as fault:
        if getattr(fault, "errno", None):  # the disk, and not the file
            raise
        if _is_plain(path):
            return
        raise TransientError(
            f"file {excerpt(path.name, 60)} is damaged in its content coding {name}",
            where=where,
            next_step="rerun: it is fetched again; if it persists, ask for a new export.",
        ) from None
    finally:
        target.unlink(missing_ok=True)


def _decoder(name: str) -> tuple[Decoder, tuple[type[Exception], ...]] | None:
    """How to undo a coding, and what that raises for damaged bytes; None if it is not known or not installed."""
    if name == "gzip":
        return _gunzipped, files.DAMAGED
    if name == "deflate":
        return _inflated, (zlib.error, EOFError)
    with contextlib.suppress(ImportError):
        if name == "br":
            import brotli

            if hasattr(brotli.Decompressor, "can_accept_more_data"):  # before 1.2 one piece may unpack to any size
                return _unbrotlied, (brotli.error, EOFError)
        if name == "zstd":
            import zstandard

            return _unzstandarded, (zstandard.ZstdError, EOFError)
    return None


_WANTED = {
    "br": 'run: pip install "brotli>=1.2"',
    "zstd": "run: pip install zstandard",
}


def _gunzipped(source: BinaryIO) -> Iterator[bytes]:
    opener = cast("Callable[[BinaryIO, str], BinaryIO]", igzip.open)
    with opener(source, "rb") as packed:
        while piece := packed.read(files.BLOCK):
            yield piece


def _inflated(source: BinaryIO) -> Iterator[bytes]:
    """What ``deflate`` holds: by its standard with a header of zlib, by the habit of some servers without one."""
    start = source.read(2)
    source.seek(0)
    has_header = len(start) == 2 and start[0] & 0x0F == 8 and int.from_bytes(start) % 31 == 0
    inflate = zlib.decompressobj(zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)
    while not inflate.eof:
        piece = inflate.unconsumed_tail or source.read(files.BLOCK)
        made = inflate.decompress(piece, files.BLOCK)
        if not piece and not made:
            raise EOFError
        yield made
    if inflate.unused_data or source.read(1):
        raise EOFError  # not the end of the file, so not what was stored


def _unbrotlied(source: BinaryIO) -> Iterator[bytes]:
    import brotli

    decompressor = brotli.Decompressor()
    while not decompressor.is_finished():
        piece = source.read(files.BLOCK) if decompressor.can_accept_more_data() else b""
        made = decompressor.process(piece, output_buffer_limit=files.BLOCK)
        if not piece and not made:
            raise EOFError
        yield made


def _unzstandarded(source: BinaryIO) -> Iterator[bytes]:
    """All frames, each to its end. Four bytes may unpack to 128 KiB, all at once; so it is fed a kilobyte at a time."""
    import zstandard

    piece = b""
    while piece or (piece := source.read(1024)):
        frame = zstandard.ZstdDecompressor(max_window_size=2**27).decompressobj()
        while not frame.eof:
            if not piece and not (piece := source.read(1024)):
                raise EOFError
            yield frame.decompress(piece)
            piece = frame.unused_data


def _is_packed_inside(path: Path) -> bool:
    """Whether there is another gzip file within one; damage is for those to notice who read it whole."""
    try:
        with open(path, "rb") as source:
            return next(_gunzipped(source), b"").startswith(files.GZIP)
    except files.DAMAGED:
        return False


def _is_plain(path: Path) -> bool:
    """Whether a file needs no undoing: it is gzip, which its reader knows, or begins as text does."""
    with open(path, "rb") as raw:
        head = raw.read(_HEAD)
    if head.startswith(files.GZIP):
        return True
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as fault:
        if fault.start < len(head) - 3:
            return False
        text = head[: fault.start].decode("utf-8")
    return all(char.isprintable() or char in "\t\r\n\ufeff" for char in text)


def _too_large(path: Path, size: int, most: int, where: str) -> ContractError:
    return ContractError(
        f"file {excerpt(path.name, 60)} came with {size} bytes and unpacks to more than {most / 2**20:,.0f} MiB",
        where=where,
        next_step="nothing was landed; if the days are really so large, ask for fewer at a time; if not, "
        "report it to the vendor: no export unpacks like this.",
    )
