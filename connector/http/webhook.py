"""Posts messages to a webhook. Its address is all that is needed to post there, so it is a secret.

Only the host is ever shown. What is worth a message is decided elsewhere.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from connector.errors import ConnectorError, RejectedError, SettingsError, TransientError
from connector.http.client import Call, Http
from connector.http.connection import Closing
from connector.settings import Environment, Secret, checked_url, environment

VARIABLE = "CONNECTOR_ALERT_WEBHOOK"


class Webhook(Closing):
    """One address that takes JSON objects by POST.

    Args:
        url: ``https://`` with path and query as the receiver gave it; plain HTTP on loopback only, or where allowed.
        insecure: accept plain HTTP to other hosts; as CONNECTOR_ALLOW_HTTP says if left out.

    Raises:
        SettingsError: it is no such address; the message does not repeat it.
    """

    def __init__(self, url: Secret | str, *, insecure: bool | None = None) -> None:
        address = (url.reveal() if isinstance(url, Secret) else url).strip()
        try:
            parts = urlsplit(address)
            place = f"{parts.scheme}://{parts.netloc}"
        except ValueError:
            place = ""
        self.origin = checked_url(VARIABLE, place, insecure=insecure)
        self.host = parts.hostname or ""
        self._rest = address[len(place) :]
        self._http = Http(self.origin, headers={}, timeout=10.0, deadline=20.0, connections=1)

    @classmethod
    def from_environment(cls, env: Environment | None = None) -> "Webhook | None":
        """The webhook named by CONNECTOR_ALERT_WEBHOOK; None without one."""
        env = env or environment()
        if not env.values.get("CONNECTOR_ALERT_WEBHOOK", "").strip():
            return None
        return cls(env.secret("CONNECTOR_ALERT_WEBHOOK"), insecure=env.allows_http)

    def __repr__(self) -> str:
        return f"Webhook({self.host!r})"

    def close(self) -> None:
        self._http.close()

    def post(self, message: Mapping[str, object]) -> None:
        """Send one message; up to three times, so it may arrive twice.

        Raises:
            TransientError: the receiver did not answer, or is overloaded.
            RejectedError: it refused.
            SettingsError: a proxy or certificates are wrong.
        """
        try:
            self._http.send(Call(method="POST", path=self._rest, body=dict(message), where="alert", attempts=3))
        except SettingsError:
            raise
        except RejectedError as refused:
            raise RejectedError(
                f"the webhook at {self.host} refused the message with {refused.status}{self._http.via}",
                where="alert",
                next_step=f"check {VARIABLE}: the address may have been withdrawn.",
                status=refused.status,
            ) from None
        except ConnectorError:  # its message would show the address
            raise TransientError(
                f"the webhook at {self.host} did not take the message{self._http.via}",
                where="alert",
                next_step=f"check that {self.host} can be reached from here, and {VARIABLE}.",
            ) from None
