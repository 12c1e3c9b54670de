"""A wrong variable is one sentence that names it, before the first request."""

import pickle

import pytest

from connector import OpenPanel, Settings, SettingsError, Userpilot
from connector.http.webhook import Webhook
from connector.openpanel.settings import OpenPanelSettings
from connector.settings import Environment, Secret, checked_url, environment
from connector.userpilot.settings import UserpilotSettings

GOOD = {
    "OPENPANEL_CLIENT_ID": "0f1e2d3c-0000-4000-8000-000000000001",
    "OPENPANEL_CLIENT_SECRET": "sec_abc",
    "OPENPANEL_PROJECT_ID": "demo",
}


@pytest.mark.parametrize("name", sorted(GOOD))
def test_a_missing_variable_is_named(name):
    with pytest.raises(SettingsError, match=f"{name} is not set") as caught:
        OpenPanelSettings.load(Environment({key: value for key, value in GOOD.items() if key != name}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["", "   "])
def test_an_empty_variable_is_a_missing_one(value):
    with pytest.raises(SettingsError, match="OPENPANEL_PROJECT_ID is not set"):
        OpenPanelSettings.load(Environment(GOOD | {"OPENPANEL_PROJECT_ID": value}))


@pytest.mark.parametrize("value", ["2024-13-01", "01.02.2024", "20240101", "2024-1-1", "yesterday"])
def test_a_start_date_must_be_a_date(value):
    with pytest.raises(SettingsError, match="START_DATE"):
        Settings.load(Environment({"START_DATE": value}))


@pytest.mark.parametrize(
    "value",
    ["ftp://x", "panel.example.com", "https://", "https://u:p@host", "https://host?x=1", "http://panel.example.com",
     "https://host:notaport"],
)  # fmt: skip
def test_a_base_url_must_be_one_and_safe(value):
    with pytest.raises(SettingsError, match="OPENPANEL_API_URL"):
        OpenPanelSettings.load(Environment(GOOD | {"OPENPANEL_API_URL": value}))


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("https://panel.example.com/api/", "https://panel.example.com/api"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("", "https://api.openpanel.dev"),
        ("HTTPS://Panel.Example.COM:8443/Api", "https://panel.example.com:8443/Api"),
        ("Http://LOCALHOST:8000//", "http://localhost:8000"),
    ],
)
def test_base_urls_may_carry_a_prefix(value, read):
    assert OpenPanelSettings.load(Environment(GOOD | {"OPENPANEL_API_URL": value})).api_url == read


@pytest.mark.parametrize("value", [" https://panel.example.com/api", "https://panel.example.com/api \n"])
def test_blanks_around_a_base_url_are_cut(value):
    assert checked_url("OPENPANEL_API_URL", value) == "https://panel.example.com/api"


def test_plain_http_is_noticed_in_capital_letters():
    with pytest.raises(SettingsError, match="is plain HTTP"):
        checked_url("OPENPANEL_API_URL", "HTTP://panel.example.com", insecure=False)


def test_a_webhook_keeps_its_path_and_query_and_loses_its_capitals():
    with Webhook(" HTTPS://Hooks.Example.com/Services/T0?Key=Ab ") as hook:
        assert (hook.origin, hook._rest) == ("https://hooks.example.com", "/Services/T0?Key=Ab")


def test_plain_http_is_possible_on_purpose():
    env = Environment(GOOD | {"OPENPANEL_API_URL": "http://panel.internal", "CONNECTOR_ALLOW_HTTP": "1"})
    assert OpenPanelSettings.load(env).api_url == "http://panel.internal"


PLAIN = {
    **GOOD,
    "USERPILOT_API_KEY": "key_abc",
    "OPENPANEL_API_URL": "http://192.0.2.2:3333",
    "USERPILOT_API_URL": "http://192.0.2.2:3334",
    "CONNECTOR_ALERT_WEBHOOK": "http://192.0.2.2:3335/hook",
}


def use_all():
    """Everything that holds a base URL, made the way a run makes it."""
    with (
        OpenPanel.from_settings(OpenPanelSettings.load()),
        Userpilot.from_settings(UserpilotSettings.load()),
        Webhook.from_environment() as hook,
    ):
        assert hook.host == "192.0.2.2"


@pytest.mark.parametrize("value", ["1", "true", "ON"])
def test_who_allows_plain_http_can_use_it(monkeypatch, value):
    for name, text in (PLAIN | {"CONNECTOR_ALLOW_HTTP": value}).items():
        monkeypatch.setenv(name, text)
    use_all()


@pytest.mark.parametrize("value", ["", "0", "false", "no", "off"])
def test_plain_http_is_refused_by_whatever_is_no_yes(monkeypatch, value):
    for name, text in (PLAIN | {"CONNECTOR_ALLOW_HTTP": value}).items():
        monkeypatch.setenv(name, text)
    for load in (OpenPanelSettings.load, UserpilotSettings.load, Webhook.from_environment):
        with pytest.raises(SettingsError, match="is plain HTTP"):
            load()
    with pytest.raises(SettingsError, match="is plain HTTP"):
        Webhook(environment().secret("CONNECTOR_ALERT_WEBHOOK"))


def test_a_timezone_must_exist():
    with pytest.raises(SettingsError, match="OPENPANEL_TIMEZONE"):
        OpenPanelSettings.load(Environment(GOOD | {"OPENPANEL_TIMEZONE": "Mars/Olympus"}))


@pytest.mark.parametrize("secret", ["zq\nxv", "zqéxv"])
def test_a_secret_that_no_header_can_carry_is_refused_without_being_shown(secret):
    with pytest.raises(SettingsError, match="OPENPANEL_CLIENT_SECRET") as caught:
        OpenPanelSettings.load(Environment(GOOD | {"OPENPANEL_CLIENT_SECRET": secret}))
    assert "zq" not in str(caught.value)


def test_a_secret_does_not_print_and_does_not_travel():
    settings = OpenPanelSettings.load(Environment(GOOD))
    assert "sec_abc" not in f"{settings} {settings!r} {settings.client_secret}"
    with pytest.raises(TypeError):
        pickle.dumps(Secret("x"))


def test_defaults_are_the_promised_ones():
    settings = Settings.load(Environment({}))
    assert (settings.warehouse, settings.start_date.isoformat(), str(settings.spool_dir)) == (
        "warehouse.duckdb", "2024-01-01", ".spool",
    )  # fmt: skip
