"""`python -m connector.sandbox`: run both simulated vendors until interrupted. Nothing is kept afterwards."""

import argparse
import io
import sys
from datetime import UTC, date, datetime, timedelta

from connector.sandbox.environment_variables import vendor_variables
from connector.sandbox.openpanel import READ, ROOT, WRITE, OpenPanel
from connector.sandbox.server import listening, run
from connector.sandbox.userpilot import USERPILOT_KEY, Userpilot, serve_userpilot


def main(arguments: list[str] | None = None) -> None:
    """Run a simulated OpenPanel and a simulated Userpilot, filled with sample days, until they are interrupted."""
    for stream in (sys.stdout, sys.stderr):  # a terminal that lacks a character gets its escape
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    parser = argparse.ArgumentParser(prog="python -m connector.sandbox", description=main.__doc__)
    parser.add_argument("--port", type=int, default=8000, help="OpenPanel's; Userpilot takes the next two")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--days", type=int, default=14, help="sample days, ending with the last one (default 14)")
    parser.add_argument("--last", type=date.fromisoformat, help="last sample day, YYYY-MM-DD (default today)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dialect", choices=("server", "pages"), default="server")
    parser.add_argument("--prefix", default="", help="path in front of every route, as self-hosted servers have /api")
    parser.add_argument("--world", choices=("documented", "odd"), default="documented", help="how Userpilot behaves")
    parser.add_argument("--job-seconds", type=float, default=10, help="how long an export of Userpilot runs")
    chosen = parser.parse_args(arguments)
    for port in range(chosen.port, chosen.port + 3):
        try:
            listening(chosen.host, port).close()
        except (OSError, OverflowError) as fault:
            parser.exit(
                1, f"port {port} cannot be used: {fault}. Next: give another --port; it and the next two are used.\n"
            )

    vendor = OpenPanel(dialect=chosen.dialect, prefix=chosen.prefix)
    last = chosen.last or datetime.now(UTC).date()
    first = last - timedelta(days=chosen.days - 1)
    loaded = vendor.load_sample(first, last, seed=chosen.seed)
    base = f"http://{chosen.host}:{chosen.port}{chosen.prefix}"
    print(f"OpenPanel sandbox on {base}: project demo, {loaded} sample events in {chosen.days} days up to {last}.")
    for kind, client in (("read", READ), ("root", ROOT), ("write", WRITE)):
        print(f"  {kind:5} client {client.id}  secret {client.secret}", flush=True)

    other = Userpilot(world=chosen.world, seconds_to_complete=chosen.job_seconds)
    loaded = other.load_sample(first, last, seed=chosen.seed)
    with serve_userpilot(other, chosen.port + 1, chosen.host) as (api, files):
        print(f"Userpilot sandbox on {api}, its files on {files}: {loaded} sample events of the same people.")
        print(f"  API key {USERPILOT_KEY}")
        trial = {**vendor_variables(openpanel=base, userpilot=api), "START_DATE": first.isoformat()}
        for name, value in trial.items():
            print(f"{name}={value}", flush=True)
        run(vendor.app, chosen.host, chosen.port)


if __name__ == "__main__":
    main()
