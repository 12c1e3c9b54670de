"""`python -m tests.mutants`: plants one fault at a time in a copy of the code and expects the tests to notice.

Each entry is a mistake that is easy to make, or that this kind of connector is known for. A mutant that survives is
printed and fails the run: either a test is missing, or the code is not needed. Not part of `make test`: it runs parts of
the suite once per entry; `make mutants` does.

A fault is named by a piece of the syntax tree, not by a file and a line: moving, reformatting or commenting code leaves
it in place.
"""

import ast
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Mutant:
    """A change of one expression or statement; one of ``tests`` must fail with it.

    Attributes:
        within: the function, class or assigned name that holds the piece, such as ``DayProof.accept``.
        old: the piece, as Python. It stands once in there, or ``nth`` says which one of several is meant.
        new: what stands in its place; empty: it is removed from its list, call or block.
    """

    name: str
    within: str
    old: str
    new: str
    tests: str
    nth: int | None = None


MUTANTS = (
    Mutant("exclusive end date", "EVENTS", "Window(start='start', end='end', end_inclusive=True)", "Window(start='start', end='end', end_inclusive=False)", "tests/openpanel tests/test_sync.py"),
    Mutant("start alone", "EventPages._get", "(window.end, end.isoformat())", "", "tests/openpanel"),
    Mutant("ignored moving total", "DayProof.accept", "meta.total != self.total", "False", "tests/openpanel"),
    Mutant("no last look at the total", "EventPages._read", "proof.repeat_at_edge", "False", "tests/openpanel"),
    Mutant("a repeated id is fine", "DayProof.no_repeats", "self._repeats and fingerprint != self._settled", "False", "tests/openpanel"),
    Mutant("a short page is fine", "DayProof.accept", "len(rows.keys) != expected", "False", "tests/openpanel"),
    Mutant("a delete that skips empty days", "_replace", "if before:\n    work.db.execute(f'delete {of_day}')", "if before and spool.manifest.rows:\n    work.db.execute(f'delete {of_day}')", "tests/landing/test_day.py"),
    Mutant("missing data read as no rows", "_Envelope", "data: msgspec.Raw", "data: msgspec.Raw = msgspec.Raw(b'[]')", "tests/openpanel"),
    Mutant("missing total read as no rows", "_Meta", "total: int", "total: int = 0", "tests/openpanel"),
    Mutant("a retried 401", "PASSING_BELOW_500", "{408, 421, 425, 429}", "{401, 408, 421, 425, 429}", "tests/http/test_client.py tests/openpanel"),
    Mutant("includes without properties", "ON_REQUEST", "'properties'", "", "tests/openpanel tests/test_sync.py"),
    Mutant("includes without groups", "ON_REQUEST", "'groups'", "", "tests/openpanel tests/test_sync.py"),
    Mutant("an undeclared field dropped", "sorted_out", "extra[name] = raw", "extra |= {name: raw} if column else {}", "tests/records/test_fit.py tests/test_sync.py"),
    Mutant("undeclared fields not looked for", "_record_type", "msgspec.defstruct('Record', [*needed, *fields], rename=names | {'time': time}, forbid_unknown_fields=True, gc=False)", "msgspec.defstruct('Record', [*needed, *fields], rename=names | {'time': time}, forbid_unknown_fields=False, gc=False)", "tests/records/test_fit.py"),
    Mutant("a value that does not fit dropped", "sorted_out", "extra[name] = raw", "extra |= {} if column else {name: raw}", "tests/records/test_fit.py"),
    Mutant("credentials sent across hosts", "Http._same_origin", "(target.scheme, target.host, target.port) != (here.scheme, here.host, here.port)", "False", "tests/http/test_client.py"),
    Mutant("rows of another day accepted", "_same_day", "(found := instant(time, where).date()) != day", "(found := instant(time, where).date()) != found", "tests/openpanel"),
    Mutant("numeric ids unquoted", "quoted", "json.dumps(value) if rewritten else value", "value", "tests/openpanel"),
    Mutant("clamped pages not noticed", "_page_size", "return rows", "return asked.limit", "tests/openpanel"),
    Mutant("no drop guard", "_replace", "not allow_drop", "False", "tests/landing/test_day.py"),
    Mutant("twins kept", "drop_twins", "distinct == rows", "True", "tests/landing/test_day.py"),
    Mutant("no count of what was read back", "_replace", "inserted != spool.manifest.rows", "False", "tests/landing/test_day.py"),
    Mutant("file sizes not verified", "Spool.verify", "size != part.bytes", "False", "tests/landing/test_day.py"),
    Mutant("NUL countries kept", "EVENTS", "Column(field='country', type='VARCHAR', absent=NO_COUNTRY, description='ISO 3166 two-letter code; NULL if unknown.')", "Column(field='country', type='VARCHAR', description='ISO 3166 two-letter code; NULL if unknown.')", "tests/landing/test_day.py"),
    Mutant("spool left behind", "spooling", "stack.callback(shutil.rmtree, folder, ignore_errors=True)", "pass", "tests/test_sync.py"),
    Mutant("dead spools never swept", "spooling", "sweep(spool_dir)", "pass", "tests/test_killed.py"),
    Mutant("newer rows not proven", "_add_newer", "onto.received + new != announced", "False", "tests/test_sync.py"),
    Mutant("a day is walked once", "_DayRun.replace", "if pause is None:\n    raise", "raise", "tests/test_sync.py"),
    Mutant("machines share no lock", "_Rows.lock", "_one(self._connection, f'select pg_try_advisory_lock({_KEY})', self._name)", "True", "tests/state"),
    Mutant("a pool of connections is let in", "PostgresState._refuse_pools", "_one(connection, 'select pg_backend_pid()') != connection.info.backend_pid", "False", "tests/state -k pool"),
    Mutant("clocks of machines are taken as they are", "PostgresCell._locked", "_clock(connection) - time.time()", "0.0", "tests/state -k clocks"),
    Mutant("files of another machine are taken for ours", "Exports._remembered", "job.state == State.FETCHED and (not is_complete(self.folder / f'{job.job_id}.chunks'))", "False", "tests/state -k fetched"),
    Mutant("a worker that is silent is well", "WatchedCeleryRunLauncher._lost", "f'Celery worker {worker} does not answer.'", "''", "tests/dagster/test_celery.py"),
    Mutant("the budget is private", "SharedBudget.__init__", "key", "str(id(self))", "tests/http/test_budget.py"),
    Mutant("strangers' requests not counted", "SharedBudget.learn", "max(0, int(limit - remaining) - 1)", "0", "tests/http/test_budget.py"),
    Mutant("any opener may go", "SharedBudget.take", "now >= state.opening_until", "True", "tests/http/test_budget.py"),
    Mutant("no wait for the file's lock", "File._open", "if late:\n    raise self._busy(_holder(message), lock_wait, where) from None", "if True:\n    raise self._busy(_holder(message), lock_wait, where) from None", "tests/test_many_runs.py"),
    Mutant("no process takes the first place in the queue", "File._open", "place.take_first()", "pass", "tests/warehouse/test_queue.py"),
    Mutant("newcomers pass the queue", "QueuePlace.may_try", "not self._is_taken()", "True", "tests/warehouse/test_queue.py"),
    Mutant("a reader waits for itself", "File._open", "read_only and self._path in _READS.paths", "", "tests/warehouse/test_queue.py"),
    Mutant("the first in the queue is waited for without end", "QueuePlace.may_try", "time.monotonic() > self._yields_until", "False", "tests/warehouse/test_queue.py"),
    Mutant("transient failures end a range", "_land", "isinstance(outcome, RejectedError)", "True", "tests/dagster"),
    Mutant("every failure is retried", "failure", "retry and any((isinstance(one, TransientError) for one in errors))", "True", "tests/dagster"),
    Mutant("secrets print", "Secret.__repr__", "\"Secret('***')\"", "self._value", "tests/test_settings.py"),
    Mutant("signed links shown", "excerpt", "_SIGNED_QUERY.sub('\\\\1?[cut]', text)", "text", "tests/http/test_client.py"),
    Mutant("control characters shown", "excerpt", "not text.isprintable()", "False", "tests/test_secrets.py"),
    Mutant("the last page asked with the others", "EventPages._read", "range(2, proof.pages)", "range(2, proof.pages + 1)", "tests/openpanel/test_client.py"),
    Mutant("order not looked at", "DayProof._look_for_repeats", "self._last_time and times[0] > self._last_time", "False", "tests/openpanel/test_client.py tests/test_sync.py"),
    Mutant("a chart's last day left out", "chart_requests", "period[1] + _DAY", "period[1]", "tests/openpanel/reports/test_read.py"),
    Mutant("the last second left out", "chart_requests", "_midnight(period[1] + _DAY, zone)", "_midnight(period[1] + _DAY, zone) - _SECOND", "tests/openpanel/reports/test_read.py"),
    Mutant("the repeated hour asked together", "chart_requests", "before - offset", "timedelta()", "tests/openpanel/reports/test_read.py"),
    Mutant("a week lands every day", "period_of", "(day - 6 * _DAY, day) if day.weekday() == 6 else None", "(day - 6 * _DAY, day)", "tests/openpanel/reports/test_read.py"),
    Mutant("absent series stay absent", "Reports._points", "not chart.breakdowns", "False", "tests/openpanel/reports/test_read.py"),
    Mutant("the phantom series kept", "parse_series", "_is_made_up(one, chart)", "False", "tests/openpanel/reports/test_read.py"),
    Mutant("shifted breakdowns believed", "_breakdowns", "{'unplaced': values}", "dict(zip(chart.breakdowns, values))", "tests/openpanel/reports/test_read.py"),
    Mutant("a funnel's last day left out", "Funnels._new_funnel", "' 23:59:59'", "", "tests/openpanel/reports/test_read.py"),
    Mutant("only the newer funnel route", "Funnels.read", "refused.status != 404 or self._old_funnel is False", "True", "tests/openpanel/reports/test_read.py"),
    Mutant("the cursor never asked", "Reports._list_of", "len(rows) not in OLD_LIMITS or not fresh", "True", "tests/openpanel/reports/test_read.py"),
    Mutant("the cursor asked for ever", "Reports._list_of", "not fresh", "number > 40", "tests/openpanel/reports/test_read.py"),
    Mutant("a silent cut stays silent", "Reports._list_of", "len(rows) >= SILENT_CUT", "False", "tests/openpanel/reports/test_read.py"),
    Mutant("the project not proven", "Reports.verify", "self._newest_today(meter, where)", "None", "tests/openpanel/reports/test_read.py"),
    Mutant("a live sample replaces the day's", "sync_day", "stream.days == 'none'", "False", "tests/openpanel/reports/test_read.py"),
    Mutant("days of another timezone", "days_of", "timezone if stream.days == 'local' else 'UTC'", "'UTC'", "tests/dagster/test_definitions.py"),
    Mutant("Norway is false", "Questions.load", "read_yaml(file, texts_only=True)", "read_yaml(file)", "tests/openpanel/reports/test_config.py"),
    Mutant("an empty filter value is sent", "_check_filter", "not one.value and one.operator not in _NO_VALUE", "False", "tests/openpanel/reports/test_config.py"),
    Mutant("a counter is retried", "_Sending._posted", "not outbox.upserts", "False", "tests/openpanel/track/test_send.py"),
    Mutant("a counter's intent not written first", "_Sending._one", "journal.intend(message.keys, message.hashes, step)", "pass", "tests/openpanel/track/test_send.py"),
    Mutant("unknown counters forgotten", "remember", "one.status in ('sent', 'unknown')", "one.status == 'sent'", "tests/openpanel/track/test_send.py"),
    Mutant("two increments of one profile", "plan", "messages = _sum_per_property(outbox, messages)", "pass", "tests/openpanel/track/test_send.py"),
    Mutant("every landed day requested", "_Drift._result", "[day for day, count in asked.counts.items() if count != landed[day]]", "[day for day, count in asked.counts.items()]", "tests/dagster/openpanel/test_drift.py"),
    Mutant("the sensor spends everything", "_Drift._ask", "days[:self.a_tick]", "days", "tests/dagster/openpanel/test_drift.py"),
    Mutant("a change does not wait for the one before", "Turns.take", "ready_at(about)", "0.0", "tests/openpanel/track/test_order.py"),
    Mutant("what a killed run changed counts as stored", "Changes.__init__", "now if at is None else min(at - held.ahead, now)", "0.0 if at is None else min(at - held.ahead, now)", "tests/openpanel/track/test_order.py -k kill"),
    Mutant("a counter goes to any stored number", "_Sending._one", "(step := step_of(message, profile)) is None", "(step := step_of(message, profile)) == 0", "tests/openpanel/track/test_order.py -k fraction"),
    Mutant("a profile that differs is believed", "_Sending._look", "not missing", "True", "tests/openpanel/track/test_order.py -k else"),
    Mutant("revenue of any event is sent", "_event", "revenue and payload['name'] != 'revenue'", "False", "tests/openpanel/track/test_checks.py"),
    Mutant("a time in the future is sent", "_event", "AHEAD", "1000 * AHEAD", "tests/openpanel/track/test_checks.py"),
    Mutant("a fractional counter is sent", "miscounted", "value > 0 and (not float(value).is_integer())", "False", "tests/openpanel/track/test_checks.py"),
    Mutant("a conflict counts as an attempt", "after_report", "changed(job, state=State.IDLE, listed_at=None, posts=0, intent_at=None, conflict=True)", "changed(job, state=State.IDLE, listed_at=None, posts=0, intent_at=None, conflict=True, attempts=job.attempts + 1)", "tests/userpilot/exports/test_machine.py"),
    Mutant("a job of another request is taken over", "_after_list", "listed.ours.get(seen.job_id) == job.request.id", "seen.job_id in listed.ours", "tests/userpilot/exports/test_machine.py"),
    Mutant("a lost answer is adopted", "_after_list", "_slot_held(job, State.CANDIDATE, new[0].job_id, now)", "_polling(job, new[0].job_id, now, now)", "tests/userpilot/exports/test_machine.py"),
    Mutant("files of two snapshots mixed", "_after_look", "not first and job.has_all_files and job.files and (not same)", "False", "tests/userpilot/exports/test_machine.py"),
    Mutant("an unknown status is an end", "Seen.holds_the_slot", "self.status not in ('completed', 'failed')", "self.status == 'in_progress'", "tests/userpilot/exports/test_machine.py"),
    Mutant("the age of a job does not matter", "next_action", "job.started and now - job.started >= JOB_LIVES", "False", "tests/userpilot/exports/test_machine.py", nth=0),
    Mutant("nothing is asked beyond the days", "Request.body", "self.last + timedelta(days=2)", "self.last", "tests/userpilot"),
    Mutant("the intent is not written down", "Exports._submit", "ledger.write(job)", "pass", "tests/userpilot/exports/test_killed.py"),
    Mutant("the id is not written down", "Exports.ask", "self._remember(job)", "job", "tests/userpilot tests/dagster/userpilot/test_assets.py", nth=2),
    Mutant("an unanswered request is repeated", "Userpilot.trigger", "1", "3", "tests/userpilot"),
    Mutant("files are fetched with the key", "Files.__init__", "{'accept-encoding': 'identity'}", "{'accept-encoding': 'identity', 'authorization': 'Token x'}", "tests/userpilot"),
    Mutant("files are decoded on the way", "_Download._write", "response.iter_raw", "response.iter_bytes", "tests/userpilot"),
    Mutant("rows of other days stay", "_Range.replace", "f'delete from {self._table} where {self._mine} and not ({origin.in_range})'", "f'delete from {self._table} where {self._mine} and false'", "tests/userpilot"),
    Mutant("equal keys are duplicates", "drop_equal", "[*(quoted(c.name) for c in work.stream.columns), '_extra']", "work.stream.primary_key", "tests/userpilot"),
    Mutant("times without a zone are local", "File._connect", "\"set TimeZone = 'UTC'\"", "\"set TimeZone = 'Europe/Berlin'\"", "tests/userpilot"),
    Mutant("strangers in files are dropped", "lines_slowly", "sorted_out(record, columns, spelt=True)", "(sorted_out(record, columns, spelt=True)[0], {})", "tests/userpilot"),
    Mutant("the earlier value of a repeated key is lost", "members", "is_whole(found, raw)", "True", "tests/records/test_members.py"),
    Mutant("a repeated key escapes the rules", "_Node.decision", "unrepeated(name)", "name", "tests/privacy/test_repeated.py"),
    Mutant("a page with a repeated key loses a value to the rules", "Protector._page", "not is_whole(records, page.body)", "False", "tests/privacy/test_repeated.py"),
    Mutant("what DuckDB refuses is not read again", "land_files", "if how.slowly:\n    raise ContractError(error.what, where=error.where, next_step=error.next_step) from None", "if True:\n    raise ContractError(error.what, where=error.where, next_step=error.next_step) from None", "tests/landing/test_odd_files.py"),
    Mutant("a mark inside a file is a part of the value", "_csv_source", "f'(select * replace ({marked} as {first}) from {cells})'", "cells", "tests/landing/test_odd_files.py"),
    Mutant("rows at infinity are of other days", "_Range._leave_out_undated", "\"(_day is null or _day = 'infinity'::date or _day = '-infinity'::date)\"", "'(_day is null)'", "tests/landing/test_odd_files.py"),
    Mutant("a row with too few cells lands", "row_of", "len(cells) < len(names) or any(cells[len(names):])", "any(cells[len(names):])", "tests/privacy/test_repeated.py tests/landing/test_odd_files.py"),
    Mutant("no drop guard for files", "_Range.replace", "guard_drop(self._stream.partition(day.day), day.replaced, day.landed)", "pass", "tests/userpilot"),
    Mutant("other filters replace days", "_Range.replace", "self._same_filters()", "pass", "tests/userpilot"),
    Mutant("what was not asked for lands", "_Range.replace", "self._nothing_else()", "pass", "tests/userpilot"),
    Mutant("vanished rows are current", "_bring_up", "' set _current = false where _current'", "' set _current = true where _current'", "tests/userpilot/test_lookups.py"),
    Mutant("a repeated cursor is followed", "Userpilot._all_pages", "following in cursors or empty > 1", "empty > 1", "tests/userpilot/test_lookups.py"),
    Mutant("siblings share an id", "_unique_ids", "if name in names:\n    name = f'{sent[place]}#{place + 1}'", "if False:\n    name = f'{sent[place]}#{place + 1}'", "tests/userpilot/test_lookups.py"),
    Mutant("a cursor elsewhere is missed", "_parse_page", "(str(place['after']) for place in places if place.get('after'))", "(str(place['after']) for place in places[:1] if place.get('after'))", "tests/userpilot/test_lookups.py"),
    Mutant("a connection that ends ends a file", "prove_whole", "end_told or _ends(file, start)", "True", "tests/userpilot/exports/test_download.py"),
    Mutant("a damaged file is fetched once", "Userpilot.download", "if not left:\n    raise", "raise", "tests/userpilot/exports/test_download.py"),
    Mutant("the order of members counts", "_drop_alike", "None if text is None else canonical(text)", "text", "tests/userpilot/exports/test_run.py"),
    Mutant("a key is an id", "with_ids", "name in found and _content(found[name]) != _content(item)", "False", "tests/userpilot/test_lookups.py"),
    Mutant("a used run key is used again", "_Tick._request_landing", "f'land:{self._owner}:{job_id}:{entry.runs}'", "f'land:{self._owner}:{job_id}'", "tests/dagster/userpilot/test_assets.py"),
    Mutant("failed landings are forgotten", "_Tick._look_at_runs", "DagsterRunStatus.SUCCESS in states", "states", "tests/dagster/userpilot/test_assets.py"),
    Mutant("another hash key is fine", "one_hash_key", "known[0] != fingerprint", "False", "tests/privacy/test_policy.py"),
    Mutant("a lock without a name protects", "_try_lock", "os.fstat(handle).st_nlink > 0", "True", "tests/system/test_files.py"),
    Mutant("a text is a made-up profile", "_unless_stub", "f\"json_type({name}) = 'OBJECT' and {' and '.join(each)}\"", "f\"{' and '.join(each)}\"", "tests/landing/test_day.py"),
    Mutant("quick calls get threads", "ahead", "spare < 0", "True", "tests/system/test_prefetch.py"),
    Mutant("a spool has its name before its lock", "spooling", "folder.with_suffix(_NEW)", "folder", "tests/system/test_files.py"),
    Mutant("a schema's name in other letters", "Warehouse.must_not_be_named", "self.catalog.lower()", "self.catalog", "tests/warehouse/test_connection.py"),
    Mutant("a schema's name noticed after asking", "sync_day", "warehouse.must_not_be_named(stream.schema)", "pass", "tests/test_sync.py"),
    Mutant("a slow server keeps two threads", "ahead", "2 * wanted", "2", "tests/system/test_prefetch.py"),
    Mutant("quick calls make up for slow ones for ever", "ahead", "QUICK_CALLS * QUICK_SECONDS", "QUICK_CALLS", "tests/system/test_prefetch.py"),
    Mutant("a step up in an address", "segment", "value in ('.', '..')", "False", "tests/test_fuzz.py"),
    Mutant("receipts are looked for by key", "table_of", "asset.node_def.tags.get(TABLE_TAG) or '.'.join(asset.key.path)", "'.'.join(asset.key.path)", "tests/dagster"),
    Mutant("a day that dropped keeps the others from landing", "_land", "RejectedError", "ConnectorError", "tests/dagster/openpanel/test_assets.py"),
    Mutant("a request forgets what landed since", "after_any", "dg.AutomationCondition.newly_requested() & ~landed", "dg.AutomationCondition.newly_requested()", "tests/dagster/test_conditions.py"),
    Mutant("the first list of files is the last", "AGREED,AGREED_ON_NOTHING,MOST_LOOKS", "(2, 5, 12)", "(1, 1, 12)", "tests/userpilot"),
    Mutant("halves are not found again", "Exports.ask", "next(iter(self.open_halves(request)), None)", "None", "tests/userpilot/exports/test_run.py"),
    Mutant("exports without an answer cost nothing", "_after_list", "changed(job, lost=job.lost + 1, known=tuple(sorted({*job.known, *(seen.job_id for seen in new)})))", "changed(job, lost=job.lost, known=tuple(sorted({*job.known, *(seen.job_id for seen in new)})))", "tests/userpilot"),
    Mutant("any environment's rows land", "_Range._same_source", "known and strange", "False", "tests/userpilot/exports/test_run.py"),
    Mutant("a file without a link is left out", "_seen", "linkless = True", "pass", "tests/userpilot"),
    Mutant("twins of one moment are excused", "DayProof.no_repeats", "self._repeats_in_moment or (self._repeats and fingerprint != self._settled)", "self._repeats and fingerprint != self._settled", "tests/openpanel"),
    Mutant("nothing is looked for behind a full page", "EventPages._nothing_follows", "not proof.is_full or proof.pages > SHORT_DAY", "True", "tests/openpanel"),
    Mutant("ignored includes land as NULL", "_missing", "came == {'sessionId'}", "False", "tests/openpanel"),
    Mutant("an old server takes quotes for a name", "EventPages._ask", "self._rewrites is None and _differs(self._project_id, request.query.names)", "False and _differs(self._project_id, request.query.names)", "tests/openpanel"),
    Mutant("changed rules are not noticed in a growing day", "_add_newer", "now.rules != spool.manifest.rules", "False", "tests/privacy/test_policy.py"),
    Mutant("the warehouse is made in place", "File._connect", "self._create()", "pass", "tests/warehouse/test_connection.py"),
    Mutant("certificates are not verified", "Routes._make", "trusted or False", "False", "tests/http/test_client.py"),
    Mutant("a base URL keeps its capitals", "checked_url", "parts._replace(netloc=parts.netloc.lower()).geturl()", "value", "tests/test_settings.py"),
    Mutant("a counter may stand still", "miscounted", "'' if value > 0 else f'value is {value} and must be more than 0; leave such rows out of the query'", "'' if value >= 0 else f'value is {value} and must be more than 0; leave such rows out of the query'", "tests/openpanel/track/test_send.py"),
    Mutant("NaN is sent", "unsendable", "json.dumps(value, ensure_ascii=False, allow_nan=False)", "json.dumps(value, ensure_ascii=False, allow_nan=True)", "tests/openpanel/track/test_send.py"),
    Mutant("this machine is asked through a proxy", "Proxies.of", "is_loopback(url.host) or any((_exempts(entry, url, port) for entry in self._exempt))", "any((_exempts(entry, url, port) for entry in self._exempt))", "tests/http/test_environment.py"),
    Mutant("127.0.0.2 is another machine", "is_loopback", "(mapped or address).is_loopback", "str(address) in ('127.0.0.1', '::1')", "tests/http/test_environment.py"),
    Mutant("a proxy's password ends at the first @", "proxy", "rest.rpartition", "rest.partition", "tests/http/test_environment.py"),
    Mutant("a proxy's password is shown", "_conceal_credentials", "conceal(secret)", "pass", "tests/http/test_environment.py -k repeats"),
    Mutant("a proxy's refusal is the vendor's", "Http._refusal", "status == 407 and proxy", "False", "tests/http/test_environment.py -k password"),
    Mutant("a proxy's web page is the vendor's", "Http._refusal", "from_elsewhere", "False", "tests/http/test_environment.py -k page"),
    Mutant("certificates are read where nothing is encrypted", "Routes._make", "certificates() if encrypted else None", "certificates()", "tests/http/test_environment.py -k encrypted"),
    Mutant("a status out of the ordinary ends a run", "passes", "status >= 500", "status in (500, 502, 503, 504)", "tests/http/test_retry.py"),
    Mutant("a hint of zero is a hint", "refusal_wait", "hint is None or hint < LEAST_HINT", "hint is None", "tests/http/test_retry.py"),
    Mutant("the past is a hint", "_seconds", "0", "-9000000000.0", "tests/http/test_retry.py"),
    Mutant("brackets at both ends are a document", "_is_json", "try:\n    json.loads(body)\nexcept RecursionError:\n    return True\nexcept ValueError:\n    return False", "try:\n    json.loads(body)\nexcept RecursionError:\n    return True\nexcept ValueError:\n    return True", "tests/http/test_retry.py"),
    Mutant("what may be sent once is sent again", "decide", "not may_repeat", "", "tests/http/test_retry.py"),
    Mutant("a host's codings stay on a file", "_Download.attempt", "codings.undo(self.part, self.codings, self.where)", "pass", "tests/http/test_codings.py"),
    Mutant("layers of packing multiply", "undo", "files.is_packed(path) and path.stat().st_size > max(_ANY_AROUND_PACKED, size * _MOST_AROUND_PACKED)", "False and path.stat().st_size > max(_ANY_AROUND_PACKED, size * _MOST_AROUND_PACKED)", "tests/http/test_codings.py"),
    Mutant("any part is the rest", "_Download._begin", "int(start[1]) != have", "", "tests/http/test_codings.py"),
    Mutant("a proxy's refusal is remembered", "_Sending._posted", "journal.take_back(message.keys)", "pass", "tests/http/test_environment.py -k delivery", nth=0),
    Mutant("a lost answer never left", "Http._once", "isinstance(fault, NEVER_SENT)", "True", "tests/openpanel/track/test_send.py"),
    Mutant("what never left may have arrived", "Http._once", "isinstance(fault, NEVER_SENT)", "False", "tests/openpanel/track/test_send.py"),
    Mutant("a refusal by the rate limit may have arrived", "Http._refusal", "answer.status == 429", "False", "tests/openpanel/track/test_send.py"),
    Mutant("a header that cannot be sent", "_must_be_sendable", "not (value.isascii() and value.isprintable() and (value == value.strip()))", "False", "tests/test_secrets.py -k header"),
    Mutant("secrets known in one spelling", "_without_secrets", "escaped or len(secret) < _CUT_INSIDE_WORDS", "len(secret) < _CUT_INSIDE_WORDS", "tests/test_secrets.py -k spelt"),
    Mutant("short secrets cut words in two", "_escaped_forms", "len(secret) >= _CUT_INSIDE_WORDS", "True", "tests/test_secrets.py -k short"),
    Mutant("a header may hold a run for an hour", "SharedBudget.take", "wait > PATIENCE + MARGIN", "False", "tests/http/test_budget.py -k window"),
    Mutant("what a bot sent is stored", "_Sending._posted", "_taken_for(answer)", "''", "tests/openpanel/track/test_send.py -k bot"),
    Mutant("the last answer announces for all", "_pages", "announced += len(rows.keys)", "announced = len(rows.keys)", "tests/openpanel/reports/test_read.py -k announces"),
    Mutant("an older funnel's words are dropped", "Funnels._documented_funnel", "{'event': more} if more else {}", "{}", "tests/openpanel/reports/test_read.py -k older"),
    Mutant("a chart's labels are local time only", "bucket_maps", "(at := _utc_time(label)) in buckets.instants", "not (at := _utc_time(label))", "tests/openpanel/reports/test_chart_answer.py"),
    Mutant("labels that fit both ways are local", "bucket_maps", "fits[:1] if same else fits", "fits[:1]", "tests/openpanel/reports/test_chart_answer.py"),
    Mutant("series by the event's name first", "_index_of_series", "at in named or not named", "not named", "tests/openpanel/reports/test_chart_answer.py"),
    Mutant("the page's ids mean nothing", "_IDS", "'(?P<letter>[A-Z])|series-(?P<from0>\\\\d{1,4})|evt(?P<from1>\\\\d{1,4})'", "'(?P<letter>[A-Z])|series-(?P<from0>\\\\d{1,4})|event(?P<from1>\\\\d{1,4})'", "tests/openpanel/reports/test_chart_answer.py"),
    Mutant("series with the same breakdowns are one", "_with_number", "number == 1", "number", "tests/openpanel/reports/test_chart_answer.py"),
    Mutant("the order of an answer makes its rows", "parse_series", "sorted(alike, key=lambda each: each[0])", "alike", "tests/openpanel/reports/test_chart_answer.py"),
    Mutant("a point without a count is a zero", "_check", "isinstance(point, dict) and 'count' in point", "isinstance(point, dict)", "tests/openpanel/reports/test_chart_answer.py"),
    Mutant("missing days are not asked for", "_Night.requests", "missed(mine, partial(days_under_way, runs), before=first)", "()", "tests/dagster/test_missing_days.py"),
    Mutant("a day that was open counts as landed", "Landed.ended", "{day for day, at in self.days.items() if at >= end_of(day, timezone)}", "{day for day, at in self.days.items()}", "tests/dagster/test_missing_days.py"),
    Mutant("days that fail for ever come first", "missed", "one.landed.failed.get(day, 0)", "0", "tests/dagster/test_missing_days.py"),
    Mutant("days that a run is about to land", "missed", "day < before and day not in taken", "day < before", "tests/dagster/test_missing_days.py"),
    Mutant("runs that land elsewhere count", "unfinished", "[run for run in runs if run.tags.get(WAREHOUSE_TAG, here) == here]", "[run for run in runs]", "tests/dagster/test_missing_days.py"),
    Mutant("days without a partition are requested", "_Drift.tick", "within(self.asset.partitions_def, landed)", "(sorted(landed), [])", "tests/dagster/test_outside_days.py"),
    Mutant("a landing over all days of an export", "_Tick._request", "range_tags(days[0], days[-1])", "range_tags(entry.job.request.first, entry.job.request.last)", "tests/dagster/userpilot/test_assets.py"),
    Mutant("exports of another environment", "_Tick.take_up", "written.environment in ('', owner)", "True", "tests/dagster/userpilot/test_environments.py"),
    Mutant("exports that no line claims", "_Tick._is_ours", "self._owner if known else 'another'", "self._owner", "tests/dagster/userpilot/test_environments.py"),
    Mutant("one export under two keys", "_Tick._wait", "entry.job.job_id and key != entry.job.job_id", "False", "tests/dagster/userpilot/test_environments.py"),
    Mutant("jobs with the code location's executor", "asset_job", "dg.define_asset_job(name, selection=dg.AssetSelection.assets(*assets), description=description, executor_def=dg.in_process_executor)", "dg.define_asset_job(name, selection=dg.AssetSelection.assets(*assets), description=description)", "tests/dagster/test_other_definitions.py"),
    Mutant("a file that ends early is whole", "prove_whole", "while packed and stream.read(BLOCK):\n    pass", "pass", "tests/userpilot/exports/test_download.py"),
    Mutant("a label that fits no bucket is a zero", "bucket_maps", "[way for way in ways if valued <= way[1].keys()]", "ways[:1]", "tests/openpanel/reports/test_chart_answer.py"),
    Mutant("a lake is written without its lock", "Lake.write", "self.lock(lock_wait=lock_wait, where=where)", "contextlib.nullcontext(lambda: None)", "tests/scale/test_lakes.py -k first_landings"),
    Mutant("a lost lock commits", "Warehouse.transaction", "writing.must_hold()", "pass", "tests/scale/test_upkeep.py -k lock_was_lost"),
    Mutant("a doubled day is not looked for", "Transaction._prove", "found[day] != (rows, 0)", "False", "tests/scale/test_lakes.py -k without_the_lock"),
    Mutant("a moved lake is written elsewhere", "usable", "files.path != stored.data_path", "False", "tests/warehouse/test_lake_places.py"),
    Mutant("two lakes share a folder", "usable", "files.must_be_free(root)", "pass", "tests/warehouse/test_lake_places.py"),
    Mutant("a password in the name of a lake", "PostgresLake.__init__", "given.pop('password', '')", "given.get('password', '')", "tests/warehouse/test_lake_places.py"),
    Mutant("a file of something else becomes a lake", "SqliteLake.look", "'ducklake_metadata' not in tables", "False", "tests/warehouse/test_lake_places.py"),
    Mutant("a copied day is believed", "_same", "(one.rows, one.checksum) == (other.rows, other.checksum)", "one.rows == other.rows", "tests/scale/test_same_answers.py -k arrives_otherwise"),
    Mutant("files keep deleted rows", "settled", "_rewrite(db)", "pass", "tests/scale/test_upkeep.py -k forgotten_person"),
    Mutant("a reader's snapshot expires", "maintained", "now - keep", "now", "tests/scale/test_upkeep.py -k forgotten_person"),
)  # fmt: skip


