"""A file with all six kinds for 1,000 profiles, killed twice: every profile ends as SQL over the rows says."""

import json
import os
import random
import subprocess
import sys
import textwrap
import time

from connector import Warehouse
from connector.sandbox import ROOT, OpenPanel, serve

PROFILES, COMPANIES = 1000, 20
OUTBOXES = {
    "people": ("identify", "select profile_id, plan, seats, first_name from people order by random()"),
    "companies": ("group", "select id, 'company' as type, 'C ' || id as name from companies order by random()"),
    "members": ("assign_group", "select profile_id, [company] as group_ids from people order by random()"),
    "events": (
        "track",
        "select key, 'ordered' as name, profile_id, happened as timestamp from orders order by random()",
    ),
    "counted": ("increment", "select key, profile_id, 'orders' as property, n as value from orders order by random()"),
    "spent": ("increment", "select key, profile_id, 'spent' as property, n * 7 as value from orders order by random()"),
    "returned": ("decrement", "select key, profile_id, 'orders' as property, 1 as value from orders where n > 2"),
}
TABLES = f"""
    create table people as select 'u-' || i as profile_id, ['free', 'pro'][1 + i % 2] as plan, i % 7 as seats,
        'F' || i as first_name, 'c' || i % {COMPANIES} as company from range({PROFILES}) r(i);
    create table companies as select 'c' || i as id from range({COMPANIES}) r(i);
    create table orders as select 'o' || i as key, 'u-' || (i * 7) % {PROFILES} as profile_id, 1 + i % 4 as n,
        timestamptz '2026-03-04 00:00:00Z' + i * interval 1 second as happened from range({PROFILES * 3 // 2}) r(i);
"""
EXPECTED = """
    select profile_id, first_name, company, {'plan': plan, 'seats': seats::varchar,
        'orders': (10 + coalesce(sum(n) - count(*) filter (n > 2), 0))::varchar, 'spent': sum(n * 7)::varchar}
    from people left join orders using (profile_id) group by profile_id, first_name, company, plan, seats
"""
RUN = """
    import sys
    from connector.cli.main import main
    from connector.openpanel.track.sender import Track
    from connector.openpanel import client
    real = client.OpenPanel.track
    client.OpenPanel.track = lambda self, **options: real(self, settle=0.6, a_second=100_000, **options)
    sys.exit(main(["track", sys.argv[1], "--json"]))
"""


def run(tmp_path, url):
    names = {"API_URL": url, "CLIENT_ID": ROOT.id, "CLIENT_SECRET": ROOT.secret, "PROJECT_ID": "demo"}
    known = {f"OPENPANEL_{name}": value for name, value in names.items()}
    places = {"WAREHOUSE": str(tmp_path / "w.duckdb"), "SPOOL_DIR": str(tmp_path), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", textwrap.dedent(RUN), str(tmp_path / "outboxes.yaml")]
    shared = {name: value for name, value in os.environ.items() if name == "CONNECTOR_SHARED_STATE"}
    return subprocess.Popen(
        command, env=known | places | shared, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_every_profile_ends_as_sql_says_after_two_kills(tmp_path, each_state):
    vendor = OpenPanel(visible_after=0.4, rate_limit=None)
    for number in range(PROFILES):
        vendor.add_profile(f"u-{number}", properties={"orders": "10", "plan": "old"})
    order = random.Random(11).sample(sorted(OUTBOXES), len(OUTBOXES))
    file = {name: dict(zip(("kind", "query"), OUTBOXES[name], strict=True)) for name in order}
    (tmp_path / "outboxes.yaml").write_text(json.dumps(file))
    with Warehouse(tmp_path / "w.duckdb").write() as connection:
        connection.execute(TABLES)

    with serve(vendor.app) as url:
        for after in (1300, 3600):
            with run(tmp_path, url) as process:
                until = time.monotonic() + 120
                while sum(one.method == "POST" for one in list(vendor.requests)) < after:
                    assert process.poll() is None, process.stderr.read()
                    assert time.monotonic() < until
                    time.sleep(0.01)
                process.kill()
        with run(tmp_path, url) as process:
            out, err = process.communicate(timeout=250)
        assert out.count("outbox") == len(OUTBOXES), err
    time.sleep(0.5)
    vendor.tick()

    with Warehouse(tmp_path / "w.duckdb").read() as connection:
        expected = connection.execute(EXPECTED).fetchall()
        lost = {row[0] for row in connection.execute("select key from connector.rejected").fetchall()}
    profiles = vendor.projects["demo"].profiles
    found = {
        name: (
            one.first_name,
            one.groups,
            {key: one.properties.get(key) for key in ("plan", "seats", "orders", "spent")},
        )
        for name, one in profiles.items()
    }
    assert found == {name: (first, [company], properties) for name, first, company, properties in expected}
    # Events have no key at the vendor: one whose answer was lost is told, and never sent twice.
    assert len(lost) <= 16
    events = len(vendor.projects["demo"].events)
    assert PROFILES * 3 // 2 - len(lost) <= events <= PROFILES * 3 // 2
    assert set(vendor.projects["demo"].groups) == {f"c{number}" for number in range(COMPANIES)}
