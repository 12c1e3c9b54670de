"""Properties and typed models in a lake: found, written, built and built again as in a file."""

import json
import subprocess

from connector import Warehouse
from connector.cli.main import main
from dagster_project import dbt as deployed
from tests.kinds import only
from tests.properties.conftest import Shop, day
from tests.properties.test_models import project  # noqa: F401  the fixture

pytestmark = only("file")
FILE = """
openpanel:
  events:
    purchase:
      properties:
        total: decimal
        coupon: text
"""
FIRST = ({"total": "49.90"}, {"total": "free", "coupon": "spring"}, {"total": "5"})
AGAIN = ({"total": "7.25", "coupon": "autumn"},)
SHOWN = (
    "select day, total, coupon, misfits from staging.stg_openpanel__purchase order by all",
    "select * from connector.properties order by all",
)


def build(project, **days):  # noqa: F811
    command = [deployed.DBT, "--quiet", "build", "--project-dir", str(project), "--profiles-dir", str(project)]
    command += ["--exclude-resource-type", "unit_test", "--indirect-selection", "cautious"]
    command += ["--select", "stg_openpanel__events", "path:models/staging/typed"]
    if days:
        command += ["--vars", json.dumps({name: str(value) for name, value in days.items()})]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]


def test_a_lake_has_the_same_properties_and_typed_models_as_a_file(
    lake, vendor, sync, project, tmp_path, monkeypatch, capsys,  # noqa: F811
):  # fmt: skip
    """Also after a day has landed again with other rows, of which only that day is built."""
    both = [Warehouse(tmp_path / "file.duckdb"), lake]
    shop = Shop(vendor, lambda one, **options: [sync(one, warehouse=into, **options) for into in both])
    file = tmp_path / "properties.yml"
    file.write_text(FILE, encoding="utf-8")
    shop.sells(day(0), *FIRST)
    shop.sells(day(1), *FIRST)
    shop.lands(day(0), day(1))

    def worked(warehouse, **days):
        monkeypatch.setenv("WAREHOUSE", warehouse.url)
        assert main(["properties"]) == 0
        told = capsys.readouterr().out
        assert main(["models", str(file), str(project / "models" / "staging" / "typed")]) == 0
        capsys.readouterr()
        build(project, **days)
        with warehouse.read() as connection:
            return told, [connection.execute(sql).fetchall() for sql in SHOWN]

    (told, (models, properties)), of_lake = map(worked, both)
    assert of_lake == (told, [models, properties])
    assert (len(models), "total" in told, len(properties) > 1) == (2 * len(FIRST), True, True)
    shop.sells(day(0), *AGAIN)
    shop.lands(day(0))
    (_, again), of_lake_again = (worked(one, min_date=day(0), max_date=day(0)) for one in both)
    assert of_lake_again[1] == again
    assert len(again[0]) == 2 * len(FIRST) + len(AGAIN)
