"""What a machine without a network does with a warehouse: land, land again, read a frame, tidy up.

Run in a network namespace of its own, which has nothing but a loopback. Beside its work it says how often anything in
the process tried to reach another machine, by the kernel's own counters: a download given up in silence counts.
"""

import contextlib
import fcntl
import os
import socket
import struct
import sys
from datetime import timedelta
from pathlib import Path

import duckdb

import connector
from connector import Warehouse
from tests.scale.writers import FIRST, landed, say

_FLAGS, _UP = 0x8914, 0x1  # SIOCSIFFLAGS and IFF_UP of Linux
# No route: what a connection or a name server elsewhere ends in. No port: a name server said to be on this machine.
_ATTEMPTS = {"Ip OutNoRoutes", "Udp NoPorts", "Ip6OutNoRoutes", "Udp6NoPorts"}


def loopback_up() -> None:
    """A new namespace has a loopback that is down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _FLAGS, struct.pack("16sh14x", b"lo", _UP))


def attempts() -> int:
    """How often this namespace has tried to reach another machine."""
    lines = [line.split() for line in Path("/proc/self/net/snmp").read_text().splitlines()]
    found = {
        f"{names[0].rstrip(':')} {name}": int(value)
        for names, values in zip(lines[::2], lines[1::2], strict=True)
        for name, value in zip(names[1:], values[1:], strict=True)
    }
    with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
        lines = [line.split() for line in Path("/proc/self/net/snmp6").read_text().splitlines()]
        found |= {name: int(value) for name, value in lines}
    return sum(found.get(name, 0) for name in _ATTEMPTS)


def work(folder: Path) -> dict[str, object]:
    warehouse = Warehouse(os.environ["WAREHOUSE"], lock_wait=20)
    first = landed(warehouse, folder / "spool", FIRST, 300)
    again = landed(warehouse, folder / "spool", FIRST, 200)
    rows = connector.frame("openpanel.events", FIRST, columns=["id"], warehouse=warehouse)
    done = warehouse.maintain(keep=timedelta(0))
    with warehouse.read() as connection:
        (count,) = connection.execute("select count(*) from openpanel.events").fetchone() or (0,)
    mapped = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines()}
    return {
        "landed": [first.landed, again.landed, again.replaced],
        "frame": len(rows),
        "after maintenance": count,
        "removed": sum(one.count for one in done),
        "extensions": sorted(path for path in mapped if path.endswith(".duckdb_extension")),
    }


def download(folder: Path) -> dict[str, object]:
    """What must not happen: DuckDB fetches an extension, and its failure is swallowed."""
    with duckdb.connect(config={"extension_directory": str(folder / "extensions")}) as connection:
        with contextlib.suppress(duckdb.Error):
            connection.execute("install spatial")
    return {}


def main(verb: str, folder: Path) -> None:
    loopback_up()
    before = attempts()
    told = {"work": work, "download": download}[verb](folder)
    say({**told, "attempts": attempts() - before})


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
