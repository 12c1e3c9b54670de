"""What the environment says about proxies and certificates works, or an error names the variable; nothing is shown."""

import os
import shutil
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from connector.cli.main import main
from connector.errors import ConnectorError, RejectedError, SettingsError, TransientError
from connector.http.client import Http
from connector.http.download import Files
from connector.http.proxies import Proxies
from connector.http.webhook import Webhook
from connector.openpanel.client import OpenPanel
from connector.openpanel.track.plan import Outbox
from connector.openpanel.track.send import deliver
from connector.sandbox import READ, Userpilot, serve_userpilot, vendor_variables
from connector.settings import is_loopback
from tests.http.hosts import host, whole

PASSWORD = "pr0xy-passw0rd"
ELSEWHERE = "http://vendor.invalid"
GOOD = whole(b'{"ok": true}')


def json_client(url=ELSEWHERE):
    with Http(url, headers={"openpanel-client-secret": "s"}, sleep=lambda _: None) as http:
        http.get("/x", where="test")


def files_client(url=ELSEWHERE):
    with Files(sleep=lambda _: None) as files:
        files.fetch(f"{url}/x", Path(os.environ["TMPDIR"]) / "fetched", where="test")


def webhook_client(url=ELSEWHERE):
    with Webhook(f"{url}/x", insecure=True) as hook:
        hook.post({"text": "hello"})


CLIENTS = [json_client, files_client, webhook_client]


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as each:
            each.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.fixture(params=CLIENTS)
def ask(request, no_pauses):
    return request.param


WRONG_PROXIES = [
    "socks://127.0.0.1:7891/",
    "socks5://127.0.0.1:7891",
    "SOCKS5H://127.0.0.1:7891",
    "socks4://127.0.0.1:7891",
    "ftp://127.0.0.1:21",
    f"http://user:{PASSWORD}@host:notaport",
    f"http://user:{PASSWORD}@host:99999999",
    f"http://user:{PASSWORD}@127.0.0.1:65536",  # would be port 0, and 99999 another one of this machine
    f"http://user:{PASSWORD}@127.0.0.1:0",
    f"http://user:{PASSWORD}@",
    f"http://user:{PASSWORD}@ho st:1",
    f"user:{PASSWORD}@[::1",
    f"http://user:{PASSWORD}@[nonsense]:1",
    f"http://user:{PASSWORD}@host:1\x7f",
    "http://",
    "://x",
]


@pytest.mark.parametrize("value", WRONG_PROXIES)
@pytest.mark.parametrize("variable", ["ALL_PROXY", "http_proxy"])
def test_a_proxy_that_cannot_be_used_is_a_sentence_with_the_variable(monkeypatch, ask, variable, value):
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        ask()
    assert caught.value.variable == variable
    text = (
        f"{caught.value}{caught.value.__cause__}{'' if caught.value.__suppress_context__ else caught.value.__context__}"
    )
    assert PASSWORD not in text
    assert text.isprintable()


