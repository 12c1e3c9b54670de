"""Settings for the behaviour on which the vendor's pages are silent or contradictory, or that was never observed.

There are two consistent sets, called worlds: ``documented`` follows the vendor's page literally, ``odd`` takes the
stricter or stranger reading everywhere. Every setting can also be changed alone.
"""

from dataclasses import dataclass
from datetime import UTC, timedelta, timezone, tzinfo
from typing import Literal

Span = Literal["day", "week", "month"]
Body = Literal["gzip", "members", "plain", "encoded"]


@dataclass(frozen=True, kw_only=True)
class World:
    """All settings of one reading; the defaults are the documented ones.

    Attributes:
        slash: POST with and without the trailing slash: ``either`` spelling works, it is ``required`` (without it
            there is no such route), or with it the answer is this status (301, 308 or 404).
        formats: values of ``format``; the first one is the default.
        exclusions_as_text: ``"true"`` is accepted as well as ``true``.
        invalid_status: the status that refuses a body (undocumented: 400 or 422).
        plan_status: the status for a key whose plan lacks the feature.
        created_status: the status of a created job.
        links_work: ``links`` of a created job is the path to it.
        app_field: the name of the environment's token in a created job.
        zone: the timezone of ``from`` and ``to``.
        to_included: the last day is part of the export.
        hidden_looks: how often a new job is neither listed nor found at first (a lagging replica).
        first_words: status words before ``in_progress``.
        newest_first: the order of the list.
        seconds_as_text: ``elapsed_time_seconds`` is a string.
        listed_type: the list contains the type of a job.
        urls_before: ``presigned_urls`` of a running job at each look; the last value stays.
        fresh_urls: URLs are signed again at every look; otherwise once, when the job ends.
        chunk_span: what one label of ``all_chunks`` covers.
        file_span: what one file covers, and is named after.
        file_rows: a longer file is cut into parts.
        empty_span: a span without rows makes no file, or a gzip of ``nothing``.
        empty_range: how a job without any rows ends.
        bleed: rows this close to a border of a file are in the next file, or in both.
        oldest_first: the order of the rows in a file.
        bodies: how files are packed, one file after the other: ``gzip``; gzip of several ``members``; ``plain`` text
            with the same name; gzip declared as a content ``encoded``, which HTTP libraries undo by themselves.
        etags: files have an ETag, and ``Range`` works.
        named_in_path: the files' path contains an escape that a client must not change.
        spaced_time: ``inserted_at`` as ``2024-07-28 08:55:35.874555``.
        metadata_as_text: ``metadata`` as a JSON text, and as ``[]`` when empty.
        event_ids: ``internal_event_id`` is absent, a ``string`` or a ``number``.
        nulls: a column without a value is null; otherwise "" or 0.
        sessions: rows have a ``session``.
        extra_columns: rows have undocumented columns.
        paged: lookups that answer with pages; the others answer with a bare array.
        limit_heeded: ``limit`` sets the size of a page; otherwise it is ignored.
        cap_told: pages contain ``total_count_cap_exceeded``.
        text_ids: the lookups whose ids are strings.
        embeds: the twelfth lookup exists.
        tasks: checklists have tasks; otherwise they have the shape of features.
    """

    slash: Literal["either", "required", 301, 308, 404] = "either"
    formats: tuple[str, ...] = ("json", "csv")
    exclusions_as_text: bool = False
    invalid_status: Literal[400, 422] = 400
    plan_status: Literal[401, 403] = 403
    created_status: int = 201
    links_work: bool = True
    app_field: str = "environment_app_token"
    zone: tzinfo = UTC
    to_included: bool = True

    hidden_looks: int = 0
    first_words: tuple[str, ...] = ()
    newest_first: bool = True
    seconds_as_text: bool = False
    listed_type: bool = False
    urls_before: tuple[Literal["absent", "null", "empty", "partial"], ...] = ("empty",)
    fresh_urls: bool = False
    chunk_span: Span = "month"
    file_span: Span = "week"
    file_rows: int | None = None
    empty_span: Literal["no_file", "nothing"] = "no_file"
    empty_range: Literal["no_files", "nothing", "failed"] = "no_files"
    bleed: timedelta = timedelta(0)
    oldest_first: bool = True
    bodies: tuple[Body, ...] = ("gzip",)
    etags: bool = True
    named_in_path: bool = False

    spaced_time: bool = False
    metadata_as_text: bool = False
    event_ids: Literal["absent", "string", "number"] = "absent"
    nulls: bool = False
    sessions: bool = True
    extra_columns: bool = False

    paged: frozenset[str] = frozenset({"events_properties", "segments"})
    limit_heeded: bool = True
    cap_told: bool = True
    text_ids: frozenset[str] = frozenset({"events_properties"})
    embeds: bool = False
    tasks: bool = True


DOCUMENTED = World()
ODD = World(
    slash=308,
    formats=("ndjson", "csv"),
    exclusions_as_text=True,
    invalid_status=422,
    plan_status=401,
    created_status=200,
    links_work=False,
    app_field="app_token",
    zone=timezone(timedelta(hours=3)),
    first_words=("queued", "processing"),
    newest_first=False,
    seconds_as_text=True,
    listed_type=True,
    urls_before=("null", "partial"),
    fresh_urls=True,
    chunk_span="week",
    file_span="day",
    empty_span="nothing",
    bleed=timedelta(minutes=5),
    oldest_first=False,
    bodies=("members", "plain", "encoded", "gzip"),
    etags=False,
    named_in_path=True,
    spaced_time=True,
    metadata_as_text=True,
    event_ids="string",
    nulls=True,
    sessions=False,
    extra_columns=True,
    paged=frozenset({"events_properties", "features_events"}),
    limit_heeded=False,
    cap_told=False,
    text_ids=frozenset(),
    embeds=True,
    tasks=False,
)
WORLDS = {"documented": DOCUMENTED, "odd": ODD}