def places(mutant: Mutant) -> list[tuple[Path, ast.Module, ast.AST]]:
    """Where the piece of a mutant stands: file, its tree, and the node."""
    wanted = _dump(mutant.old)
    found = []
    for file in sorted((ROOT / "connector").rglob("*.py")):
        if "sandbox" in file.parts or mutant.within not in _names_in(file):
            continue
        tree = ast.parse(file.read_text())
        inside = [node for node, within in _nodes(tree, "") if within == mutant.within]
        same = [node for node in inside if isinstance(node, ast.stmt | ast.expr) and ast.dump(node) == wanted]
        found += [(file, tree, node) for node in sorted(same, key=lambda node: (node.lineno, node.col_offset))]
    return found if mutant.nth is None else found[mutant.nth : mutant.nth + 1]


def planted(mutant: Mutant) -> tuple[Path, str]:
    """The file that a mutant changes, and its code with the change."""
    ((file, tree, node),) = places(mutant)
    new: list[ast.AST] = list(ast.parse(mutant.new).body)
    if isinstance(node, ast.expr) and new and isinstance(new[0], ast.Expr):
        new = [new[0].value]
    elif isinstance(node, ast.expr) and new:  # a statement in the place of a call that stands alone
        node = next(one for one in ast.walk(tree) if isinstance(one, ast.Expr) and one.value is node)
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is node:
                setattr(parent, name, new[0] if new else None)
            elif isinstance(value, list) and any(one is node for one in value):
                value[:] = [other for one in value for other in (new if one is node else [one])]
                if not value and name == "body":
                    value.append(ast.Pass())
    return file, ast.unparse(ast.fix_missing_locations(tree))


