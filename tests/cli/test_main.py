"""What all verbs share: the file beside them, a pipe that closes, arguments that make no sense."""

import os
import re
import socket
import subprocess
import sys

import pytest

from connector.cli.main import main
from connector.cli.output import FAILED

ALONE = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME")}


def connector(*arguments, cwd, **env):
    """A process that knows only the variables given to it."""
    return subprocess.run(
        [sys.executable, "-m", "connector.cli", *arguments],
        cwd=cwd,
        env=ALONE | {"PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(cwd)} | env,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_file_beside_it_is_read_and_the_environment_wins(tmp_path):
    (tmp_path / ".env").write_text("OPENPANEL_PROJECT_ID=from-the-file\nSTART_DATE=2025-02-03\n")
    said = connector("doctor", "--offline", cwd=tmp_path, START_DATE="2026-01-02").stdout
    assert "OPENPANEL_PROJECT_ID: is 'from-the-file'." in said
    assert "START_DATE: is '2026-01-02'." in said


def test_a_dotenv_in_a_folder_above_is_not_read(tmp_path):
    (tmp_path / ".env").write_text("OPENPANEL_PROJECT_ID=from-the-file\n")
    (tmp_path / "below").mkdir()
    assert "nothing is configured" in connector("doctor", "--offline", cwd=tmp_path / "below").stdout


def test_a_file_that_is_no_text_is_one_sentence(tmp_path, monkeypatch, capsys):
    (tmp_path / ".env").write_bytes(b"USERPILOT_API_KEY=\xff\xfevery-secret")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHON_DOTENV_DISABLED")
    assert main(["doctor", "--offline"]) == FAILED
    said = capsys.readouterr()
    assert ".env cannot be read" in said.err
    assert "very-secret" not in said.out + said.err


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_sandbox_without_its_ports_is_one_sentence(tmp_path, after):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = connector("sandbox", "--days", "1", "--port", str(port - after), cwd=tmp_path)
    assert done.returncode == FAILED
    assert re.match(r"port \d+ cannot be used: .*give another --port", done.stderr)  # which, others may decide
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_file_of_outboxes_that_is_not_there(tmp_path, capsys):
    assert main(["track", str(tmp_path / "nofile.yaml")]) == FAILED
    assert "nofile.yaml cannot be read: " in capsys.readouterr().err
    (tmp_path / "file.yaml").write_text("people: [1]")
    assert main(["track", str(tmp_path / "file.yaml")]) == FAILED
    assert "file.yaml.people does not fit: Expected `object`" in capsys.readouterr().err
    (tmp_path / "file.yaml").write_text("people: {kind: identify}")
    assert main(["track", str(tmp_path / "file.yaml")]) == FAILED
    assert "file.yaml.people does not fit: Object missing required field `query`" in capsys.readouterr().err
    (tmp_path / "file.yaml").write_text("")
    assert main(["track", str(tmp_path / "file.yaml")]) == FAILED
    assert "holds no outboxes" in capsys.readouterr().err


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert re.fullmatch(r"connector \d+\.\d+\.\d+.*\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    "arguments",
    [
        ["sync", "userpilot.events", "--days", "1"],
        ["sync", "openpanel.events"],
        ["sync", "openpanel.events", "--days", "0"],
        ["sync", "openpanel.events", "--days", "2", "--from", "yesterday"],
        ["sync", "openpanel.events", "--from", "tomorrow"],
        ["export", "land", "--from", "2026-03-04", "--to", "2026-03-03"],
        ["lookups", "flws"],
        ["nightly", "--event-type", "trak"],
        ["nightly", "--lookback-days", "-1"],
        ["nightly", "--wait", "-5"],
        ["prune", "--files-days", "x"],
        ["forget"],
    ],
    ids=" ".join,
)
def test_wrong_arguments_end_with_two_everywhere(arguments, monkeypatch):
    for name in ("OPENPANEL_CLIENT_ID", "OPENPANEL_CLIENT_SECRET", "OPENPANEL_PROJECT_ID", "USERPILOT_API_KEY"):
        monkeypatch.setenv(name, "00000000-0000-4000-8000-000000000000")
    with pytest.raises(SystemExit) as ended:
        sys.exit(main(arguments))
    assert ended.value.code == 2


@pytest.mark.parametrize(("table", "verb"), [("userpilot.events", "export land"), ("userpilot.flows", "lookups")])
def test_a_table_of_another_verb_names_it(table, verb, capsys):
    with pytest.raises(SystemExit):
        main(["sync", table, "--days", "1"])
    assert f"{table} is landed by `connector {verb}`" in capsys.readouterr().err


def test_wrong_arguments_have_a_code_of_their_own(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["sync", "openpanel.evnts", "--from", "2026-03-04", "--to", "2026-03-04"])
    assert ended.value.code == 2
