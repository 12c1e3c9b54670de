"""What pages and messages point to is there: links, anchors, files, commands, variables."""

import re
import subprocess

import pytest

from connector.cli.main import _parser
from tests.conftest import ROOT

FILES = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, text=True).split()
PAGES = [name for name in FILES if name.endswith(".md") and not name.startswith("tests/recorded")]
# Written by whoever follows a page.
MADE = {"sql/models/marts/exports_by_day.sql", "sql/models/marts/_exports_by_day.yml"}
# Files whose sentences a user or a reader of the code meets.
TEXTS = [
    name
    for name in FILES
    if name.startswith(("connector/", "dagster_project/", "docs/", "deploy/", "README", "ARCHI", "CONTRI", ".env"))
    and name.endswith((".py", ".md", ".yaml", ".yml", ".example", ".service", ".toml"))
    and (ROOT / name).exists()
]


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


def anchors(name):
    """Anchors of a page's headings, as GitHub and mkdocs make them."""
    found = re.findall(r"(?m)^#+ (.*)$", re.sub(r"(?ms)^```.*?^```", "", text(name)))
    return {
        re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", one)).strip().lower().replace(" ", "-")
        for one in found
    }


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    prose = re.sub(r"(?ms)^ *```.*?^ *```|`[^`\n]*`", "", text(page))
    for target in re.findall(r"\]\(<?([^)>\s]+)", prose):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = ((ROOT / page).parent / file).resolve() if file else ROOT / page
        assert there.exists(), f"{page}: {target}"
        if anchor and there.suffix == ".md":
            assert anchor in anchors(there.relative_to(ROOT)), f"{page}: {target}"


@pytest.mark.parametrize("name", TEXTS)
def test_files_that_are_named_are_there(name):
    """A path of the repository in a message, a comment or a page; a path below the folder it stands in counts."""
    for said in re.findall(
        r"(?<![\w/.<{-])((?:docs|sql|deploy|tests|connector|dagster_project|benchmarks)/[\w/.-]*\.\w+)", text(name)
    ):
        path = said.rstrip(".")
        assert (ROOT / path).exists() or path.startswith("sql/target") or path in MADE, f"{name} names {path}"


def test_no_text_sends_to_a_table_of_the_readme():
    """Its tables moved to pages of their own; what the README explains is how to begin."""
    for name in TEXTS:
        if name.endswith((".py", ".example")):
            assert "README" not in text(name), name


def verbs():
    """Every verb of the command and, of verbs with acts, every act."""
    (choices,) = [one.choices for one in _parser()._actions if isinstance(one.choices, dict)]
    acts = {
        f"{verb} {act}"
        for verb, parser in choices.items()
        for one in parser._actions
        if isinstance(one.choices, dict)
        for act in one.choices
    }
    return set(choices), acts


def test_commands_that_are_named_exist():
    known, acts = verbs()
    with_acts = {act.partition(" ")[0] for act in acts}
    for name in TEXTS:
        for verb, word in re.findall(r"`(?:\.venv/bin/)?connector ([a-z-]+)(?: ([a-z]+))?", text(name)):
            assert verb in known, f"{name}: connector {verb}"
            if verb in with_acts and word:
                assert f"{verb} {word}" in acts, f"{name}: connector {verb} {word}"


def test_variables_that_are_named_are_explained():
    explained = set(re.findall(r"`([A-Z][A-Z_]+)`", text("docs/settings.md")))
    for name in TEXTS:
        if "sandbox" not in name and not name.startswith("deploy/"):  # whose own variables its page explains
            named = set(re.findall(r"\b((?:OPENPANEL|USERPILOT|CONNECTOR)_[A-Z]+(?:_[A-Z]+)*)\b", text(name)))
            examples = {one for one in named if one.endswith(("_SHOP", "_EU"))}
            assert named - examples <= explained, f"{name}: {named - examples - explained}"