@cache
def _names_in(file: Path) -> frozenset[str]:
    return frozenset(within for _, within in _nodes(ast.parse(file.read_text()), ""))


def _nodes(node: ast.AST, within: str) -> Iterator[tuple[ast.AST, str]]:
    """Every node with the qualified name of what holds it."""
    for child in ast.iter_child_nodes(node):
        inner = within
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            inner = f"{within}.{child.name}".lstrip(".")
        elif not within and isinstance(child, ast.Assign | ast.AnnAssign):
            target = child.targets[0] if isinstance(child, ast.Assign) else child.target
            names = target.elts if isinstance(target, ast.Tuple) else [target]
            inner = ",".join(name.id for name in names if isinstance(name, ast.Name))
        yield child, inner
        yield from _nodes(child, inner)


def _dump(code: str) -> str:
    statement = ast.parse(code).body[0]
    return ast.dump(statement.value if isinstance(statement, ast.Expr) else statement)


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
        file, code = planted(mutant)
        target = copy / file.relative_to(ROOT)
        text = target.read_text()
        target.write_text(code)
        pytest = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", "not slow"]

        def run(*tests: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run([*pytest, *tests], cwd=copy, capture_output=True, text=True, timeout=900)

        done = run(*mutant.tests.split())
        failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
        caught = done.returncode == 1 and bool(failed)
        if caught:  # a test that fails without the fault, too, notices nothing
            target.write_text(text)
            caught = run(failed[0].removeprefix("FAILED ").split(" - ")[0]).returncode == 0
    what = failed[0][:110] if failed else done.stdout[-200:] + done.stderr[-200:]
    print(f"{'caught  ' if caught else 'SURVIVED'} {mutant.name}: {what}", flush=True)
    return not caught


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