@pytest.mark.parametrize("variable", ["ALL_PROXY", "http_proxy", "HTTP_PROXY"])
def test_a_wrong_proxy_that_is_not_used_breaks_nothing(monkeypatch, ask, variable):
    monkeypatch.setenv(variable, "socks://127.0.0.1:7891/")
    with host(GOOD) as server:
        ask(server.url)
        monkeypatch.setenv("no_proxy", "invalid")
        with pytest.raises(ConnectorError) as caught:
            ask()
        assert not isinstance(caught.value, SettingsError)
        assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("credentials", "sent"),
    [
        ("", None),
        ("user:secret@", "user:secret"),
        ("user:p%40ss%3Aw@", "user:p@ss:w"),
        ("user:p@ss@", "user:p@ss"),
        ("user:p#s?s/w@", "user:p#s?s/w"),
        ("us%C3%A9r:p%C3%A4ss@", "usér:päss"),
        ("token@", "token:"),
        ("user:100%@", "user:100%"),
    ],
)
@pytest.mark.parametrize("scheme", ["http://", "HTTP://", ""])
def test_a_proxy_gets_its_credentials_however_they_are_written(monkeypatch, ask, scheme, credentials, sent):
    with host(GOOD) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"{scheme}{credentials}127.0.0.1:{proxy.port}/")
        ask()
    (asked,) = proxy.asked
    assert asked.path.startswith(f"{ELSEWHERE}/x")
    expected = sent and httpx.BasicAuth(*sent.split(":", 1))._auth_header
    given = asked.headers.get("proxy-authorization")
    if sent and not sent.isascii():
        import base64

        expected = "Basic " + base64.b64encode(sent.encode()).decode()
    assert given == expected


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "127.0.0.2", "127.1", "LOCALHOST", "::1"])
def test_this_machine_is_never_asked_through_a_proxy(monkeypatch, ask, name):
    if name == "::1" and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    with host(GOOD) as proxy, host(GOOD, address="::1" if name == "::1" else "0.0.0.0") as server:
        for variable in ("HTTP_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(variable, proxy.url)
        ask(f"http://[::1]:{server.port}" if name == "::1" else f"http://{name}:{server.port}")
    assert (len(server.asked), len(proxy.asked)) == (1, 0)


@pytest.mark.parametrize(
    ("name", "here"),
    [
        *[(name, True) for name in ("localhost", "a.localhost", "127.8.8.8", "::1", "[::1]", "::ffff:127.0.0.1")],
        *[(name, True) for name in ("0x7f.1", "2130706433", "0:0:0:0:0:0:0:1", "127.0.0.1.")],
        *[(name, False) for name in ("localhost.example.com", "128.0.0.1", "::2", "127.0.0.1.example.com", "", "é")],
    ],
)
def test_this_machine_is_known_in_every_spelling(name, here):
    assert is_loopback(name) is here


@pytest.mark.parametrize(
    ("no_proxy", "url", "through"),
    [
        ("localhost,fd07:b51a:cc66:f0::/64", "http://vendor.example.com", True),
        ("localhost,fd07:b51a:cc66:f0::/64", "http://[fd07:b51a:cc66:f0::5]", False),
        ("10.0.0.0/8", "http://10.9.9.9", False),
        ("10.0.0.0/8", "http://11.9.9.9", True),
        ("10.0.0.0/8", "http://[fd07::1]", True),
        ("*", "http://vendor.example.com", False),
        ("example.com", "http://vendor.example.com", False),
        (".example.com", "https://vendor.example.com", False),
        ("*.example.com", "https://vendor.EXAMPLE.com", False),
        ("ample.com", "http://vendor.example.com", True),
        ("example.com:8080", "http://vendor.example.com", True),
        ("example.com:443", "https://vendor.example.com", False),
        ("https://example.com", "http://vendor.example.com", True),
        ("[fd07::1]:80", "http://[fd07::1]", False),
        (" a.com  example.com\t", "http://vendor.example.com", False),
        ("fd07::/999,://,[,]:,%%,10.0.0.0/99", "http://vendor.example.com", True),
    ],
)
def test_hosts_are_exempt_from_the_proxy_as_everywhere(monkeypatch, no_proxy, url, through):
    monkeypatch.setenv("ALL_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert (Proxies().of(httpx.URL(url)) is not None) is through


def test_each_scheme_has_its_proxy_and_lower_case_comes_first(monkeypatch):
    for name, port in {"ALL_PROXY": 1, "HTTPS_PROXY": 2, "https_proxy": 3}.items():
        monkeypatch.setenv(name, f"http://proxy:{port}")
    found = [Proxies().of(httpx.URL(f"{scheme}://x.com")) for scheme in ("http", "https")]
    assert [(proxy.variable, proxy.place) for proxy in found] == [("ALL_PROXY", "proxy:1"), ("https_proxy", "proxy:3")]


def test_an_error_says_which_proxy_was_in_use(monkeypatch, ask):
    monkeypatch.setenv("HTTP_PROXY", f"http://user:{PASSWORD}@127.0.0.1:9")
    with pytest.raises(TransientError, match=r"through the proxy 127\.0\.0\.1:9 \(HTTP_PROXY\)") as caught:
        ask()
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("credentials", ["", f"user:{PASSWORD}@"])
@pytest.mark.parametrize("url", [ELSEWHERE, "https://vendor.invalid"])
def test_a_proxy_that_wants_a_password_is_not_the_vendor(monkeypatch, ask, url, credentials):
    with host(whole(b"<html>login</html>", 407)) as proxy:
        for variable in ("HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(variable, f"http://{credentials}127.0.0.1:{proxy.port}")
        with pytest.raises(SettingsError, match=r"407") as caught:
            ask(url)
    assert caught.value.variable == ("HTTP_PROXY" if url == ELSEWHERE else "HTTPS_PROXY")
    assert ("refuses the user" in str(caught.value)) is bool(credentials)
    assert PASSWORD not in str(caught.value)
    assert len(proxy.asked) == 1, "it was sent again with the same password"


@pytest.mark.parametrize("status", [401, 403, 502, 503])
def test_a_web_page_of_a_proxy_does_not_send_people_to_the_vendors_settings(monkeypatch, no_pauses, status):
    with host(whole(b"<!doctype html><h1>Access denied</h1>", status)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("CONNECTOR_ALLOW_HTTP", "1")
        client = OpenPanel(url=ELSEWHERE, client_id=READ.id, client_secret=READ.secret, project_id="demo")
        with client, pytest.raises((RejectedError, TransientError), match="through the proxy 127") as caught:
            client.describe()
    assert "web page" in caught.value.next_step
    assert "(HTTP_PROXY)" in caught.value.next_step
    assert "OPENPANEL" not in caught.value.next_step


def test_a_password_that_a_proxy_repeats_is_cut(monkeypatch, no_pauses):
    import base64

    coded = base64.b64encode(f"user:{PASSWORD}".encode()).decode()
    with host(whole(f"no {PASSWORD} {coded} here".encode(), 400)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://user:{PASSWORD}@127.0.0.1:{proxy.port}")
        with pytest.raises(RejectedError, match=r"no \[cut\] \[cut\] here"):
            json_client()


@pytest.mark.parametrize("status", [403, 407])
def test_a_delivery_that_a_proxy_refuses_ends_and_is_sent_whole_the_next_time(monkeypatch, warehouse, tmp_path, status):
    """Nothing reached the vendor, so no event may be remembered as rejected or unknown."""
    outbox = Outbox(name="e", kind="track", query="select 'k' as key, 'signup' as name, 'u' as profile_id")
    with warehouse.write() as connection:
        connection.execute("create table x as select 1")

    def send(url):
        client = OpenPanel(url=url, client_id=READ.id, client_secret=READ.secret, project_id="demo")
        with client, client.track(settle=0.0) as track:
            return deliver(outbox, track, warehouse=warehouse, folder=tmp_path / "outbox")

    monkeypatch.setenv("CONNECTOR_ALLOW_HTTP", "1")
    with host(whole(b"<html>no</html>", status)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        with pytest.raises(RejectedError, match=r"through the proxy|407"):
            send(ELSEWHERE)
    with host(whole(b'{"deviceId": "d"}')) as server:
        assert send(server.url).sent == 1


# ---------- certificates

WRONG_CERTIFICATES = [
    ("SSL_CERT_FILE", "/nope.pem"),
    ("SSL_CERT_FILE", "{no certificate}"),
    ("SSL_CERT_FILE", "{folder}"),
    ("SSL_CERT_FILE", "{empty}"),
    ("SSL_CERT_DIR", "/nope"),
    ("SSL_CERT_DIR", "{folder}"),
    ("SSL_CERT_DIR", "{no certificate}"),
    ("SSLKEYLOGFILE", "/nope/keys"),
    ("SSLKEYLOGFILE", "{folder}"),
]


@pytest.fixture(params=WRONG_CERTIFICATES, ids=" ".join)
def wrong_certificates(request, monkeypatch, tmp_path):
    variable, value = request.param
    (tmp_path / "text").write_text("no certificate\n")
    (tmp_path / "empty").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine.pem").write_text("not under a name that is looked for")
    for name in ("empty", "folder"):
        value = value.replace(f"{{{name}}}", str(tmp_path / name))
    monkeypatch.setenv(variable, value.replace("{no certificate}", str(tmp_path / "text")))
    return variable


def test_certificates_that_cannot_be_read_are_a_sentence_with_the_variable(wrong_certificates, ask):
    with pytest.raises(SettingsError) as caught:
        ask("https://vendor.example.com")
    assert caught.value.variable == wrong_certificates


def test_certificates_are_not_looked_at_where_nothing_is_encrypted(wrong_certificates, ask):
    with host(GOOD) as server:
        ask(server.url)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A self-signed certificate for localhost, and its key."""
    if not shutil.which("openssl"):
        pytest.skip("openssl makes the certificate")
    folder = tmp_path_factory.mktemp("tls")
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    subprocess.run(
        [*command.split(), "-keyout", folder / "key", "-out", folder / "own.pem"], check=True, capture_output=True
    )
    (folder / "folder").mkdir()
    name = subprocess.check_output(["openssl", "x509", "-hash", "-noout", "-in", folder / "own.pem"], text=True).strip()
    (folder / "folder" / f"{name}.0").write_text((folder / "own.pem").read_text())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "own.pem", folder / "key")
    return folder, context


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_an_authority_of_ones_own_is_trusted_once_it_is_named(monkeypatch, authority, ask, variable):
    folder, context = authority
    with host(GOOD, tls=context) as server:
        url = f"https://localhost:{server.port}"
        with pytest.raises(TransientError) as caught:
            ask(url)
        assert ask is webhook_client or "SSL_CERT_FILE" in caught.value.next_step
        assert server.asked == []
        monkeypatch.setenv(variable, str(folder / ("own.pem" if variable == "SSL_CERT_FILE" else "folder")))
        ask(url)
        assert len(server.asked) == 1


# ---------- where people meet it

EVERYTHING_WRONG = [
    *[("ALL_PROXY", value) for value in WRONG_PROXIES[:7]],
    *WRONG_CERTIFICATES[:1],
    *WRONG_CERTIFICATES[4:5],
]


@pytest.mark.parametrize(("variable", "value"), EVERYTHING_WRONG)
def test_the_doctor_names_the_variable_and_goes_on(monkeypatch, capsys, tmp_path, variable, value):
    for name, text in {
        **vendor_variables(openpanel="https://vendor.example.com"),
        **vendor_variables(userpilot="https://vendor.example.com"),
        "WAREHOUSE": str(tmp_path / "w.duckdb"),
        "SPOOL_DIR": str(tmp_path / "spool"),
        "CONNECTOR_ALERT_WEBHOOK": "https://hooks.example.com/x",
        variable: value,
    }.items():
        monkeypatch.setenv(name, text)
    assert main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert PASSWORD not in said
    assert variable in said
    assert "warehouse" in said
    assert "dagster" in said


def test_a_whole_run_survives_what_desktops_and_containers_set(monkeypatch, tmp_path):
    """Proxies for elsewhere, and a certificate file that is gone, do not matter to a vendor on this machine."""
    with serve_userpilot(Userpilot()) as (api, _):
        env = {
            **os.environ,
            **vendor_variables(userpilot=api),
            "ALL_PROXY": "socks://127.0.0.1:7891/",
            "http_proxy": f"http://user:{PASSWORD}@127.0.0.1:9/",
            "NO_PROXY": "localhost,fd07:b51a:cc66:f0::/64",
            "SSL_CERT_FILE": "/nope.pem",
            "WAREHOUSE": str(tmp_path / "w.duckdb"),
            "SPOOL_DIR": str(tmp_path / "spool"),
        }
        command = [sys.executable, "-m", "connector.cli", "lookups", "flows"]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert PASSWORD not in done.stdout + done.stderr
