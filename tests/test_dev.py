"""``make dev`` shows samples only where nothing is configured, and never beside a user's own rows."""

import signal
from contextlib import contextmanager

import pytest

from dagster_project import dev


@pytest.fixture
def given(monkeypatch, tmp_path):
    """What the code location is started with, over the environment; as if Ctrl-C came at once."""
    seen = []

    @contextmanager
    def local_dagster(_, variables, **__):
        seen.append(dict(variables))
        signal.raise_signal(signal.SIGTERM)
        yield type("Dagster", (), {"url": "http://127.0.0.1:3000"})

    before = {sign: signal.getsignal(sign) for sign in (signal.SIGINT, signal.SIGTERM)}
    monkeypatch.setattr(dev, "local_dagster", local_dagster)
    monkeypatch.setattr(dev, "load_dotenv", lambda: None)
    monkeypatch.setattr(dev, "SAMPLE_DAYS", 1)
    monkeypatch.setenv("DAGSTER_DEV_FOLDER", str(tmp_path))
    monkeypatch.setenv("WAREHOUSE", "theirs.duckdb")
    for name in dev.CONFIGURED:
        monkeypatch.delenv(name, raising=False)
    yield seen
    for sign, handler in before.items():
        signal.signal(sign, handler)


def test_without_any_credentials_both_vendors_are_played_into_a_warehouse_of_their_own(given, tmp_path):
    assert dev.main() == 0
    (variables,) = given
    assert variables["WAREHOUSE"] == str(tmp_path / "sandbox.duckdb")
    assert all(variables[name] for name in dev.CONFIGURED)


@pytest.mark.parametrize("name", dev.CONFIGURED)
def test_with_one_vendor_configured_nothing_is_made_up(given, monkeypatch, name):
    monkeypatch.setenv(name, "something of theirs")
    assert dev.main() == 0
    assert given == [{}]
