"""Environments of their own for contenders, each made once, and again when what it is made from changes.

The product's environment is its developer's: dozens of packages that whoever installs the library does not get, and
some that other packages import as soon as they find them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
_PEERS = Path(__file__).with_name("peers.txt")


def peers(folder: Path) -> Path:
    """The interpreter of what the connector is compared with, from ``peers.txt``; minutes, the first time."""
    return _python(folder, _PEERS.read_text().splitlines())


def library(folder: Path) -> Path:
    """The interpreter of somebody who installed the connector without any extra. The code itself is this checkout's."""
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
    pins = [line for line in (_ROOT / "constraints.txt").read_text().splitlines() if "==" in line]
    return _python(folder, project["dependencies"], pins)


def lake(folder: Path) -> Path:
    """As :func:`library`, with the extra for lakes."""
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    more = [line for line in (*extras["lake"], *extras["postgres"]) if not line.startswith(project["name"])]
    pins = [line for line in (_ROOT / "constraints.txt").read_text().splitlines() if "==" in line]
    return _python(folder, [*project["dependencies"], *more], pins)


def lake_peers(folder: Path) -> Path:
    """As :func:`peers`, with what dlt's ducklake destination needs besides."""
    extensions = [f"duckdb-extension-{name}==1.5.5" for name in ("ducklake", "sqlite-scanner")]
    return _python(folder, [*_PEERS.read_text().splitlines(), "dlt[ducklake]", *extensions])


def _python(folder: Path, requirements: list[str], constraints: list[str] | None = None) -> Path:
    interpreter, stamp = folder / "bin" / "python", folder / "made-from.sha256"
    wanted = hashlib.sha256(json.dumps([requirements, constraints]).encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted and interpreter.exists():
        return interpreter
    print(f"installing .bench/{folder.name}, once ...", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    (folder / "requirements.txt").write_text("\n".join(requirements))
    (folder / "constraints.txt").write_text("\n".join(constraints or []))
    pip = [str(interpreter), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    files = ["--requirement", str(folder / "requirements.txt"), "--constraint", str(folder / "constraints.txt")]
    subprocess.run([*pip, *files], check=True)
    stamp.write_text(wanted)
    return interpreter


def versions(interpreter: Path, names: tuple[str, ...]) -> dict[str, str]:
    """Installed versions of ``names`` in an environment; a missing one is left out."""
    code = (
        "import json, sys\n"
        "from importlib.metadata import PackageNotFoundError, version\n"
        "found = {}\n"
        "for name in sys.argv[1:]:\n"
        "    try:\n"
        "        found[name] = version(name)\n"
        "    except PackageNotFoundError:\n"
        "        pass\n"
        "print(json.dumps(found))\n"
    )
    done = subprocess.run([str(interpreter), "-c", code, *names], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))
