"""`python -m tests.quick`: runs the tests of the files that changed since the last commit; see `make quick`.

A changed module of ``connector/`` stands for the tests in the folder that mirrors its own, a changed test for itself.
Tests that start daemons, kill processes or build dbt projects are left to `make test`.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Where nothing changed, and beside what did: the shape of the code, and the folders that everything stands on.
ALWAYS = ("tests/test_structure.py",)
CORE = ("tests/catalogue", "tests/http", "tests/landing", "tests/records", "tests/system")


def changed() -> list[str]:
    """Paths of files that differ from the last commit, files git does not track yet included."""
    commands = (["git", "diff", "--name-only", "HEAD"], ["git", "ls-files", "--others", "--exclude-standard"])
    return [line for command in commands for line in subprocess.check_output(command, cwd=ROOT, text=True).splitlines()]


def tests_of(path: str) -> str | None:
    """The test file or folder to run for a changed file; None where only `make test` helps."""
    file = Path(path)
    if file.parts[0] == "tests" and file.name.startswith("test_"):
        return path if (ROOT / file).exists() else None
    if file.parts[0] == "sql" or path.startswith("connector/dagster/dbt"):
        return "tests/sql/test_project.py"
    if file.parts[0] != "connector" or file.suffix != ".py":
        return None
    if len(file.parts) == 2:
        alone = ROOT / "tests" / f"test_{file.name}"
        return f"tests/test_{file.name}" if alone.exists() else None
    folder = Path("tests", *file.parts[1:-1])
    while not (ROOT / folder).is_dir():
        folder = folder.parent
    return str(folder) if folder != Path("tests") else None


def main(arguments: list[str]) -> int:
    """Run pytest on what changed; further arguments go to pytest."""
    chosen = sorted({test for path in changed() if (test := tests_of(path))})
    chosen = [test for test in chosen if not any(str(Path(test).parent) == other for other in chosen)] or list(CORE)
    print("tests of what changed: " + ", ".join(chosen), flush=True)
    return pytest.main([*ALWAYS, *chosen, "-q", "-x", "-m", "not slow and not processes", "-n", "2", *arguments])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
