"""`python -m connector.sandbox`: the simulated vendor on its own. It keeps nothing after it ends."""

import argparse
from datetime import UTC, date, datetime, timedelta

from connector.sandbox.openpanel import READ, ROOT, WRITE, OpenPanel
from connector.sandbox.server import run


def main(arguments: list[str] | None = None) -> None:
    """Run a simulated OpenPanel, filled with sample days, until it is interrupted."""
    parser = argparse.ArgumentParser(prog="python -m connector.sandbox", description=main.__doc__)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--days", type=int, default=14, help="sample days, ending with the last one (default 14)")
    parser.add_argument("--last", type=date.fromisoformat, help="last sample day, YYYY-MM-DD (default today)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dialect", choices=("server", "pages"), default="server")
    parser.add_argument("--prefix", default="", help="path in front of every route, as self-hosted servers have /api")
    chosen = parser.parse_args(arguments)

    vendor = OpenPanel(dialect=chosen.dialect, prefix=chosen.prefix)
    last = chosen.last or datetime.now(UTC).date()
    loaded = vendor.load_sample(last - timedelta(days=chosen.days - 1), last, seed=chosen.seed)
    base = f"http://{chosen.host}:{chosen.port}{chosen.prefix}"
    print(f"OpenPanel sandbox on {base}: project demo, {loaded} sample events in {chosen.days} days up to {last}.")
    for kind, client in (("read", READ), ("root", ROOT), ("write", WRITE)):
        print(f"  {kind:5} client {client.id}  secret {client.secret}", flush=True)
    run(vendor.app, chosen.host, chosen.port)


if __name__ == "__main__":
    main()
