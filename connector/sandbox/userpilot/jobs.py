"""Export jobs: one at a time, how they progress, what list and detail say about them, when they are forgotten.

A job sees the events that were there when it started. There is no way to cancel one. Bytes lie on the file host.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from random import Random
from typing import Any, Literal

from connector.sandbox.userpilot.behaviour import World
from connector.sandbox.userpilot.export_files import export_files, labels
from connector.sandbox.userpilot.export_request import ExportRequest
from connector.sandbox.userpilot.file_host import FileHost
from connector.sandbox.userpilot.store import Event

RUNNING = "in_progress"


@dataclass(kw_only=True)
class Job:
    """One job; ``ends`` is how it will end, ``looks`` how often it was shown, ``ended`` when it was over.

    It is over after ``needs`` looks, or after ``seconds`` of the clock if they are given.
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
        """How much is done, 0 to 1."""
        if self.ended is not None:
            return 1.0
        if self.seconds is not None:
            return min(1.0, max(0.0, now - self.started) / self.seconds) if self.seconds else 1.0
        return min(1.0, self.looks / self.needs) if self.needs else 1.0

    def settle(self, now: float) -> bool:
        """Notice that the job is over, if it is."""
        if self.ended is None and self.share(now) >= 1:
            self.ended = now if self.seconds is None else self.started + self.seconds
        return self.ended is not None


class Jobs:
    """The jobs of one environment."""

    def __init__(
        self, world: World, files: FileHost, chance: Random, clock: Callable[[], float], life: float, app_token: str
    ) -> None:
        self.world, self.life, self.app_token = world, life, app_token
        self.all: list[Job] = []
        self._files, self._random, self._clock = files, chance, clock

    def start(self, asked: ExportRequest, events: list[Event], **how: Any) -> Job:
        """Make a job, whether or not the slot is free."""
        how.setdefault("started", self._clock())
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
            if job.type == "export" and job.started <= now < job.started + self.life and not job.settle(now):
                return job
        return None

    def find(self, job_id: str) -> Job | None:
        """A job that may still be shown."""
        return next((job for job in self._known() if job.id == job_id), None)

    def lose(self, job_id: str) -> None:
        """Forget a job at once; its slot is free."""
        self.all = [job for job in self.all if job.id != job_id]

    def listed(self) -> list[dict[str, Any]]:
        """The answer of the list."""
        found = [self._item(job) for job in self._known() if self._looked_at(job)]
        return found[::-1] if self.world.newest_first else found

    def shown(self, job_id: str) -> dict[str, Any] | None:
        """The answer of the detail; None where the vendor knows no such job."""
        job = self.find(job_id)
        return self._detail(job) if job is not None and self._looked_at(job) else None

    def created(self, job: Job) -> dict[str, Any]:
        """The answer to the request that made it."""
        path = f"/api/v1/analytics/exports/jobs/{job.id}"
        return {
            self.world.app_field: self.app_token,
            "environment_name": "production",
            "job_id": job.id,
            "links": path if self.world.links_work else path.removeprefix("/api/v1"),
            "start_time": _stamp(job.started).removesuffix("Z"),
        }

    def _known(self) -> list[Job]:
        now = self._clock()
        known = [job for job in self.all if job.listed and job.started <= now < job.started + self.life]
        return sorted(known, key=lambda job: job.started)

    def _looked_at(self, job: Job) -> bool:
        """Count a look, which moves a job along; False while the job is not to be seen."""
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
        """All labels, and how many of them are done; a failed job never finishes its last one."""
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
        behind = len(chunks) * 2 // 5 if job.ended else min(done, len(chunks) * 2 // 5)  # it is not kept up to date
        detail = {
            "app_token": self.app_token,
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
        """Names and URLs; before the end what this world shows by then, after a failure a part of them."""
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
        """Put the files on their host, once."""
        asked = job.asked
        for file in export_files(job.events, asked.first, asked.last, asked.format, self.world, self.app_token):
            folder = f"/exports/{self.app_token}/{'job%3D' if self.world.named_in_path else ''}{job.id}"
            job.paths[file.filename] = path = f"{folder}/{file.filename}"
            self._files.store(path, file)


def _stamp(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
