"""Userpilot's variables in the environment."""

from dataclasses import dataclass

from connector.privacy.policy import Privacy
from connector.settings import Environment, Secret, environment

API_URL = "https://appex.userpilot.io"


@dataclass(frozen=True, kw_only=True)
class UserpilotSettings:
    """How to reach one environment.

    Attributes:
        api_url: base URL of the export API; an account with its own host finds it in the web app.
        api_key: the key of one environment; production and staging have different keys, and one export slot each.
        privacy: rules for what is dropped or hashed before it reaches the warehouse; None for no rules.
    """

    api_url: str
    api_key: Secret
    privacy: Privacy | None = None

    @classmethod
    def load(cls, env: Environment | None = None) -> "UserpilotSettings":
        env = env or environment()
        return cls(
            api_url=env.url("USERPILOT_API_URL", API_URL),
            api_key=env.secret("USERPILOT_API_KEY"),
            privacy=Privacy.from_environment(env),
        )
