"""`python docs/generate.py`: pages that are made from the code, so that they cannot say anything else.

``tables.md`` from the catalogue, ``errors.md`` from every place that raises, ``cost.md`` from the benchmarks' results.
A test compares them with what stands in the repository; ``--check`` does the same and changes nothing.
"""

import ast
import re
import sys
import textwrap
from collections import defaultdict
from pathlib import Path

from connector import errors
from connector.catalogue.dbt_sources import ON_REQUEST
from connector.catalogue.own import Table
from connector.catalogue.tables import tables

DOCS = Path(__file__).parent
CODE = DOCS.parent / "connector"
KINDS = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.ConnectorError) and kind is not errors.ConnectorError
}
# What a reader does about each kind, whatever the message says besides.
RERUN = {
    "TransientError": "yes; requests are sent again first",
    "IncompleteError": "yes",
    "BusyError": "yes, once the file is free",
    "InProgressError": "later; the request is remembered",
    "RejectedError": "no: a rerun gets the same answer",
    "SettingsError": "no: set the variable it names",
    "ContractError": "once; then a person should look",
    "SuddenDropError": "no: compare with the vendor, then allow the drop",
    "UndatedError": "no: report the rows, then allow to leave them out",
}
TITLES = {
    "http": "Asking a vendor",
    "openpanel": "OpenPanel",
    "userpilot": "Userpilot",
    "warehouse": "The warehouse",
    "landing": "Landing",
    "records": "Files and records",
    "spool": "Files and records",
    "system": "Files and records",
    "state": "Several machines",
    "privacy": "Personal data",
    "settings": "Settings",
    "catalogue": "Settings",
    "cli": "The command line",
    "upkeep": "Upkeep",
    "properties": "Event properties",
    "dagster": "Dagster",
    "sync": "Landing",
}


def tables_page() -> str:
    """Every table and column."""
    lines = [
        "# Every table and column",
        "",
        "This page is generated from the catalogue. A column's name is the vendor's field name in snake_case. Its",
        "description is also its comment in the warehouse and its text in the Dagster UI. Previews leave out",
        "*personal* columns; [Personal data](personal-data.md) says how to drop or hash them.",
        "",
    ]
    for table in tables():
        lines += _table(table)
    return "\n".join(lines) + "\n"


def _table(table: Table) -> list[str]:
    facts = [f"{table.grain[0].upper()}{table.grain[1:]}."]
    if table.key:
        facts.append(f"Key: `{', '.join(table.key)}`.")
    if table.partition:
        facts.append(f"Partition: {table.partition}.")
    if table.late_days:
        facts.append(f"The last {table.late_days} closed days are landed again, because rows arrive late.")
    if table.is_optional:
        facts.append("Some accounts do not have it.")
    if table.on_request:
        facts.append(ON_REQUEST)
    if table.is_view:
        facts.append("A view.")
    lines = [f"## `{table.schema}.{table.name}`", "", " ".join(facts), ""]
    if table.docs_url:
        lines += [f"[The vendor's page]({table.docs_url})", ""]
    lines += ["| column | type | meaning |", "| --- | --- | --- |"]
    for column in table.columns:
        personal = " *Personal.*" if column.personal else ""
        lines.append(f"| `{column.name}` | `{column.type}` | {_cell(column.description)}{personal} |")
    return [*lines, ""]


def errors_page() -> str:
    """The kinds, and every message the code can write."""
    lines = [
        "# When it fails",
        "",
        "Every message has three parts: what happened, where (`openpanel.events[2026-03-04]`), and what to do next.",
        "The rows landed before are still in place, whatever it says.",
        "",
        "| error | means | rerun? |",
        "| --- | --- | --- |",
    ]
    for name, kind in KINDS.items():
        promise = (kind.__doc__ or "").strip().partition("\n\n")[0].replace("\n", " ")
        lines.append(f"| `{name}` | {_cell(promise)} | {RERUN[name]} |")
    lines += [
        "",
        "Who asks again: a request up to five times (three for a 500), a day that moves while it is read three",
        "times, a partition three times by Dagster's retry policy, and only for errors whose rerun may help. A",
        "step's failure is never retried at run level; a run whose process died is, once.",
        "",
        "## Every message",
        "",
        "Made from the code; `…` stands for what the message names.",
        "",
    ]
    for title, found in _messages().items():
        lines += [f"### {title}", "", "| error | what | what to do next |", "| --- | --- | --- |"]
        lines += [f"| `{kind}` | {_cell(what)} | {_cell(step)} |" for kind, what, step in found]
        lines.append("")
    return "\n".join(lines) + "\n"


