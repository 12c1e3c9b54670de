"""Export jobs: one at a time, their progress, their entries in list and detail, and when they are forgotten.

A job exports the events that were stored when it started, and it cannot be cancelled. Its files are on the file host.
"""

import uuid
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from random import Random
from typing import Any, Literal

from connector.sandbox.userpilot.export_files import export_files, labels, reach
from connector.sandbox.userpilot.export_request import ExportRequest, matching
from connector.sandbox.userpilot.file_host import FileHost
from connector.sandbox.userpilot.state import State
from connector.sandbox.userpilot.store import Event

RUNNING = "in_progress"


@dataclass(kw_only=True)
class Job:
    """One job. It ends after it was shown ``needs`` times or, if ``seconds`` is given, after that time.

    Attributes:
        ends: the status it will end with.
        looks: how often it was shown so far.
        hidden_looks: how often it will still be hidden.
        ended: when it ended.
        paths: paths on the file host by file name.
    """

    id: str
    asked: ExportRequest
    events: list[Event]
    started: float
    needs: int
    seconds: float | None = None
    ends: Literal["completed", "failed"] = "completed"
    type: str = "export"
    listed: bool = True
    foreign: bool = False
    looks: int = 0
    hidden_looks: int = 0
    ended: float | None = None
    paths: dict[str, str] = field(default_factory=dict)

    def share(self, now: float) -> float:
        """The share that is done, 0 to 1."""
        if self.ended is not None:
            return 1.0
        if self.seconds is not None:
            return min(1.0, max(0.0, now - self.started) / self.seconds) if self.seconds else 1.0
        return min(1.0, self.looks / self.needs) if self.needs else 1.0

    def settle(self, now: float) -> bool:
        """Whether the job has ended; the time of the end is noted at the first call."""
        if self.ended is None and self.share(now) >= 1:
            self.ended = now if self.seconds is None else self.started + self.seconds
        return self.ended is not None


