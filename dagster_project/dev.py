"""`make dev`: Dagster's UI and daemon on 127.0.0.1:3000, with your credentials or, with none at all, the sandbox.

The instance lives in ``.dagster/`` and survives; the sandbox starts fresh every time. Not a deployment: see deploy/.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dotenv import load_dotenv

from connector.sandbox import OpenPanel, Userpilot, serve, serve_userpilot, vendor_variables
from connector.system.terminal import never_fail_on_a_character
from dagster_project.local import local_dagster

PORT = 3000
SAMPLE_DAYS = 30
EXPORT_SECONDS = 40.0
# With one of these set, it is a project of the user's own: no sample data is made up in it.
CONFIGURED = ("OPENPANEL_CLIENT_ID", "USERPILOT_API_KEY")


def main() -> int:
    """Serve until interrupted."""
    never_fail_on_a_character()
    load_dotenv()
    folder = Path(os.environ.get("DAGSTER_DEV_FOLDER", ".dagster"))
    folder.mkdir(exist_ok=True)
    stop = threading.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, lambda *_: stop.set())
    with ExitStack() as stack:
        variables = {} if any(map(os.environ.get, CONFIGURED)) else stack.enter_context(_sandbox(folder))
        dagster = stack.enter_context(local_dagster(folder, variables, port=PORT))
        print(f"Dagster is on {dagster.url}, its logs are in {folder}/; stop with Ctrl-C", flush=True)
        stop.wait()
    return 0


@contextmanager
def _sandbox(folder: Path) -> Iterator[dict[str, str]]:
    """Both vendors on loopback, and a warehouse of their own: sample people must not stand beside real ones."""
    today = datetime.now(UTC).date()
    first = today - timedelta(days=SAMPLE_DAYS)
    vendor, pilot = OpenPanel(), Userpilot(seconds_to_complete=EXPORT_SECONDS)
    vendor.load_sample(first, today)
    pilot.load_sample(first, today)
    print(f"neither vendor is in the environment or .env: using the sandbox, {SAMPLE_DAYS} days of sample")
    with serve(vendor.app) as url, serve_userpilot(pilot) as (api, _):
        yield {
            **vendor_variables(openpanel=url, userpilot=api),
            "START_DATE": first.isoformat(),
            "WAREHOUSE": str((folder / "sandbox.duckdb").resolve()),
        }


if __name__ == "__main__":
    sys.exit(main())
