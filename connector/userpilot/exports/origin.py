"""What the landing is told about the files of an export."""

import msgspec

from connector.landing.days_from_files import Origin
from connector.privacy.apply import Protector
from connector.userpilot.exports.job import Job


def origin_of(job: Job, protector: Protector | None) -> Origin:
    """Which export its files come from, for which days, and what their rows may hold."""
    request = job.request
    return Origin(
        first=request.first,
        last=request.last,
        job_id=job.job_id,
        fingerprint=request.options.fingerprint,
        options=msgspec.json.encode(request.options).decode(),
        requested_at=job.started,
        # A request without event types takes all that come; of one with types any other is an error.
        expected={"event_type": request.options.types} if request.options.event_type else {},
        one_source=("app_token",),
        hashed_with=protector.hashed_with if protector else "",
        rules=protector.fingerprint if protector else "",
    )
