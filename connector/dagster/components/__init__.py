"""The same definitions for people who write YAML: `dg scaffold defs connector.dagster.components.OpenPanelComponent`.

A component is the arguments of a builder and nothing more. Credentials are given by the names of their variables, and
read when a run needs them: a value written into YAML would be shown by the UI.
"""

from connector.dagster.components.models import ConnectorModelsComponent
from connector.dagster.components.openpanel import OpenPanelComponent
from connector.dagster.components.upkeep import UpkeepComponent
from connector.dagster.components.userpilot import UserpilotComponent

__all__ = ["ConnectorModelsComponent", "OpenPanelComponent", "UpkeepComponent", "UserpilotComponent"]