class Jobs:
    """The jobs of one environment."""

    def __init__(self, state: State, files: FileHost) -> None:
        self.state, self.world = state, state.world
        self.all: list[Job] = []
        self._files, self._clock = files, state.clock
        self._random = Random(state.seed)

    def start(self, asked: ExportRequest, **how: Any) -> Job:
        """Start a job over the events stored by now, even if the slot is taken; ``how`` sets fields of `Job`."""
        started = how.setdefault("started", self._clock())
        how.setdefault("seconds", self.state.seconds_to_complete)
        how.setdefault("needs", self.state.polls_to_complete)
        first, end = reach(asked.first, asked.last, self.world)
        excluded = (self.state.excluded_users, self.state.excluded_companies)
        found = self.state.stored.between(first, end, int(started * 1_000_000))
        events = matching(found, asked, self.state.segments, excluded)
        if not how.get("foreign") and self.state.failing:
            self.state.failing -= 1
            how["ends"] = "failed"
        if not events and self.world.empty_range == "failed":
            how["ends"] = "failed"
        job_id = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        job = Job(id=job_id, asked=asked, events=events, hidden_looks=self.world.hidden_looks, **how)
        self.all.append(job)
        return job

    def holder(self) -> Job | None:
        """The job that holds the slot now."""
        now = self._clock()
        for job in self.all:
            if job.type == "export" and job.started <= now < job.started + self.state.job_life and not job.settle(now):
                return job
        return None

    def find(self, job_id: str) -> Job | None:
        """A job that is still known; None after it was forgotten."""
        return next((job for job in self._known() if job.id == job_id), None)

    def lose(self, job_id: str) -> None:
        """Forget a job at once; its slot is free."""
        self.all = [job for job in self.all if job.id != job_id]

    def listed(self) -> list[dict[str, Any]]:
        """The answer of the list."""
        found = [self._item(job) for job in self._known() if self._looked_at(job)]
        return found[::-1] if self.world.newest_first else found

    def shown(self, job_id: str) -> dict[str, Any] | None:
        """The answer of the detail; None where there is no such job."""
        job = self.find(job_id)
        return self._detail(job) if job is not None and self._looked_at(job) else None

    def created(self, job: Job) -> dict[str, Any]:
        """The answer to the request that started the job."""
        path = f"/api/v1/analytics/exports/jobs/{job.id}"
        return {
            self.world.app_field: self.state.app_token,
            "environment_name": "production",
            "job_id": job.id,
            "links": path if self.world.links_work else path.removeprefix("/api/v1"),
            "start_time": _stamp(job.started).removesuffix("Z"),
        }

    def _known(self) -> list[Job]:
        now = self._clock()
        known = [job for job in self.all if job.listed and job.started <= now < job.started + self.state.job_life]
        return sorted(known, key=lambda job: job.started)

    def _looked_at(self, job: Job) -> bool:
        """Count one look at a job, which advances it; False while the job is hidden."""
        if job.hidden_looks > 0:
            job.hidden_looks -= 1
            return False
        job.looks += 1
        job.settle(self._clock())
        return True

    def _status(self, job: Job) -> str:
        if job.ended is not None:
            return job.ends
        words = self.world.first_words
        by_clock = int(job.share(self._clock()) * (len(words) + 1))
        step = job.looks - 1 if job.seconds is None else by_clock
        return words[step] if 0 <= step < len(words) else RUNNING

    def _chunks(self, job: Job) -> tuple[list[date], int]:
        """All labels, and how many of them are done; a failed job never finishes the last one."""
        found = labels(job.asked.first, job.asked.last, self.world.chunk_span)
        done = int(len(found) * job.share(self._clock()))
        return found, min(done, len(found) - 1) if job.ends == "failed" else done

    def _item(self, job: Job) -> dict[str, Any]:
        chunks, done = self._chunks(job)
        seconds = int((job.ended or self._clock()) - job.started)
        item = {
            "elapsed_time": f"{seconds} seconds",
            "elapsed_time_seconds": str(seconds) if self.world.seconds_as_text else seconds,
            "end_time": None if job.ended is None else _stamp(job.ended),
            "job_id": job.id,
            "progress": f"{done} out of {len(chunks)} partitions",
            "start_time": _stamp(job.started).removesuffix("Z"),
            "status": self._status(job),
        }
        return item | ({"type": job.type} if self.world.listed_type else {})

    def _detail(self, job: Job) -> dict[str, Any]:
        chunks, done = self._chunks(job)
        behind = len(chunks) * 2 // 5 if job.ended else min(done, len(chunks) * 2 // 5)  # it lags behind
        detail = {
            "app_token": self.state.app_token,
            "completed_chunks": [day.isoformat() for day in chunks[:done]],
            "current_chunk": chunks[min(done, len(chunks) - 1)].isoformat(),
            "end_time": None if job.ended is None else _stamp(job.ended),
            "job_id": job.id,
            "presigned_urls": self._urls(job, done / len(chunks)),
            "progress": f"{behind} out of {len(chunks)} partitions",
            "start_time": _stamp(job.started),
            "status": self._status(job),
            "all_chunks": [day.isoformat() for day in chunks],
            "type": job.type,
        }
        if detail["presigned_urls"] == "absent":
            del detail["presigned_urls"]
        return detail

    def _urls(self, job: Job, share: float) -> list[dict[str, str]] | Literal["absent"] | None:
        """Names and URLs of the files: what this world shows before the end, and a part of them after a failure."""
        world = self.world
        if job.ended is None:
            match world.urls_before[min(job.looks - 1, len(world.urls_before) - 1)]:
                case "absent":
                    return "absent"
                case "null":
                    return None
                case "empty":
                    return []
        if not job.paths:
            self._store(job)
        shown = int(len(job.paths) * share)
        if job.ended is not None:
            shown = len(job.paths) if job.ends == "completed" else (len(job.paths) + 1) // 2
        names = list(job.paths)[:shown]
        if world.fresh_urls:
            return [{"filename": name, "url": self._files.sign(job.paths[name])} for name in names]
        at = job.started if job.ended is None else job.ended
        return [{"filename": name, "url": self._files.sign(job.paths[name], at=at)} for name in names]

    def _store(self, job: Job) -> None:
        """Put the files of a job on the file host."""
        asked = job.asked
        for file in export_files(job.events, asked.first, asked.last, asked.format, self.world, self.state.app_token):
            folder = f"/exports/{self.state.app_token}/{'job%3D' if self.world.named_in_path else ''}{job.id}"
            job.paths[file.filename] = path = f"{folder}/{file.filename}"
            self._files.store(path, file)


def _stamp(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
