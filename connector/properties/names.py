"""Names of models and columns for events and properties, whatever these are called.

A name does not depend on what other names there are, except where two would be equal: then only the one that already
is spelt so keeps it, and the others end in four digits of a hash of their own spelling.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable
from hashlib import sha256

# Of files and of asset keys.
LONGEST = 60


def column_names(properties: Iterable[str], reserved: Collection[str]) -> dict[str, str]:
    """A column for each property: small letters, digits and underscores, of any script.

    Args:
        reserved: names of other columns; a property of such a name is ``property_...``.
    """
    wanted = {name: _plain(name) or "property" for name in properties}
    for name, column in wanted.items():
        if column in reserved or column[0].isdigit():
            wanted[name] = f"property_{column}"
    return _apart(wanted)


def model_names(events: Iterable[str], reserved: Collection[str]) -> dict[str, str]:
    """The part of a model's name behind ``stg_<vendor>__`` for each event, in ASCII.

    Args:
        reserved: names that other models have; an event of such a name is ``..._event``.
    """
    wanted = {}
    for name in events:
        ascii_only = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
        plain = _plain(ascii_only)[:LONGEST].strip("_") or f"event_{_digits(name)}"
        wanted[name] = f"{plain}_event" if plain in reserved else plain
    return _apart(wanted)


def _plain(name: str) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", unicodedata.normalize("NFKC", name))
    return re.sub(r"[\W_]+", "_", words).strip("_").lower()


def _apart(wanted: dict[str, str]) -> dict[str, str]:
    times = Counter(wanted.values())
    return {
        name: plain if times[plain] == 1 or name == plain else f"{plain}_{_digits(name)}"
        for name, plain in wanted.items()
    }


def _digits(name: str) -> str:
    return sha256(name.encode()).hexdigest()[:4]
