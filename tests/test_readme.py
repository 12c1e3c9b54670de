"""What the README says is what happens: its commands, its snippets, its tables."""

import os
import re
import subprocess
import sys

import pytest

from connector.sandbox import READ, OpenPanel, serve, vendor_variables
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()


def page(name):
    return (ROOT / "docs" / name).read_text()


def blocks(language, name):
    return re.findall(rf"```{language}\n(.*?)```", page(name), re.DOTALL)


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readme")
    vendor = OpenPanel()
    from datetime import date

    vendor.load_sample(date(2026, 3, 1), date(2026, 3, 7))
    with serve(vendor.app) as url:
        yield {
            **os.environ,
            **vendor_variables(openpanel=url),
            "WAREHOUSE": str(folder / "w.duckdb"),
            "SPOOL_DIR": str(folder / "spool"),
            "PYTHONPATH": str(ROOT),
        }


def test_every_make_target_named_exists():
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"make ([a-z-]+)", README)):
        assert re.search(rf"(?m)^{target}:", makefile), target


def test_the_queries_of_the_pages_find_what_landed(environment, tmp_path):
    for day in range(1, 8):
        command = f"sync openpanel.events --from 2026-03-{day:02} --to 2026-03-{day:02}"
        done = subprocess.run(
            [sys.executable, "-m", "connector.cli", *command.split()],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr
    receipts, coverage = (block for block in blocks("sql", "day.md") if "connector." in block)
    from connector import Warehouse

    with Warehouse(environment["WAREHOUSE"]).read() as connection:
        found = connection.execute(receipts).fetchall()
        assert connection.execute(coverage).fetchall() == [], "every landed day is whole"
    assert len(found) == 7
    assert {row[1] for row in found} == {"landed"}


@pytest.mark.timeout(900)
def test_the_demo_ends_well_and_can_be_run_again(environment, tmp_path):
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-m", "dagster_project.demo"],
            env=environment,
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.count("  =") == 17
        assert READ.secret not in done.stdout + done.stderr


def test_every_variable_is_in_the_table_and_every_row_is_a_variable():
    table = page("settings.md").split("## ")[0]
    named = set(re.findall(r"`([A-Z][A-Z_]+)`", table))
    read = set()
    names = r'"((?:OPENPANEL|USERPILOT|CONNECTOR)_[A-Z_]+|WAREHOUSE|START_DATE|SPOOL_DIR)"'
    for file in (*(ROOT / "connector").rglob("*.py"), *(ROOT / "dagster_project").rglob("*.py")):
        if "sandbox" not in file.parts:
            read |= set(re.findall(names, file.read_text()))
    assert named - {"UTC"} == read - {"UTC"}


def test_every_folder_on_the_map_exists():
    map_ = README.split("## The map")[1].split("```")[1]
    inside = {name for line in re.findall(r"(?m)^  .*$", map_) for name in re.findall(r"(\w+)/", line)}
    beside = set(re.findall(r"(?m)^(\w+)/", map_))
    assert inside >= {"catalogue", "http", "landing", "warehouse", "dagster", "openpanel"}
    assert all((ROOT / "connector" / name).is_dir() or (ROOT / name).is_dir() for name in inside)
    assert beside >= {"connector", "dagster_project", "sql", "deploy", "docs"}
    assert all((ROOT / name).is_dir() for name in beside)


def test_every_folder_and_module_has_its_layer_on_the_page():
    layers = (ROOT / "ARCHITECTURE.md").read_text().split("## Layers")[1].split("```")[1]
    named = set(re.findall(r"\b[a-z]+\b", layers))
    for path in (ROOT / "connector").iterdir():
        if not path.name.startswith("_") and path.suffix in ("", ".py") and path.name != "sources.py":
            assert path.stem in named, f"{path.name} stands in no layer of ARCHITECTURE.md"


def test_every_target_of_the_makefile_is_told_to_contributors():
    told = (ROOT / "CONTRIBUTING.md").read_text() + README
    for target in ("quick", "check", "test", "soak", "fuzz", "mutants", "bench", "audit", "wheel", "test-duckdb2"):
        assert f"make {target}" in told


def test_every_endpoint_is_in_the_table_and_in_the_catalogue():
    """The vendor's pages promise these routes; the catalogue must be able to ask each, and the table must say so."""
    from connector.catalogue.openpanel import DIMENSIONS, STREAMS
    from connector.openpanel.track.plan import KINDS

    table = page("openpanel.md").split("## Every endpoint and parameter")[1]
    told = set(re.findall(r"(?m)^\| `GET ([^`]+)`", table))
    asked = {stream.path.format(project="{projectId}", dimension=name) for stream in STREAMS for name in DIMENSIONS}
    assert told - {"/export/funnel"} == asked - {"/insights/{projectId}/funnel"}
    assert "/export/funnel" in (ROOT / "connector/openpanel/reports/funnels.py").read_text()
    track = next(line for line in table.splitlines() if "/track" in line)
    assert set(re.findall(r"`(\w+)`", track)) == set(KINDS)


def test_the_reports_file_of_the_readme_is_valid(tmp_path):
    from connector.catalogue.openpanel import DIMENSIONS
    from connector.openpanel.reports.config import Questions
    from connector.openpanel.track.plan import load_outboxes

    charts, lists, outboxes = blocks("yaml", "openpanel.md")[:3]
    file = tmp_path / "reports.yaml"
    file.write_text(charts)
    assert Questions.load(file, dimensions=DIMENSIONS).funnels[0].name == "activation"
    file.write_text(lists)
    assert len(Questions.load(file, dimensions=DIMENSIONS).also) == 4
    file.write_text(outboxes)
    assert [one.kind for one in load_outboxes(file)] == ["identify", "increment"]
