"""`python -m tests.mutants`: plants one fault at a time in a copy of the code and expects the tests to notice.

Each entry is a mistake that somebody could make, or that this kind of connector is known for. A mutant that survives
is printed and fails the run: either a test is missing, or the line is not needed. Not part of `make test`: it runs
parts of the suite once per entry; `make mutants` does.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Mutant:
    """``old`` stands exactly once in ``file``; with ``new`` in its place one of ``tests`` must fail."""

    name: str
    file: str
    old: str
    new: str
    tests: str


PERIODS, REPORTS = "connector/openpanel/reports/chart_days.py", "connector/openpanel/reports/read.py"
REPORT_TESTS = "tests/openpanel/reports/test_read.py"
CHARTED, CHARTED_TESTS = "connector/openpanel/reports/chart_answer.py", "tests/openpanel/reports/test_chart_answer.py"
CLIENT, STREAMS = "connector/openpanel/events.py", "connector/catalogue/openpanel.py"
EXPORT = "connector/userpilot/exports/machine.py"
MUTANTS = (
    Mutant("exclusive end date", STREAMS, "window=Window(start=\"start\", end=\"end\", end_inclusive=True)", "window=Window(start=\"start\", end=\"end\", end_inclusive=False)", "tests/openpanel tests/test_sync.py"),
    Mutant("start alone", CLIENT, "            (window.end, end.isoformat()),\n", "", "tests/openpanel"),
    Mutant("ignored moving total", CLIENT, "if meta.total != self.total:", "if False:", "tests/openpanel"),
    Mutant("no last look at the total", CLIENT, "if proof.edge_twins and (now", "if False and (now", "tests/openpanel"),
    Mutant("a repeated id is fine", CLIENT, "(self._repeats and fingerprint != self._settled)", "False", "tests/openpanel"),
    Mutant("a short page is fine", CLIENT, "if len(rows.keys) != expected or", "if False or", "tests/openpanel"),
    Mutant("a delete that skips empty days", "connector/landing/day.py", "    if before:\n        work.db.execute(f\"delete {of_day}\")", "    if before and spool.manifest.rows:\n        work.db.execute(f\"delete {of_day}\")", "tests/landing/test_day.py"),
    Mutant("missing data read as no rows", CLIENT, "    data: msgspec.Raw\n", "    data: msgspec.Raw = msgspec.Raw(b\"[]\")\n", "tests/openpanel"),
    Mutant("missing total read as no rows", CLIENT, "    total: int\n", "    total: int = 0\n", "tests/openpanel"),
    Mutant("a retried 401", "connector/http/client.py", "RETRIED_STATUSES = {408,", "RETRIED_STATUSES = {401, 408,", "tests/http/test_client.py tests/openpanel"),
    Mutant("includes without properties", STREAMS, "    \"properties\",\n    \"region\"", "    \"region\"", "tests/openpanel tests/test_sync.py"),
    Mutant("includes without groups", STREAMS, "    \"groups\",  # always", "    # always", "tests/openpanel tests/test_sync.py"),
    Mutant("an undeclared field dropped", "connector/records/fit.py", "        if kept is None:\n            extra[name] = raw", "        if kept is None:\n            extra |= {name: raw} if column else {}", "tests/records/test_fit.py tests/test_sync.py"),
    Mutant("undeclared fields not looked for", "connector/records/fit.py", "forbid_unknown_fields=True", "forbid_unknown_fields=False", "tests/records/test_fit.py"),
    Mutant("a value that does not fit dropped", "connector/records/fit.py", "        if kept is None:\n            extra[name] = raw", "        if kept is None:\n            extra |= {} if column else {name: raw}", "tests/records/test_fit.py"),
    Mutant("credentials sent across hosts", "connector/http/client.py", "if (target.scheme, target.host, target.port) != (here.scheme, here.host, here.port):", "if False:", "tests/http/test_client.py"),
    Mutant("rows of another day accepted", CLIENT, "if (found := _instant(time, where).date()) != day:", "if (found := _instant(time, where).date()) != found:", "tests/openpanel"),
    Mutant("numeric ids unquoted", "connector/openpanel/encoding.py", "return json.dumps(value) if rewritten else value", "return value", "tests/openpanel"),
    Mutant("clamped pages not noticed", CLIENT, "        return rows\n    raise IncompleteError(", "        return asked.limit\n    raise IncompleteError(", "tests/openpanel"),
    Mutant("no drop guard", "connector/landing/day.py", "    if not allow_drop:\n        guard_drop(", "    if False:\n        guard_drop(", "tests/landing/test_day.py"),
    Mutant("twins kept", "connector/landing/table.py", "    if distinct == rows:\n        return 0", "    if True:\n        return 0", "tests/landing/test_day.py"),
    Mutant("no count of what was read back", "connector/landing/day.py", "if inserted != spool.manifest.rows:", "if False:", "tests/landing/test_day.py"),
    Mutant("file sizes not verified", "connector/spool.py", "if size != part.bytes:", "if False:", "tests/landing/test_day.py"),
    Mutant("NUL countries kept", STREAMS, "field=\"country\", type=\"VARCHAR\", absent=NO_COUNTRY, ", "field=\"country\", type=\"VARCHAR\", ", "tests/landing/test_day.py"),
    Mutant("spool left behind", "connector/spool.py", "        stack.callback(shutil.rmtree, folder, ignore_errors=True)\n", "", "tests/test_sync.py"),
    Mutant("dead spools never swept", "connector/spool.py", "            sweep(spool_dir)\n", "", "tests/test_killed.py"),
    Mutant("newer rows not proven", "connector/landing/day.py", "if onto.received + new != announced:", "if False:", "tests/test_sync.py"),
    Mutant("a day is walked once", "connector/sync.py", "                if pause is None:\n                    raise", "                raise", "tests/test_sync.py"),
    Mutant("the budget is private", "connector/http/budget.py", "hashlib.sha256(key.encode())", "hashlib.sha256(str(id(self)).encode())", "tests/http/test_budget.py"),
    Mutant("strangers' requests not counted", "connector/http/budget.py", "state.foreign = max(0, int(limit - remaining) - 1)", "state.foreign = 0", "tests/http/test_budget.py"),
    Mutant("any opener may go", "connector/http/budget.py", "if now >= state.opening_until:", "if True:", "tests/http/test_budget.py"),
    Mutant("no wait for the file's lock", "connector/warehouse/connection.py", "if late:", "if True:", "tests/test_many_runs.py"),
    Mutant("no process takes the first place in the queue", "connector/warehouse/connection.py", "                    place.take_first()\n", "", "tests/warehouse/test_queue.py"),
    Mutant("newcomers pass the queue", "connector/warehouse/queue.py", "or not self._is_taken()", "or True", "tests/warehouse/test_queue.py"),
    Mutant("a reader waits for itself", "connector/warehouse/connection.py", " or (read_only and self._path in _READS.paths)", "", "tests/warehouse/test_queue.py"),
    Mutant("the first in the queue is waited for without end", "connector/warehouse/queue.py", "time.monotonic() > self._yields_until", "False", "tests/warehouse/test_queue.py"),
    Mutant("transient failures end a range", "connector/dagster/openpanel/assets.py", "if isinstance(outcome, RejectedError):", "if True:", "tests/dagster"),
    Mutant("every failure is retried", "connector/dagster/failures.py", "allow_retries=retry and any(isinstance(one, TransientError) for one in errors)", "allow_retries=True", "tests/dagster"),
    Mutant("secrets print", "connector/settings.py", "return \"Secret('***')\"", "return self._value", "tests/test_settings.py"),
    Mutant("signed links shown", "connector/redaction.py", "_SIGNED_QUERY.sub(r\"\\1?[cut]\", text)", "text", "tests/http/test_client.py"),
    Mutant("control characters shown", "connector/redaction.py", "if not text.isprintable():", "if False:", "tests/test_secrets.py"),
    Mutant("the last page asked with the others", CLIENT, "for number in range(2, proof.pages))", "for number in range(2, proof.pages + 1))", "tests/openpanel/test_client.py"),
    Mutant("order not looked at", CLIENT, "if self._last_time and times[0] > self._last_time:", "if False:", "tests/openpanel/test_client.py tests/test_sync.py"),
    Mutant("a chart's last day left out", PERIODS, "start, end = _midnight(period[0], zone), _midnight(period[1] + _DAY, zone)", "start, end = _midnight(period[0], zone), _midnight(period[1], zone)", REPORT_TESTS),
    Mutant("the last second left out", PERIODS, "_midnight(period[1] + _DAY, zone)\n    if", "_midnight(period[1] + _DAY, zone) - _SECOND\n    if", REPORT_TESTS),
    Mutant("the repeated hour asked together", PERIODS, "back = before - offset", "back = timedelta()", REPORT_TESTS),
    Mutant("a week lands every day", PERIODS, "return (day - 6 * _DAY, day) if day.weekday() == 6 else None", "return (day - 6 * _DAY, day)", REPORT_TESTS),
    Mutant("absent series stay absent", REPORTS, "        if not chart.breakdowns:  # a series", "        if False:  # a series", REPORT_TESTS),
    Mutant("the phantom series kept", CHARTED, "        if _phantom(one, chart):", "        if False:", REPORT_TESTS),
    Mutant("shifted breakdowns believed", CHARTED, "    return {\"unplaced\": values}", "    return dict(zip(chart.breakdowns, values))", REPORT_TESTS),
    Mutant("a funnel's last day left out", REPORTS, "f\"{asked.day} 23:59:59\"", "f\"{asked.day}\"", REPORT_TESTS),
    Mutant("only the newer funnel route", REPORTS, "if refused.status != 404 or self._old_funnel is False:", "if True:", REPORT_TESTS),
    Mutant("the cursor never asked", REPORTS, "if len(rows) not in OLD_LIMITS or not fresh:", "if True:", REPORT_TESTS),
    Mutant("the cursor asked for ever", REPORTS, "if len(rows) not in OLD_LIMITS or not fresh:", "if len(rows) not in OLD_LIMITS or number > 40:", REPORT_TESTS),
    Mutant("a silent cut stays silent", REPORTS, "if len(rows) >= SILENT_CUT else", "if False else", REPORT_TESTS),
    Mutant("the project not proven", REPORTS, "            self._verify(meter)\n", "            pass\n", REPORT_TESTS),
    Mutant("a live sample replaces the day's", "connector/sync.py", "        if stream.days == \"none\":\n            return run.append()", "        if False:\n            return run.append()", REPORT_TESTS),
    Mutant("days of another timezone", "connector/dagster/runs.py", "zone = timezone if stream.days == \"local\" else \"UTC\"", "zone = \"UTC\"", "tests/dagster/test_definitions.py"),
    Mutant("Norway is false", "connector/openpanel/reports/config.py", "read_yaml(file, texts_only=True)", "read_yaml(file)", "tests/openpanel/reports/test_config.py"),
    Mutant("an empty filter value is sent", "connector/openpanel/reports/config.py", "if not one.value and one.operator not in _NO_VALUE:", "if False:", "tests/openpanel/reports/test_config.py"),
    Mutant("a counter is retried", "connector/openpanel/track/send.py", "at_most_once=not outbox.upserts", "at_most_once=False", "tests/openpanel/track/test_send.py"),
    Mutant("a counter's intent not written first", "connector/openpanel/track/send.py", "            journal.intend(message.keys, message.hashes)", "            pass", "tests/openpanel/track/test_send.py"),
    Mutant("unknown counters forgotten", "connector/openpanel/track/journal.py", "if one.status in (\"sent\", \"unknown\")", "if one.status == \"sent\"", "tests/openpanel/track/test_send.py"),
    Mutant("two increments of one profile", "connector/openpanel/track/plan.py", "        messages = _summed(outbox, messages)\n", "        pass\n", "tests/openpanel/track/test_send.py"),
    Mutant("every landed day requested", "connector/dagster/openpanel/drift.py", "in asked.counts.items() if count != landed[day]]", "in asked.counts.items()]", "tests/dagster/openpanel/test_drift.py"),
    Mutant("the sensor spends everything", "connector/dagster/openpanel/drift.py", "for day in days[: self.a_tick]:", "for day in days:", "tests/dagster/openpanel/test_drift.py"),
    Mutant("a conflict counts as an attempt", EXPORT, "posts=0, intent_at=None, conflict=True)", "posts=0, intent_at=None, conflict=True, attempts=job.attempts + 1)", "tests/userpilot/exports/test_machine.py"),
    Mutant("a job of another request is taken over", EXPORT, "if listed.ours.get(seen.job_id) == job.request.id and", "if seen.job_id in listed.ours and", "tests/userpilot/exports/test_machine.py"),
    Mutant("a lost answer is adopted", EXPORT, "return _slot_held(job, State.CANDIDATE, new[0].job_id, now)", "return _polling(job, new[0].job_id, now, now)", "tests/userpilot/exports/test_machine.py"),
    Mutant("files of two snapshots mixed", EXPORT, "if not first and job.has_all_files and job.files and not same:", "if False:", "tests/userpilot/exports/test_machine.py"),
    Mutant("an unknown status is an end", "connector/userpilot/exports/job.py", 'return self.type == "export" and self.status not in ("completed", "failed")', 'return self.type == "export" and self.status == "in_progress"', "tests/userpilot/exports/test_machine.py"),
    Mutant("the age of a job does not matter", EXPORT, "case State.POLLING if job.started and now - job.started >= JOB_LIVES:", "case State.POLLING if False:", "tests/userpilot/exports/test_machine.py"),
    Mutant("nothing is asked beyond the days", "connector/userpilot/exports/request.py", "(self.last + timedelta(days=2)).isoformat()", "self.last.isoformat()", "tests/userpilot"),
    Mutant("the intent is not written down", "connector/userpilot/exports/run.py", "        ledger.write(job)  # the intent, before the POST\n", "", "tests/userpilot/exports/test_killed.py"),
    Mutant("the id is not written down", "connector/userpilot/exports/run.py", "                        return self._remember(job)  # with its id, right after the POST\n", "                        return job\n", "tests/userpilot tests/dagster/userpilot/test_assets.py"),
    Mutant("an unanswered request is repeated", "connector/userpilot/client.py", "body=body, where=request.where, attempts=1", "body=body, where=request.where, attempts=3", "tests/userpilot"),
    Mutant("files are fetched with the key", "connector/http/download.py", 'headers={"accept-encoding": "identity",', 'headers={"accept-encoding": "identity", "authorization": "Token x",', "tests/userpilot"),
    Mutant("files are decoded on the way", "connector/http/download.py", "for piece in response.iter_raw():", "for piece in response.iter_bytes():", "tests/userpilot"),
    Mutant("a file that ends early is whole", "connector/records/files.py", "    with contextlib.suppress(*DAMAGED), unpacked(file, where) as stream:", "    if packed:\n        return\n    with contextlib.suppress(*DAMAGED), unpacked(file, where) as stream:", "tests/userpilot"),
    Mutant("rows of other days stay", "connector/landing/days_from_files.py", "and not ({origin.in_range})", "and false", "tests/userpilot"),
    Mutant("equal keys are duplicates", "connector/landing/days_from_files.py", 'columns = ", ".join([*(quoted(c.name) for c in self._stream.columns), "_extra"])', 'columns = ", ".join(self._stream.primary_key)', "tests/userpilot"),
    Mutant("times without a zone are local", "connector/warehouse/connection.py", "set TimeZone = 'UTC'", "set TimeZone = 'Europe/Berlin'", "tests/userpilot"),
    Mutant("strangers in files are dropped", "connector/records/fit.py", "        row, extra = _sorted_out(record, columns, spelt=True)", "        row, extra = _sorted_out(record, columns, spelt=True)[0], {}", "tests/userpilot"),
    Mutant("no drop guard for files", "connector/landing/days_from_files.py", "                guard_drop(self._stream.partition(day.day), day.replaced, day.landed)", "                pass", "tests/userpilot"),
    Mutant("other filters replace days", "connector/landing/days_from_files.py", "            self._same_filters()", "            pass", "tests/userpilot"),
    Mutant("what was not asked for lands", "connector/landing/days_from_files.py", "        self._nothing_else()\n", "", "tests/userpilot"),
    Mutant("vanished rows are current", "connector/landing/snapshot.py", "set _current = false where _current", "set _current = true where _current", "tests/userpilot/test_lookups.py"),
    Mutant("a repeated cursor is followed", "connector/userpilot/client.py", "if following in cursors or empty > 1:", "if empty > 1:", "tests/userpilot/test_lookups.py"),
    Mutant("siblings share an id", "connector/userpilot/lookups.py", "        if name in names:\n            name = f", "        if False:\n            name = f", "tests/userpilot/test_lookups.py"),
    Mutant("a cursor elsewhere is missed", "connector/userpilot/client.py", "next((str(place[\"after\"]) for place in places ", "next((str(place[\"after\"]) for place in places[:1] ", "tests/userpilot/test_lookups.py"),
    Mutant("a connection that ends ends a file", "connector/records/files.py", "and (end_told or _ends(file, start)):", "and True:", "tests/userpilot/exports/test_download.py"),
    Mutant("a damaged file is fetched once", "connector/userpilot/client.py", "                if not left:\n                    raise\n", "                raise\n", "tests/userpilot/exports/test_download.py"),
    Mutant("the order of members counts", "connector/landing/days_from_files.py", "None if text is None else canonical(text) for text in said", "text for text in said", "tests/userpilot/exports/test_run.py"),
    Mutant("a key is an id", "connector/userpilot/client.py", "if name in found and _content(found[name]) != _content(item):", "if False:", "tests/userpilot/test_lookups.py"),
    Mutant("a used run key is used again", "connector/dagster/userpilot/export_sensor.py", 'run_key = f"land:{self._owner}:{job_id}:{entry.runs}"', 'run_key = f"land:{self._owner}:{job_id}"', "tests/dagster/userpilot/test_assets.py"),
    Mutant("failed landings are forgotten", "connector/dagster/userpilot/export_sensor.py", "        if DagsterRunStatus.SUCCESS in states:", "        if states:", "tests/dagster/userpilot/test_assets.py"),
    Mutant("another hash key is fine", "connector/landing/receipts.py", "elif known[0] != fingerprint:", "elif False:", "tests/privacy/test_policy.py"),
    Mutant("a lock without a name protects", "connector/system/files.py", "held = os.fstat(handle).st_nlink > 0", "held = True", "tests/system/test_files.py"),
    Mutant("a text is a made-up profile", "connector/landing/table.py", "json_type({name}) = 'OBJECT' and ", "", "tests/landing/test_day.py"),
    Mutant("quick calls get threads", "connector/system/prefetch.py", "            if spare < 0:\n", "            if True:\n", "tests/system/test_prefetch.py"),
    Mutant("a spool has its name before its lock", "connector/spool.py", "new = folder.with_suffix(_NEW)", "new = folder", "tests/system/test_files.py"),
    Mutant("a schema's name in other letters", "connector/warehouse/connection.py", "self.catalog.lower() ==", "self.catalog ==", "tests/warehouse/test_connection.py"),
    Mutant("a schema's name noticed after asking", "connector/sync.py", "    warehouse.must_not_be_named(stream.schema)\n", "", "tests/test_sync.py"),
    Mutant("a slow server keeps two threads", "connector/system/prefetch.py", "wanted = min(2 * wanted, at_once)", "wanted = min(2, at_once)", "tests/system/test_prefetch.py"),
    Mutant("quick calls make up for slow ones for ever", "connector/system/prefetch.py", "QUICK_CALLS * QUICK_SECONDS)", "QUICK_CALLS)", "tests/system/test_prefetch.py"),
    Mutant("a step up in an address", "connector/openpanel/encoding.py", "if value in (\".\", \"..\"):", "if False:", "tests/test_fuzz.py"),
    Mutant("receipts are looked for by key", "connector/dagster/runs.py", "return asset.node_def.tags.get(TABLE_TAG) or ", "return ", "tests/dagster"),
    Mutant("a day that dropped keeps the others from landing", "connector/dagster/openpanel/assets.py", "if isinstance(outcome, RejectedError):", "if not outcome.is_transient:", "tests/dagster/openpanel/test_assets.py"),
    Mutant("a request forgets what landed since", "connector/dagster/dbt.py", "newly_requested() & ~landed)", "newly_requested())", "tests/dagster/test_dbt.py"),
    Mutant("the first list of files is the last", "connector/userpilot/exports/job.py", "AGREED, AGREED_ON_NOTHING, MOST_LOOKS = 2, 5, 12", "AGREED, AGREED_ON_NOTHING, MOST_LOOKS = 1, 1, 12", "tests/userpilot"),
    Mutant("halves are not found again", "connector/userpilot/exports/run.py", "if half := next(iter(self.open_halves(request)), None):", "if half := None:", "tests/userpilot/exports/test_run.py"),
    Mutant("exports without an answer cost nothing", EXPORT, "lost=job.lost + 1, known=", "lost=job.lost, known=", "tests/userpilot"),
    Mutant("any environment's rows land", "connector/landing/days_from_files.py", "            if known and strange:", "            if False:", "tests/userpilot/exports/test_run.py"),
    Mutant("a file without a link is left out", "connector/userpilot/client.py", "            linkless = True\n", "", "tests/userpilot"),
    Mutant("twins of one moment are excused", CLIENT, "        if self._astray or (self._repeats", "        if (self._repeats", "tests/openpanel"),
    Mutant("nothing is looked for behind a full page", CLIENT, "if not proof.is_full or proof.pages > SHORT_WALK:", "if True:", "tests/openpanel"),
    Mutant("ignored includes land as NULL", CLIENT, "if came == {\"sessionId\"}:", "if False:", "tests/openpanel"),
    Mutant("an old server takes quotes for a name", CLIENT, "if self._rewrites is None and _differs(", "if False and _differs(", "tests/openpanel"),
    Mutant("changed rules are not noticed in a growing day", "connector/landing/day.py", "if now.rules != spool.manifest.rules:", "if False:", "tests/privacy/test_policy.py"),
    Mutant("the warehouse is made in place", "connector/warehouse/connection.py", "            self._create()\n", "            pass\n", "tests/warehouse/test_connection.py"),
    Mutant("TLS by the first letters", "connector/http/client.py", "verify=not _is_plain(base_url)", "verify=base_url.startswith(\"https:\")", "tests/http/test_client.py"),
    Mutant("a base URL keeps its capitals", "connector/settings.py", "parts._replace(netloc=parts.netloc.lower()).geturl()", "value", "tests/test_settings.py"),
    Mutant("a counter may stand still", "connector/openpanel/track/plan.py", "if value > 0 else", "if value >= 0 else", "tests/openpanel/track/test_send.py"),
    Mutant("NaN is sent", "connector/openpanel/track/plan.py", "allow_nan=False).encode()", "allow_nan=True).encode()", "tests/openpanel/track/test_send.py"),
    Mutant("a lost answer never left", "connector/http/client.py", "unsent=isinstance(fault, _NEVER_SENT)", "unsent=True", "tests/openpanel/track/test_send.py"),
    Mutant("what never left may have arrived", "connector/http/client.py", "unsent=isinstance(fault, _NEVER_SENT)", "unsent=False", "tests/openpanel/track/test_send.py"),
    Mutant("a refusal by the rate limit may have arrived", "connector/http/client.py", "unsent=answer.status == 429", "unsent=False", "tests/openpanel/track/test_send.py"),
    Mutant("a header that cannot be sent", "connector/http/client.py", "if not (value.isascii() and value.isprintable() and value == value.strip()):", "if False:", "tests/test_secrets.py -k header"),
    Mutant("secrets known in one spelling", "connector/redaction.py", "if escaped or len(secret)", "if len(secret)", "tests/test_secrets.py -k spelt"),
    Mutant("short secrets cut words in two", "connector/redaction.py", "pattern if len(secret) >= _CUT_INSIDE_WORDS else", "pattern if True else", "tests/test_secrets.py -k short"),
    Mutant("a header may hold a run for an hour", "connector/http/budget.py", "if wait > PATIENCE + MARGIN:", "if False:", "tests/http/test_budget.py -k window"),
    Mutant("what a bot sent is stored", "connector/openpanel/track/send.py", "        if bot := _taken_for(answer):", "        if bot := \"\":", "tests/openpanel/track/test_send.py -k bot"),
    Mutant("the last answer announces for all", REPORTS, "announced += len(rows.keys)", "announced = len(rows.keys)", REPORT_TESTS + " -k announces"),
    Mutant("an older funnel's words are dropped", REPORTS, "{\"event\": more} if more else {}", "{}", REPORT_TESTS + " -k older"),
    Mutant("a chart's labels are local time only", CHARTED, "if (at := _instant(label)) in buckets.instants", "if not (at := _instant(label))", CHARTED_TESTS),
    Mutant("labels that fit both ways are local", CHARTED, "    return fits[:1] if same else fits", "    return fits[:1]", CHARTED_TESTS),
    Mutant("a label that fits no bucket is a zero", CHARTED, "    if not fits:\n", "    fits = fits or ways[:1]\n    if not fits:\n", CHARTED_TESTS),
    Mutant("series by the event's name first", CHARTED, "and (at in named or not named)", "and not named", CHARTED_TESTS),
    Mutant("the page's ids mean nothing", CHARTED, "|evt(?P<from1>", "|event(?P<from1>", CHARTED_TESTS),
    Mutant("series with the same breakdowns are one", CHARTED, "return line if number == 1 else", "return line if number else", CHARTED_TESTS),
    Mutant("the order of an answer makes its rows", CHARTED, "sorted(alike, key=lambda each: each[0])", "alike", CHARTED_TESTS),
    Mutant("a point without a count is a zero", CHARTED, " and \"count\" in point for point", " for point", CHARTED_TESTS),
    Mutant("missing days are not asked for", "connector/dagster/openpanel/schedules.py", "in to_ask(mine, runs, before=first)", "in ()", "tests/dagster/test_missing_days.py"),
    Mutant("a day that was open counts as landed", "connector/warehouse/coverage.py", "if at >= end_of(day, timezone)}", "}", "tests/dagster/test_missing_days.py"),
    Mutant("days that fail for ever come first", "connector/dagster/days.py", "(one.landed.failed.get(day, 0), day, cost", "(0, day, cost", "tests/dagster/test_missing_days.py"),
    Mutant("days that a run is about to land", "connector/dagster/days.py", "if day < before and day not in under_way", "if day < before", "tests/dagster/test_missing_days.py"),
    Mutant("runs that land elsewhere count", "connector/dagster/runs.py", "if run.tags.get(WAREHOUSE_TAG, here) == here]", "]", "tests/dagster/test_missing_days.py"),
    Mutant("days without a partition are requested", "connector/dagster/openpanel/drift.py", "days, outside = within(self.asset.partitions_def, landed)", "days, outside = sorted(landed), []", "tests/dagster/test_outside_days.py"),
    Mutant("a landing over all days of an export", "connector/dagster/userpilot/export_sensor.py", "**range_tags(days[0], days[-1]),", "**range_tags(entry.job.request.first, entry.job.request.last),", "tests/dagster/userpilot/test_assets.py"),
    Mutant("exports of another environment", "connector/dagster/userpilot/export_sensor.py", "if written.environment in (\"\", owner):", "if True:", "tests/dagster/userpilot/test_environments.py"),
    Mutant("exports that no line claims", "connector/dagster/userpilot/export_sensor.py", "entry.owner = self._owner if known else \"another\"", "entry.owner = self._owner", "tests/dagster/userpilot/test_environments.py"),
    Mutant("one export under two keys", "connector/dagster/userpilot/export_sensor.py", "if entry.job.job_id and key != entry.job.job_id:", "if False:", "tests/dagster/userpilot/test_environments.py"),
    Mutant("jobs with the code location's executor", "connector/dagster/runs.py", ", executor_def=dg.in_process_executor)", ")", "tests/dagster/test_other_definitions.py"),
)  # fmt: skip


def main(names: list[str]) -> int:
    """Run all mutants, or those whose name contains one of ``names``; returns 1 if any survives."""
    chosen = [mutant for mutant in MUTANTS if not names or any(name in mutant.name for name in names)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        survivors = list(pool.map(survived, chosen)).count(True)
    print(f"{len(chosen) - survivors} of {len(chosen)} planted faults were noticed")
    return 1 if survivors else 0


def survived(mutant: Mutant) -> bool:
    """Plant one fault and run its tests; prints what became of it."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".?*", "build", "dist", "results"))
        file = copy / mutant.file
        text = file.read_text()
        if text.count(mutant.old) != 1:
            print(
                f"{mutant.name}: the line to change stands {text.count(mutant.old)} times in {mutant.file}", flush=True
            )
            return True
        file.write_text(text.replace(mutant.old, mutant.new))
        pytest = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", "not slow"]

        def run(*tests: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run([*pytest, *tests], cwd=copy, capture_output=True, text=True, timeout=900)

        done = run(*mutant.tests.split())
        failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
        caught = done.returncode == 1 and bool(failed)
        if caught:  # a test that fails without the fault, too, notices nothing
            file.write_text(text)
            caught = run(failed[0].removeprefix("FAILED ").split(" - ")[0]).returncode == 0
    what = failed[0][:110] if failed else done.stdout[-200:] + done.stderr[-200:]
    print(f"{'caught  ' if caught else 'SURVIVED'} {mutant.name}: {what}", flush=True)
    return not caught


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
