"""The peers' own environment, made once from ``peers.txt`` and made again when that file changes."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path

_PINS = Path(__file__).with_name("peers.txt")


def python(environment: Path) -> Path:
    """The interpreter of the peers' environment, installing it first if need be (half a minute to minutes)."""
    interpreter = environment / "bin" / "python"
    stamp = environment / "peers.sha256"
    wanted = hashlib.sha256(_PINS.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted and interpreter.exists():
        return interpreter
    print("installing the peers' environment, once ...", file=sys.stderr, flush=True)
    shutil.rmtree(environment, ignore_errors=True)
    venv.create(environment, with_pip=True)
    pip = [str(interpreter), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    subprocess.run([*pip, "--requirement", str(_PINS)], check=True)
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
