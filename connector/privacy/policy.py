"""What of a person's data is left out, or replaced by a keyed hash, before it reaches a spool or the warehouse.

Rules (``privacy_rules.py``) name tables of the catalogue and, in them, columns or paths inside JSON; a stream without
rules is not looked at, the others pass through ``protector.py``. Nothing here asks a vendor, and nothing here deletes
what has landed (``forgotten.py`` does).
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
    """The rules of one instance, checked against the catalogue when they are made.

    Args:
        tables: by table (``vendor.table``, without an instance's name), ``drop`` and ``hash`` with a list of paths
            each: a column (``profile_id``), a path inside a JSON column (``profile.email``), a field the catalogue does
            not know (``_extra.ip``), or a name wherever it stands (``**.email``). ``*`` stands for one segment, such
            as the position in a list. Neither case nor the spelling of word breaks matters.
        key: of the hash; needed as soon as anything is hashed. Equal values have equal hashes in all tables of all
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
                f"is shorter than {SHORTEST_KEY} characters, so that hashes could be guessed back",
                next_step=f"set {KEY_VARIABLE} to a random text of {SHORTEST_KEY} characters or more.",
            )
        self._hash = Hash(secret) if secret else None
        self._made: dict[str, Protector | None] = {}

    @classmethod
    def load(cls, file: Path, *, key: Secret | str | None = None) -> "Privacy":
        """Rules of a YAML file: ``vendor.table: {drop: [...], hash: [...]}``.

        Raises:
            SettingsError: it cannot be read, or says something that is not possible.
        """
        document = read_yaml(
            file,
            about=f"{RULES_VARIABLE}: {file.name}",
            next_step="fix the file or its path; without readable rules nothing is landed.",
        )
        return cls(document or {}, key=key, where=file.name)

    @classmethod
    def from_environment(cls, env: Environment | None = None) -> "Privacy | None":
        """The rules that CONNECTOR_PERSONAL_DATA names, with the key in CONNECTOR_HASH_KEY; None without rules."""
        env = env or environment()
        key = env.secret("CONNECTOR_HASH_KEY") if env.values.get("CONNECTOR_HASH_KEY", "").strip() else None
        file = env.values.get("CONNECTOR_PERSONAL_DATA", "").strip()
        if not file:
            return None
        return cls.load(Path(env.text("CONNECTOR_PERSONAL_DATA")).expanduser(), key=key)

    def protector(self, stream: Stream) -> "Protector | None":
        """What changes a stream's records; None if no rule concerns it."""
        if stream.table not in self._made:
            rules = self._rules.get(f"{stream.vendor}.{stream.name}", ())
            self._made[stream.table] = Protector(stream, rules, self._hash) if rules else None
        return self._made[stream.table]

    def pages(self, stream: Stream, pages: Iterator[Page]) -> Iterator[Page]:
        """Pages as they may be spooled; those of a stream without rules pass untouched."""
        protector = self.protector(stream)
        return pages if protector is None else map(protector.page, pages)

    def hashed(self, value: str) -> str | None:
        """What stands in a hashed column for a value; None without a key."""
        return self._hash.text(value) if self._hash else None

    def fingerprint(self, stream: Stream) -> str:
        """What a landing of this stream notes of the rules that were applied; empty if none concerns it."""
        protector = self.protector(stream)
        return protector.fingerprint if protector else ""

    @property
    def tables(self) -> Mapping[str, int]:
        """How many rules there are, by table."""
        return {table: len(rules) for table, rules in self._rules.items() if rules}
