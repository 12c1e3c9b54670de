"""A display that moves on a terminal, lines elsewhere, and results always on standard output."""

import os
import pty
import subprocess
import sys

import pytest

import connector.meter
from connector.cli.main import main
from connector.cli.output import DONE
from connector.sandbox import vendor_variables
from tests.conftest import DAY


@pytest.fixture
def project(url, vendor, tmp_path, monkeypatch):
    for number in range(1500):
        vendor.add(f"e{number}", at=f"{DAY}T01:{number // 60 % 60:02}:{number % 60:02}Z")
    places = {"WAREHOUSE": str(tmp_path / "warehouse.duckdb"), "SPOOL_DIR": str(tmp_path / "spool")}
    for name, value in {**vendor_variables(openpanel=url), **places}.items():
        monkeypatch.setenv(name, value)


def on_a_terminal(*arguments, **env):
    """What a command writes to standard output, and to a terminal as its standard error."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "connector.cli", *arguments],
        stdout=subprocess.PIPE, stderr=theirs, text=True, env=os.environ | {"TERM": "xterm"} | env,
    ) as run:  # fmt: skip
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 4096):
                shown += part
        except OSError:  # the terminal is closed when the command has ended
            pass
        said = run.stdout.read()
    os.close(ours)
    assert run.returncode == DONE, shown
    return said, shown.decode()


SYNC = ("sync", "openpanel.events", "--from", str(DAY), "--to", str(DAY))


def test_a_terminal_shows_days_and_results_go_to_standard_output(project):
    said, shown = on_a_terminal(*SYNC)
    assert said.startswith(f"openpanel.events[{DAY}]      1,500 rows")
    assert "of 1 days" in shown


@pytest.mark.parametrize("how", [{"TERM": "dumb"}, {}], ids=["dumb", "quiet"])
def test_a_terminal_that_cannot_move_or_a_quiet_call_shows_nothing(project, how):
    assert on_a_terminal(*SYNC, *([] if how else ["--quiet"]), **how)[1] == ""


def test_elsewhere_a_long_day_is_told_in_lines(project, monkeypatch, capsys):
    monkeypatch.setattr(connector.meter, "TELL_EVERY", 0.0)
    assert main([*SYNC]) == DONE
    assert "page 1/2, 1,000 of 1,500 rows" in capsys.readouterr().err


def test_the_command_loads_neither_the_display_nor_the_database_before_it_needs_them():
    code = "import sys, connector.cli.main; print([m for m in ('rich', 'duckdb', 'httpx') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
