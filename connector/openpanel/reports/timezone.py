"""Compares OPENPANEL_TIMEZONE with the organization's timezone, which no documented route tells.

A chart by the hour labels its points in the organization's local time. Asked for the instant of a known event, its one
label tells the local hour.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from connector.catalogue.reports import Series
from connector.errors import SettingsError
from connector.meter import Meter
from connector.openpanel.encoding import quoted
from connector.openpanel.reports.api import ReportApi, wrong_shape
from connector.redaction import excerpt

_VARIABLE = "OPENPANEL_TIMEZONE"
_WHERE = "openpanel timezone"
# Named first in the message: zones of cities that people choose, not the aliases of the database.
_REGIONS = ("Europe/", "America/", "Asia/", "Australia/", "Africa/", "Pacific/", "Atlantic/", "Indian/")


def verify_timezone(api: ReportApi, zone: ZoneInfo, at: datetime, meter: Meter | None = None) -> None:
    """Ask a chart for the hour of an event; one request.

    Args:
        at: the instant of an event that the project has.

    Raises:
        SettingsError: the organization's local hour is another one than in ``zone``; names zones that fit.
    """
    label = _label_of_hour(api, at, meter)
    if label is None or _hour(at.astimezone(zone)) == label:
        return
    fitting = [name for name in sorted(available_timezones()) if _hour(at.astimezone(ZoneInfo(name))) == label]
    shown = [name for region in _REGIONS for name in fitting if name.startswith(region)][:4]
    raise SettingsError(
        _VARIABLE,
        f"is {zone.key}, but the organization's clock shows {label:%Y-%m-%d %H}:00 in the hour of "
        f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
        next_step="set it to the timezone in the organization's settings"
        + (f"; these fit at that moment: {', '.join(shown)}." if shown else "."),
    )


def _label_of_hour(api: ReportApi, at: datetime, meter: Meter | None) -> datetime | None:
    """The label as local time; None if the answer has no event, or writes instants instead of local time."""
    start = at.astimezone(UTC).replace(microsecond=0)
    params = [
        ("projectId", quoted(api.project_id)),
        ("events", json.dumps([Series(event="*").asked()])),
        ("breakdowns", "[]"),
        ("interval", "hour"),
        ("previous", "false"),
        ("startDate", f"{start:%Y-%m-%dT%H:%M:%SZ}"),
        ("endDate", f"{start + timedelta(seconds=1):%Y-%m-%dT%H:%M:%SZ}"),
    ]
    match api.fetch("/export/charts", params, _WHERE, meter):
        case {"series": [*series]}:
            return _local_label(series, at)
        case other:
            raise wrong_shape("/export/charts", "{series: [...]}", other, _WHERE)


def _local_label(series: list[Any], at: datetime) -> datetime | None:
    points = [point for one in series if isinstance(one, dict) for point in one.get("data") or ()]
    labels = {str(point.get("date")) for point in points if isinstance(point, dict) and point.get("count")}
    if len(labels) != 1:  # no event, or an answer that begins a new hour within the second: tells nothing
        return None
    try:
        label = datetime.fromisoformat(excerpt(labels.pop(), 40))
    except ValueError:
        return None
    if label.tzinfo is not None and _hour(label.astimezone(UTC)) == _hour(at.astimezone(UTC)):
        return None  # instants: right in every timezone
    return _hour(label)


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0, tzinfo=None)
