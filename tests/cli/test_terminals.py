"""Output never fails on a character that the terminal cannot show, and arguments are the text that was typed."""

import json
import os
import subprocess
import sys

import pytest

from connector.sandbox import OpenPanel, Userpilot, serve, serve_userpilot, vendor_variables
from tests.conftest import DAY

NAME = "käse Ελλάδα 東京 🧀"
# What terminals, cron jobs and containers set; the last one is Python in the C locale as it was before UTF-8 mode.
TERMINALS = {
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "cp1252, strict": {"PYTHONIOENCODING": "cp1252:strict"},
    "C locale": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}
VERBS = {
    "export request": ["export", "request", "--from", str(DAY), "--to", str(DAY), "--user-id", NAME],
    "export status": ["export", "status"],
    "sync": ["sync", "openpanel.events", "--from", str(DAY), "--to", str(DAY)],
    "lookups": ["lookups"],
    "lookups of an unknown name": ["lookups", NAME],
    "track": ["track", "outboxes.yaml", "--dry-run"],
    "forget": ["forget", "--profile-id", NAME, "--instance", NAME],
    "prune": ["prune"],
    "doctor": ["doctor", "--offline"],
    "help": ["export", "land", "--help"],
    "wrong arguments": ["sync", NAME],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Both vendors and a folder with names that no old encoding has."""
    folder = tmp_path_factory.mktemp("terminals") / NAME
    folder.mkdir()
    events, exports = OpenPanel(), Userpilot(polls_to_complete=10**6)
    events.load_sample(DAY, DAY)
    exports.load_sample(DAY, DAY)
    outbox = {NAME: {"kind": "track", "query": f"select 'a' as profile_id, '{NAME}' as name, now() as occurred_at"}}
    (folder / "outboxes.yaml").write_text(json.dumps(outbox, ensure_ascii=False), encoding="utf-8")
    with serve(events.app) as url, serve_userpilot(exports) as (api, _):
        yield folder, vendor_variables(openpanel=url, userpilot=api), exports


def run(place, terminal, verb):
    folder, variables, _ = place
    known = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "connector.cli", *verb],
        cwd=folder,
        env=known | variables | TERMINALS[terminal] | {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("terminal", ["latin-1", "C locale"])
def test_no_verb_fails_on_a_character(place, terminal, verb):
    done = run(place, terminal, VERBS[verb])
    assert b"Traceback" not in done.stderr
    assert b"UnicodeEncodeError" not in done.stdout + done.stderr
    assert done.stdout + done.stderr


@pytest.mark.parametrize("terminal", TERMINALS)
def test_what_was_typed_reaches_the_vendor_as_text(place, terminal):
    """An export that was asked for must not be reported as a failure, nor be asked for with other words."""
    done = run(place, terminal, VERBS["export request"])
    assert done.returncode in (0, 75), done.stderr
    asked = [json.loads(request.body) for request in place[2].requests if request.method == "POST"]
    assert asked
    assert all(NAME in json.dumps(body, ensure_ascii=False) for body in asked)
