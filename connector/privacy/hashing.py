"""Replaces a value by a keyed hash: equal values give equal texts, and the value cannot be found without the key."""

import hmac
import json

import msgspec

from connector.settings import Secret

# Size of the caches: decisions by field name, hashes by value. A full cache is cleared.
REMEMBERED = 100_000


class Hash:
    """The first 32 hexadecimal digits of HMAC-SHA256 of a value's text; empty and null values stay as they are."""

    def __init__(self, key: Secret) -> None:
        self._key = key.reveal().encode()
        self.fingerprint = hmac.digest(self._key, b"\0which key is this", "sha256").hex()[:16]
        self._made: dict[bytes, msgspec.Raw] = {}

    def text(self, value: str) -> str:
        # An empty id means "no person" to the vendors. Its hash would look like a person.
        return hmac.digest(self._key, value.encode(), "sha256").hex()[:32] if value else ""

    def raw(self, raw: msgspec.Raw) -> msgspec.Raw:
        value = bytes(raw)
        made = self._made.get(value)
        if made is None:
            if len(self._made) > REMEMBERED:
                self._made.clear()
            made = self._made[value] = msgspec.Raw(self._encoded(value))
        return made

    def _encoded(self, raw: bytes) -> bytes:
        match raw[:1]:
            case b'"':
                value = msgspec.json.decode(raw, type=str)
            case b"[":
                items = msgspec.json.decode(raw, type=list[msgspec.Raw])
                return msgspec.json.encode([self.raw(item) for item in items])
            case b"{":  # an object is one value; the order of its members does not matter
                value = json.dumps(json.loads(raw), sort_keys=True, separators=(",", ":"))
            case _ if raw == b"null":
                return raw
            case _:
                value = raw.decode()
        return msgspec.json.encode(self.text(value))
