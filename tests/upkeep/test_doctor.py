"""The doctor names what is wrong in one sentence, says what to do, and never a secret."""

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import duckdb
import pytest

from connector.cli.main import main
from connector.health import clock_skew
from connector.sandbox import READ, USERPILOT_KEY, Userpilot, serve, serve_userpilot, vendor_variables

SECRETS = (READ.secret, USERPILOT_KEY)


@pytest.fixture
def pilot():
    return Userpilot()


@pytest.fixture
def well(vendor, pilot, tmp_path, monkeypatch):
    """Both vendors, a warehouse and a spool; every test breaks one thing."""
    with serve(vendor.app) as url, serve_userpilot(pilot) as (api, _):
        for name, value in {
            **vendor_variables(openpanel=url),
            "OPENPANEL_TIMEZONE": "Europe/Berlin",
            **vendor_variables(userpilot=api),
            "WAREHOUSE": str(tmp_path / "w.duckdb"),
            "SPOOL_DIR": str(tmp_path / "spool"),
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("DAGSTER_HOME", raising=False)
        yield vendor


@pytest.fixture
def doctor(well, capsys):
    def run(*arguments):
        capsys.readouterr()
        code = main(["doctor", "--json", *arguments])
        said = capsys.readouterr()
        assert not any(secret in said.out + said.err for secret in SECRETS)
        found = [json.loads(line) for line in said.out.splitlines()]
        assert all("\n" not in one["said"] and one["said"].endswith(".") for one in found), found
        assert all(one["todo"] for one in found if one["level"] != "ok"), found
        return code, found

    return run


def troubles(found):
    return {one["about"]: one["said"] for one in found if one["level"] != "ok"}


def test_a_healthy_place_gets_no_advice(doctor, tmp_path):
    with duckdb.connect(tmp_path / "w.duckdb") as connection:
        connection.execute("create table t as select 1 as one")
    (tmp_path / "w.duckdb").chmod(0o600)
    code, found = doctor()
    assert troubles(found) == {}
    assert code == 0
    about = {one["about"] for one in found}
    vendors = {"openpanel", "openpanel clock", "openpanel server", "userpilot", "userpilot clock", "userpilot slot"}
    assert vendors | {"warehouse", "spool disk", "request budget", "timezone", "dagster"} <= about


def test_a_filter_that_changes_nothing_is_told(doctor, well, tmp_path, monkeypatch):
    """Asked with and without each filter; one that changes the answer, and questions without events, are not told."""
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    for number, country in enumerate(("SE", "SE", "NO")):
        well.add(f"e{number}", at=f"{yesterday}T1{number}:00:00Z", country=country, session_id=f"s{number}", path="/a")
    file = tmp_path / "reports.yaml"
    file.write_text("""
charts:
  swedes:
    series:
      - {event: screen_view, filters: [{name: country, value: SE}, {name: path, operator: contains, value: /}]}
      - {event: nothing, filters: [{name: country, value: SE}]}
insights: {filters: [{name: path, operator: startsWith, value: /a}]}
""")
    monkeypatch.setenv("OPENPANEL_REPORTS", str(file))
    code, found = doctor()
    told = [one["said"] for one in found if one["level"] == "warn"]
    assert told == [
        "charts.swedes.series.screen_view.filters has path contains /, which changed nothing in the last seven days.",
        "insights.filters has path startsWith /a, which changed nothing in the last seven days.",
    ]
    assert code == 0


def test_days_that_never_landed(doctor, well, monkeypatch):
    """Days after the first landed one, also if nothing runs any more; those of the last two nights have time."""
    today = datetime.now(UTC).date()
    days = [(today - timedelta(days=back)).isoformat() for back in range(9, 0, -1)]

    def sync(first, last, table="events"):
        assert main(["sync", f"openpanel.{table}", "--from", first, "--to", last]) == 0

    monkeypatch.setenv("START_DATE", "2026-03-01")
    assert "days" not in troubles(doctor("--offline")[1])
    sync(days[0], days[0])
    sync(days[4], days[6])
    sync(today.isoformat(), today.isoformat(), "insights_live")  # it has no days
    said = troubles(doctor("--offline")[1])["days"]
    assert said == f"3 days of openpanel.events between {days[1]} and {days[3]} ended and never landed."
    monkeypatch.setenv("START_DATE", days[3])
    said = troubles(doctor("--offline")[1])["days"]
    assert said == f"1 days of openpanel.events between {days[3]} and {days[3]} ended and never landed."
    sync(days[1], days[3])
    assert "days" not in troubles(doctor("--offline")[1])


def test_rows_that_landed_under_other_rules(doctor, well, tmp_path, monkeypatch):
    well.add("a", at="2026-03-04T08:00:00Z")
    assert main(["sync", "openpanel.events", "--from", "2026-03-04", "--to", "2026-03-04"]) == 0
    assert "personal data" not in troubles(doctor()[1])
    rules = tmp_path / "rules.yaml"
    rules.write_text("openpanel.events: {drop: [city]}\n")
    monkeypatch.setenv("CONNECTOR_PERSONAL_DATA", str(rules))
    said = troubles(doctor()[1])["personal data"]
    assert said == "1 rows of openpanel.events (2026-03-04 to 2026-03-04) were landed under other rules than today's."
    assert main(["sync", "openpanel.events", "--from", "2026-03-04", "--to", "2026-03-04"]) == 0
    assert "personal data" not in troubles(doctor()[1])


@pytest.mark.parametrize("vendor_name", ["openpanel", "userpilot"])
def test_a_warehouse_with_a_schemas_name(doctor, tmp_path, monkeypatch, vendor_name):
    monkeypatch.setenv("WAREHOUSE", str(tmp_path / f"{vendor_name}.duckdb"))
    code, found = doctor()
    assert code == 1
    assert f"cannot tell the file from the schema {vendor_name}" in troubles(found)["WAREHOUSE"]


def test_vendors_that_are_not_configured_are_not_asked(doctor, monkeypatch):
    for name in ("OPENPANEL_CLIENT_ID", "OPENPANEL_CLIENT_SECRET", "OPENPANEL_PROJECT_ID", "USERPILOT_API_KEY"):
        monkeypatch.delenv(name)
    code, found = doctor()
    assert code == 0
    assert {"openpanel": "is not configured.", "userpilot": "is not configured."}.items() <= {
        one["about"]: one["said"] for one in found
    }.items()
    assert "nothing is configured" in troubles(found)["vendors"]


@pytest.mark.parametrize("left", ["OPENPANEL_PROJECT_ID", "USERPILOT_API_KEY"])
def test_one_vendor_is_enough(doctor, monkeypatch, left):
    names = {"OPENPANEL_CLIENT_ID", "OPENPANEL_CLIENT_SECRET", "OPENPANEL_PROJECT_ID", "USERPILOT_API_KEY"}
    for name in names - {left}:
        monkeypatch.delenv(name)
    assert "vendors" not in troubles(doctor("--offline")[1])


def test_offline_sends_no_request(doctor, well, pilot):
    assert doctor("--offline")[0] == 0
    assert well.requests == []
    assert pilot.requests == []


@pytest.mark.parametrize(
    ("variable", "value", "about", "says"),
    [
        ("OPENPANEL_CLIENT_SECRET", "another-secret", "openpanel", "401"),
        ("OPENPANEL_PROJECT_ID", "other", "openpanel", "was answered with"),
        ("OPENPANEL_PROJECT_ID", "", "OPENPANEL_PROJECT_ID", "is not set"),
        ("OPENPANEL_CLIENT_ID", "x", "OPENPANEL_CLIENT_ID", "is not a UUID"),
        ("OPENPANEL_API_URL", "http://127.0.0.1:9", "openpanel", "failed"),
        ("OPENPANEL_API_URL", "ftp://x", "OPENPANEL_API_URL", "is not a base URL"),
        ("OPENPANEL_TIMEZONE", "Mars/Olympus", "OPENPANEL_TIMEZONE", "not a timezone"),
        ("USERPILOT_API_KEY", "another-key", "userpilot", "401"),
        ("WAREHOUSE", "ducklake:x.duckdb", "WAREHOUSE", "needs its catalogue in SQLite or PostgreSQL"),
        ("START_DATE", "soon", "START_DATE", "not a date"),
        ("CONNECTOR_PERSONAL_DATA", "/no/such/file", "personal data", "cannot be read"),
        ("DAGSTER_HOME", "/no/such/folder", "dagster", "is not a folder"),
        ("OPENPANEL_REPORTS", "/no/such/file", "OPENPANEL_REPORTS", "cannot be read"),
        ("CONNECTOR_ALERT_WEBHOOK", "hooks.example.com/very-secret", "CONNECTOR_ALERT_WEBHOOK", "is not a base URL"),
        ("CONNECTOR_DBT", "yes", "CONNECTOR_DBT", "is 'yes'"),
        ("SPOOL_DIR", "~nobody-at-all/spool", "SPOOL_DIR", "names a user that does not exist"),
    ],
)
def test_what_is_wrong_with_a_setting_fails(doctor, monkeypatch, no_pauses, variable, value, about, says):
    monkeypatch.setenv(variable, value)
    code, found = doctor()
    assert code == 1
    assert says in troubles(found)[about]
    if variable == about:  # no vendor is needed to see it
        assert doctor("--offline")[0] == 1
    assert "very-secret" not in str(found)


def test_what_is_set_well_is_told(doctor, tmp_path, monkeypatch):
    (tmp_path / "reports.yaml").write_text("charts: {visits: {series: [screen_view]}}")
    monkeypatch.setenv("OPENPANEL_REPORTS", str(tmp_path / "reports.yaml"))
    monkeypatch.setenv("CONNECTOR_ALERT_WEBHOOK", "https://hooks.example.com/very-secret")
    code, found = doctor("--offline")
    assert (code, troubles(found)) == (0, {})
    said = {one["about"]: one["said"] for one in found}
    assert said["OPENPANEL_REPORTS"] == "asks for 1 charts and 0 funnels."
    assert "hooks.example.com" in said["CONNECTOR_ALERT_WEBHOOK"]
    assert "very-secret" not in str(found)


def test_a_timezone_that_is_left_out_is_told_once(doctor, monkeypatch):
    monkeypatch.delenv("OPENPANEL_TIMEZONE")
    _, found = doctor()
    (one,) = (one for one in found if one["about"] == "OPENPANEL_TIMEZONE")
    assert one["level"] == "warn"


def test_an_old_server_is_recognised(doctor, well):
    well.faults.add("status", "/documentation/json", status=404, times=None)
    code, found = doctor()
    assert (code, "before 2026-04-09" in troubles(found)["openpanel server"]) == (0, True)


def test_a_wrong_clock_is_seen_in_both_directions():
    now = datetime(2026, 3, 4, 12, tzinfo=UTC)
    for minutes, level in ((0, "ok"), (5, "fail"), (-5, "fail")):
        date = (now + timedelta(minutes=minutes)).strftime("%a, %d %b %Y %H:%M:%S GMT")
        finding = clock_skew("x", {"date": date}, now=now)
        assert finding.level == level
        assert minutes == 0 or ("behind" if minutes > 0 else "ahead") in finding.said
    assert clock_skew("x", {}, now=now).level == "warn"


def test_a_strangers_export_in_the_only_slot_is_told(doctor, pilot):
    pilot.foreign_job(seconds=3600)
    code, found = doctor()
    assert code == 0
    assert "one export can run at a time" in troubles(found)["userpilot slot"]


def test_who_holds_the_warehouse_is_named(doctor, tmp_path):
    code = (
        f"import duckdb, time; c = duckdb.connect({str(tmp_path / 'w.duckdb')!r}); print(1, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        try:
            _, found = doctor("--offline")
        finally:
            holder.kill()
    assert f"process {holder.pid}" in troubles(found)["warehouse"]


def test_a_warehouse_that_does_not_open_fails(doctor, tmp_path):
    (tmp_path / "w.duckdb").write_bytes(b"x" * 5000)
    code, found = doctor("--offline")
    assert (code, "cannot be opened" in troubles(found)["warehouse"]) == (1, True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_warehouse_fails(doctor, tmp_path):
    duckdb.connect(tmp_path / "w.duckdb").close()
    (tmp_path / "w.duckdb").chmod(0o400)
    code, found = doctor("--offline")
    assert (code, "read-only" in troubles(found)["warehouse"]) == (1, True)


def test_what_was_left_behind_is_found(doctor, tmp_path):
    folder = tmp_path / "spool" / "openpanel.events" / "2026-03-04-0123456789ab"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "part-00001.json").write_bytes(b"x" * 2**20)
    os.utime(folder, (time.time() - 2 * 86400,) * 2)
    (tmp_path / "spool").chmod(0o700)
    _, found = doctor("--offline")
    assert "1 folders with 1 MiB" in troubles(found)["spool"]


def test_a_full_disk_fails(doctor, monkeypatch):
    import shutil
    from collections import namedtuple

    monkeypatch.setattr(shutil, "disk_usage", lambda _: namedtuple("U", "total used free")(10, 9, 1))
    code, found = doctor("--offline")
    assert code == 1
    assert {"spool disk", "warehouse disk"} <= troubles(found).keys()


def test_an_instance_without_limits_is_told_what_to_write(doctor, tmp_path, monkeypatch):
    from pathlib import Path

    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    _, found = doctor("--offline")
    told = [one["todo"] for one in found if one["about"] == "dagster" and one["level"] == "warn"]
    assert any("default_limit: 4" in line for line in told)
    ours = Path(__file__).parents[2] / "dagster_project" / "dagster.yaml"
    (tmp_path / "dagster.yaml").write_text(ours.read_text())
    assert "dagster" not in troubles(doctor("--offline")[1])


def test_it_imports_no_dagster():
    code = "import sys; from connector.cli.main import main; main(['doctor', '--offline'])"
    code += "; print('dagster' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "False"


def test_without_a_database_state_is_this_machines(doctor):
    said = {one["about"]: one["said"] for one in doctor("--offline")[1]}
    assert said["shared state"].startswith("CONNECTOR_SHARED_STATE is not set")
    assert "request budget" in said


def test_the_database_that_machines_share(doctor, postgres, monkeypatch):
    monkeypatch.setenv("CONNECTOR_SHARED_STATE", postgres.database())
    code, found = doctor("--offline")
    said = {one["about"]: one["said"] for one in found}
    assert said["shared state"].startswith("CONNECTOR_SHARED_STATE names a database that all machines share")
    assert "request budget" not in said
    assert code == 0


def test_a_database_that_is_not_there(doctor, monkeypatch):
    monkeypatch.setenv("CONNECTOR_SHARED_STATE", "postgresql://u:open-sesame-1@127.0.0.1:9/x")
    code, found = doctor("--offline")
    assert code == 1
    assert "cannot be used" in troubles(found)["shared state"]
    assert "open-sesame-1" not in json.dumps(found)
