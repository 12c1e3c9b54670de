"""The rules for personal data: what is dropped, or replaced by a keyed hash, before it reaches spool and warehouse.

Rules (``rules.py``) name tables of the catalogue and columns or paths inside JSON. ``apply.py`` applies them; a stream
without rules is not parsed. ``forget.py`` deletes rows that have landed.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from connector.catalogue.tables import every_stream
from connector.errors import SettingsError
from connector.privacy.apply import Protector
from connector.privacy.hashing import Hash
from connector.privacy.rules import Rule, checked, mapping
from connector.redaction import excerpt
from connector.settings import Environment, Secret, environment, read_yaml
from connector.stream import Page, Stream

RULES_VARIABLE, KEY_VARIABLE = "CONNECTOR_PERSONAL_DATA", "CONNECTOR_HASH_KEY"
SHORTEST_KEY = 16


class Privacy:
    """The rules of one instance, checked against the catalogue when they are created.

    Args:
        tables: by table (``vendor.table``, without an instance's name), ``drop`` and ``hash`` with a list of paths
            each: a column (``profile_id``), a path inside a JSON column (``profile.email``), a field that the catalogue
            does not know (``_extra.ip``), or a name at any depth (``**.email``). ``*`` matches one segment, such as the
            position in a list. Case, underscores, hyphens and spaces in names do not matter.
        key: the key of the hashes; needed if anything is hashed. Equal values have equal hashes in all tables of all
            instances with the same key.

    Raises:
        SettingsError: names the table, the path and what is possible instead.
    """

    def __init__(
        self,
        tables: Mapping[str, Mapping[str, Sequence[str]]],
        *,
        key: Secret | str | None = None,
        where: str = RULES_VARIABLE,
    ) -> None:
        catalogue = {stream.table: stream for stream in every_stream()}
        secret = Secret(key) if isinstance(key, str) else key
        self._rules: dict[str, tuple[Rule, ...]] = {}
        for table, body in mapping(tables, where).items():
            place = f"{where}: {excerpt(str(table), 60)}"
            if table not in catalogue:
                raise SettingsError(
                    place, "is not a table of the catalogue", next_step=f"use one of {', '.join(sorted(catalogue))}."
                )
            self._rules[table] = tuple(checked(body, catalogue[table], place))
        hashes = any(rule.act == "hash" for rules in self._rules.values() for rule in rules)
        if hashes and not secret:
            raise SettingsError(
                KEY_VARIABLE,
                f"is not set, and {where} asks for hashes",
                next_step=f"set {KEY_VARIABLE} to a random text of {SHORTEST_KEY} characters or more, and keep it: "
                "with another key the same person gets another hash.",
            )
        if secret and len(secret.reveal()) < SHORTEST_KEY:
            raise SettingsError(
                KEY_VARIABLE,
                f"is shorter than {SHORTEST_KEY} characters, so values could be guessed from their hashes",
                next_step=f"set {KEY_VARIABLE} to a random text of {SHORTEST_KEY} characters or more.",
            )
        self._hash = Hash(secret) if secret else None
        self._on_request = {
            table
            for table, stream in catalogue.items()
            if not stream.by_default and any(column.personal for column in stream.columns)
        }
        self._made: dict[str, Protector | None] = {}

    @classmethod
    def load(cls, file: Path, *, key: Secret | str | None = None) -> "Privacy":
        """Rules of a YAML file: ``vendor.table: {drop: [...], hash: [...]}``.

        Raises:
            SettingsError: the file cannot be read, or a rule is not possible.
        """
        document = read_yaml(
            file,
            about=f"{RULES_VARIABLE}: {file.name}",
            next_step="fix the file or its path; without readable rules nothing is landed.",
        )
        return cls(document or {}, key=key, where=file.name)

    @classmethod
    def from_environment(cls, env: Environment | None = None) -> "Privacy | None":
        """The rules in the file that CONNECTOR_PERSONAL_DATA names, with the key in CONNECTOR_HASH_KEY; else None."""
        env = env or environment()
        key = env.secret("CONNECTOR_HASH_KEY") if env.values.get("CONNECTOR_HASH_KEY", "").strip() else None
        file = env.values.get("CONNECTOR_PERSONAL_DATA", "").strip()
        if not file:
            return None
        return cls.load(Path(env.text("CONNECTOR_PERSONAL_DATA")).expanduser(), key=key)

    def protector(self, stream: Stream) -> "Protector | None":
        """Applies the rules of a stream to its records; None if it has no rules."""
        if stream.table not in self._made:
            rules = self._rules.get(f"{stream.vendor}.{stream.name}", ())
            self._made[stream.table] = Protector(stream, rules, self._hash) if rules else None
        return self._made[stream.table]

    def pages(self, stream: Stream, pages: Iterator[Page]) -> Iterator[Page]:
        """Pages with the rules applied; pages of a stream without rules are not changed.

        Raises:
            SettingsError: other tables of the vendor have rules, and a table of people that is not landed by default
                is not mentioned: it would be landed with all that the rules keep out elsewhere.
        """
        name = f"{stream.vendor}.{stream.name}"
        if name in self._on_request and name not in self._rules and self._has_rules_for(stream.vendor):
            raise SettingsError(
                RULES_VARIABLE,
                f"names a file without a word about {name}, which holds personal data",
                next_step=f"write rules for {name}, or `{name}: {{}}` to land it as it is sent.",
            )
        protector = self.protector(stream)
        return pages if protector is None else map(protector.page, pages)

    def _has_rules_for(self, vendor: str) -> bool:
        return any(rules for table, rules in self._rules.items() if table.startswith(f"{vendor}."))

    def hashed(self, value: str) -> str | None:
        """The hash of a value; None without a key."""
        return self._hash.text(value) if self._hash else None

    def fingerprint(self, stream: Stream) -> str:
        """The fingerprint of a stream's rules, which its landings record; empty if it has none."""
        protector = self.protector(stream)
        return protector.fingerprint if protector else ""

    @property
    def tables(self) -> Mapping[str, int]:
        """Table -> number of rules."""
        return {table: len(rules) for table, rules in self._rules.items() if rules}