def _messages() -> dict[str, list[tuple[str, str, str]]]:
    by_title: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for file in sorted(CODE.rglob("*.py")):
        folder = file.relative_to(CODE).parts[0].removesuffix(".py")
        if folder == "sandbox":
            continue
        constants = _constants(file)
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and (message := _message(node, constants)):
                title = TITLES.get(folder, "Elsewhere")
                if message not in by_title[title]:
                    by_title[title].append(message)
    order = dict.fromkeys([*TITLES.values(), "Elsewhere"])
    return {title: sorted(by_title[title]) for title in order if by_title[title]}


def _message(call: ast.Call, constants: dict[str, str]) -> tuple[str, str, str] | None:
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    step = next((keyword.value for keyword in call.keywords if keyword.arg == "next_step"), None)
    if name not in KINDS or step is None or not call.args:
        return None
    what = " ".join(_text(argument, constants) for argument in call.args[: 2 if name == "SettingsError" else 1])
    if not what.strip(" …."):  # passed on from elsewhere, where the message itself is listed
        return None
    return name, what.rstrip("."), _text(step, constants)


def _constants(file: Path) -> dict[str, str]:
    found = {}
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            found |= {target.id: node.value.value for target in node.targets if isinstance(target, ast.Name)}
    return found


def _text(node: ast.expr, constants: dict[str, str]) -> str:
    match node:
        case ast.Constant(value=str(value)):
            return value
        case ast.JoinedStr(values=values):
            return "".join(_text(value, constants) for value in values)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _text(left, constants) + _text(right, constants)
        case ast.Name(id=name) if name in constants:
            return constants[name]
        case ast.IfExp(body=body, orelse=other):
            return f"{_text(body, constants)} / {_text(other, constants)}"
        case _:
            return "…"


def _cell(text: str) -> str:
    text = re.sub("…+", "…", " ".join(text.split())).replace("|", "\\|").replace("<", "&lt;")
    return text.replace("``", "`")


RESULTS = DOCS.parent / "benchmarks" / "results"
# What each file of results is about, and what to know of it.
MEASURED = {
    "growth.md": "The same work over four weeks and over half a year, 160,000 events a day. A peak contains what "
    "DuckDB keeps of what it read, as long as `DBT_MEMORY_LIMIT` (1GB if left out) allows; the last rows show what is "
    "needed.",
    "night.md": "Every nightly schedule at once, in a real Dagster with the sandbox as both vendors, after a week that "
    "is landed and built: yesterday and the lookback, lookups, an export that takes ten seconds, the models.",
    "receipts.md": "What looks at receipts and days and not at events: sensors, schedules, checks, doctor, prune. "
    "Both warehouses have the same landings, one has four times the events.",
    "lakes.md": "The same work with a file and with lakes. *Waited* is the longest reading less a quiet one, and less "
    "the time in which no processor was free. The bucket is a stand-in in Python on the same machine.",
}


def cost_page() -> str:
    """The tables of results, as the benchmarks wrote them."""
    lines = [
        "# What it costs",
        "",
        "Measured by `make bench` on two cores, every piece of work a process of its own, ratios from one run.",
        "Landing a day beside other tools is in [the comparison](comparison.md); how it is measured is told in the",
        "folder `benchmarks/`.",
    ]
    for name, about in MEASURED.items():
        if text := _there(RESULTS / name):
            head, _, rest = text.strip().partition("\n")
            lines += ["", f"## {head.lstrip('# ')}", "", *textwrap.wrap(about, 120), rest.replace("\n### ", "\n## ")]
    return "\n".join(lines) + "\n"


PAGES = {"tables.md": tables_page, "errors.md": errors_page, "cost.md": cost_page}


def main() -> int:
    """Write the pages, or with ``--check`` say which are old."""
    old = [name for name, made in PAGES.items() if _there(DOCS / name) != made()]
    if "--check" in sys.argv:
        print("\n".join(f"docs/{name} is old: run python docs/generate.py" for name in old))
        return bool(old)
    for name in old:
        (DOCS / name).write_text(PAGES[name]())
    return 0


def _there(path: Path) -> str:
    return path.read_text() if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
