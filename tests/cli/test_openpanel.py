"""Days by the command line: the questions of the file, no day that cannot be, and one bad day keeps no other back."""

import json
import re
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from connector.cli.main import main
from connector.cli.output import DONE, FAILED, WRONG_ARGUMENTS
from connector.sandbox import vendor_variables
from tests.conftest import DAY

DAYS = [DAY + timedelta(days=number) for number in range(3)]
REPORTS = """
charts: {signups: {series: [screen_view]}}
funnels: {activation: {steps: [session_start, screen_view]}}
insights: {dimensions: [country, os]}
"""


@pytest.fixture
def project(url, vendor, tmp_path, monkeypatch):
    """The sandbox with three days of events, named in the environment."""
    vendor.load_sample(DAYS[0], DAYS[-1])
    for name, value in {
        **vendor_variables(openpanel=url),
        "WAREHOUSE": str(tmp_path / "warehouse.duckdb"),
        "SPOOL_DIR": str(tmp_path / "spool"),
    }.items():
        monkeypatch.setenv(name, value)
    return vendor


def sync(stream, first, last, *more):
    return main(["sync", f"openpanel.{stream}", "--from", str(first), "--to", str(last), *more])


def said(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.fixture
def reports(tmp_path, monkeypatch):
    (tmp_path / "reports.yaml").write_text(REPORTS)
    monkeypatch.setenv("OPENPANEL_REPORTS", str(tmp_path / "reports.yaml"))


def test_charts_and_breakdowns_are_those_of_the_file(project, reports, query):
    for stream in ("charts", "funnels", "insights_breakdowns"):
        assert sync(stream, DAY, DAY) == DONE
    assert query("select distinct chart from openpanel.charts") == [("signups",)]
    assert query("select distinct funnel from openpanel.funnels") == [("activation",)]
    assert query("select distinct dimension from openpanel.insights_breakdowns order by 1") == [("country",), ("os",)]


@pytest.mark.parametrize("stream", ["charts", "funnels"])
def test_without_a_question_there_is_nothing_to_land(project, tmp_path, monkeypatch, capsys, stream):
    assert sync(stream, DAY, DAY) == FAILED
    (tmp_path / "other.yaml").write_text("insights: {dimensions: [os]}")
    monkeypatch.setenv("OPENPANEL_REPORTS", str(tmp_path / "other.yaml"))
    assert sync(stream, DAY, DAY) == FAILED
    assert capsys.readouterr().err.count(f"name a file in OPENPANEL_REPORTS that holds {stream}.") == 2
    assert project.requests == []


@pytest.mark.parametrize("stream", ["events", "insights_metrics", "insights_live"])
def test_a_day_in_the_future_is_refused(project, tmp_path, capsys, stream):
    day = date(2062, 11, 18)
    assert sync(stream, day, day) == WRONG_ARGUMENTS
    assert "the last day 2062-11-18 is in the future" in capsys.readouterr().err
    assert project.requests == []
    assert not (tmp_path / "warehouse.duckdb").exists()


def test_today_is_the_organizations_where_its_days_are(project, monkeypatch, capsys):
    """Kiritimati is 26 hours ahead of Niue: whenever this runs, their days differ."""
    for zone in ("Pacific/Kiritimati", "Pacific/Niue"):
        monkeypatch.setenv("OPENPANEL_TIMEZONE", zone)
        today = datetime.now(ZoneInfo(zone)).date()
        assert sync("insights_metrics", today, today) == DONE
        assert sync("insights_metrics", today, today + timedelta(days=1)) == WRONG_ARGUMENTS
        assert f"ask for days up to {today}." in capsys.readouterr().err


def test_what_is_now_is_not_written_below_another_day(project, capsys, query):
    assert sync("insights_live", DAY, DAY) == WRONG_ARGUMENTS
    assert "tells only the present" in capsys.readouterr().err
    today = datetime.now(UTC).date()
    assert sync("insights_live", today, today) == DONE
    assert query("select _day from openpanel.insights_live") == [(today,)]


def test_a_day_that_shrank_does_not_keep_the_later_ones_back(project, capsys, query):
    assert sync("events", DAYS[0], DAYS[0]) == DONE
    project.projects["demo"].events.remove(lambda event: event.created_at.startswith(DAYS[0].isoformat()))
    capsys.readouterr()
    assert sync("events", DAYS[0], DAYS[-1], "--json") == FAILED
    first, *others = said(capsys)
    assert (first["error"], DAYS[0].isoformat() in first["where"]) == ("SuddenDropError", True)
    assert [line["day"] for line in others] == [day.isoformat() for day in DAYS[1:]]
    assert len(query("select distinct _day from openpanel.events")) == 3


def test_several_tables_in_one_call_and_days_that_are_counted_back(project, capsys, query):
    today = datetime.now(UTC).date()
    tables = ["openpanel.events", "openpanel.insights_metrics", "openpanel.events"]
    assert main(["sync", *tables, "--days", "2", "--json"]) == DONE
    wanted = [str(today - timedelta(days=back)) for back in (2, 1)]
    assert [(line["table"], line["day"]) for line in said(capsys)] == [
        (table, day) for table in tables[:2] for day in wanted
    ]
    assert main(["sync", "openpanel.events", "--from", "yesterday", "--json"]) == DONE
    assert [line["day"] for line in said(capsys)] == wanted[1:]
    assert main(["sync", "openpanel.events", "--from", "today", "--json"]) == DONE
    assert [line["day"] for line in said(capsys)] == [str(today)]
    assert main(["sync", "openpanel.events", "--days", "2", "--to", str(DAYS[1]), "--json"]) == DONE
    assert [line["day"] for line in said(capsys)] == [str(day) for day in DAYS[:2]]


def test_quiet_tells_errors_only(project, monkeypatch, capsys):
    assert sync("events", DAYS[0], DAYS[0], "--quiet") == DONE
    assert capsys.readouterr() == ("", "")
    project.faults.add("status", "/export/events", status=401, times=None)
    assert sync("events", DAYS[0], DAYS[1], "--quiet", "--log-format", "json") == FAILED
    shown = capsys.readouterr()
    (line,) = [json.loads(line) for line in shown.err.splitlines()]
    assert (shown.out, line["level"], line["error"]) == ("", "error", "RejectedError")
    assert line["where"] == f"openpanel.events[{DAYS[0]}]"


def test_a_wait_for_the_rate_limit_is_told(url, vendor, project, capsys):
    """Two requests in a window: the third waits for its end, and says so."""
    vendor.budget.limit = (2, 6.0)
    assert main(["sync", "openpanel.events", "--from", str(DAYS[0]), "--to", str(DAYS[-1])]) == DONE
    assert re.search(r"waiting [2-6] s for the rate limit", capsys.readouterr().err)


def test_a_reader_who_leaves_does_not_keep_the_later_days_back(project, query):
    """`connector sync ... | head -1`, without the luck of who is faster."""
    command = [sys.executable, "-m", "connector.cli", "sync", "openpanel.events"]
    days = ["--from", str(DAYS[0]), "--to", str(DAYS[-1])]
    with subprocess.Popen([*command, *days], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        run.stdout.close()
        said = run.stderr.read()
    assert (run.returncode, said) == (DONE, "")
    assert len(query("select distinct _day from openpanel.events")) == 3


def test_a_refusal_concerns_every_day(project, monkeypatch, capsys):
    monkeypatch.setenv("OPENPANEL_CLIENT_SECRET", "another-secret")
    assert sync("events", DAYS[0], DAYS[-1], "--json") == FAILED
    assert len(said(capsys)) == 1
