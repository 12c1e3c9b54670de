"""OpenPanel's variables in the environment."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from connector.settings import Environment, Secret, environment

if TYPE_CHECKING:
    from connector.privacy.policy import Privacy

DEFAULTS = {"OPENPANEL_API_URL": "https://api.openpanel.dev", "OPENPANEL_TIMEZONE": "UTC"}


@dataclass(frozen=True, kw_only=True)
class OpenPanelSettings:
    """How to reach one project.

    Attributes:
        api_url: base URL; a self-hosted API is usually below a path, such as ``https://panel.example.com/api``.
        client_id, client_secret: a ``read`` or ``root`` client.
        project_id: one project.
        timezone: the organization's timezone, in which insights and charts count days. The API does not tell it.
        privacy: rules for what is dropped or hashed before it reaches a disk; None for no rules.
    """

    api_url: str
    client_id: str
    client_secret: Secret
    project_id: str
    timezone: str
    privacy: "Privacy | None" = None

    @classmethod
    def load(cls, env: Environment | None = None) -> "OpenPanelSettings":
        from connector.privacy.policy import Privacy

        env = env or environment()
        return cls(
            api_url=env.url("OPENPANEL_API_URL", DEFAULTS["OPENPANEL_API_URL"]),
            client_id=env.text("OPENPANEL_CLIENT_ID"),
            client_secret=env.secret("OPENPANEL_CLIENT_SECRET"),
            project_id=env.text("OPENPANEL_PROJECT_ID"),
            timezone=env.timezone("OPENPANEL_TIMEZONE", DEFAULTS["OPENPANEL_TIMEZONE"]),
            privacy=Privacy.from_environment(env),
        )
