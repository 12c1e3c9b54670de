"""`make dev`: Dagster's UI and daemon on 127.0.0.1:3000, with your credentials or, without any, with the sandbox.

The instance lives in ``.dagster/`` and survives; the sandbox starts fresh every time. Not a deployment: see deploy/.
"""

import os
import signal
import sys
import threading
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dotenv import load_dotenv

from connector.sandbox import READ, USERPILOT_KEY, OpenPanel, Userpilot, serve, serve_userpilot
from dagster_project.local import local_dagster

PORT = 3000
SAMPLE_DAYS = 30
EXPORT_SECONDS = 40.0


def main() -> int:
    """Serve until interrupted."""
    load_dotenv()
    folder = Path(os.environ.get("DAGSTER_DEV_FOLDER", ".dagster"))
    folder.mkdir(exist_ok=True)
    stop = threading.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, lambda *_: stop.set())
    with ExitStack() as stack:
        variables: dict[str, str] = {}
        today = datetime.now(UTC).date()
        first = today - timedelta(days=SAMPLE_DAYS)
        if not os.environ.get("OPENPANEL_CLIENT_ID"):
            vendor = OpenPanel()
            vendor.load_sample(first, today)
            url = stack.enter_context(serve(vendor.app))
            variables |= {
                "OPENPANEL_API_URL": url,
                "OPENPANEL_CLIENT_ID": READ.id,
                "OPENPANEL_CLIENT_SECRET": READ.secret or "",
                "OPENPANEL_PROJECT_ID": "demo",
                "START_DATE": first.isoformat(),
                "WAREHOUSE": os.environ.get("WAREHOUSE", str((folder / "sandbox.duckdb").resolve())),
            }
            print(f"no OPENPANEL_CLIENT_ID in the environment or .env: using the sandbox, {SAMPLE_DAYS} days of sample")
        if not os.environ.get("USERPILOT_API_KEY"):
            pilot = Userpilot(seconds_to_complete=EXPORT_SECONDS)
            pilot.load_sample(first, today)
            api, _ = stack.enter_context(serve_userpilot(pilot))
            variables |= {"USERPILOT_API_URL": api, "USERPILOT_API_KEY": USERPILOT_KEY}
            print("no USERPILOT_API_KEY in the environment or .env: using the sandbox's Userpilot")
        dagster = stack.enter_context(local_dagster(folder, variables, port=PORT))
        print(f"Dagster is on {dagster.url}, its logs are in {folder}/; stop with Ctrl-C", flush=True)
        stop.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
