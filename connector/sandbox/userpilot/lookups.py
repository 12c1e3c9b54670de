"""The lookups: names and ids of what events refer to, as bare arrays or in pages.

The sort key of an item changes while events arrive, so reading page after page gives no snapshot. The items are in
`lookup_tables`.
"""

import base64
import binascii
import json
from collections.abc import Callable
from typing import Any

from connector.sandbox.messages import Answer, RefusalError, Request
from connector.sandbox.userpilot import answers
from connector.sandbox.userpilot.behaviour import World
from connector.sandbox.userpilot.lookup_tables import lookup_tables

PAGE = 50
MOST = 100
# bytes that base64 writes as "++++////": a cursor that is not encoded for a query does not survive
_MARK = b"\xfb\xef\xbe\xff\xff\xff\x83t\x00\x00\x00\x03"
Item = dict[str, Any]


class Lookups:
    """The lists by name.

    Attributes:
        tables: the lists; a test may change them.
        before_page: called once, just before page N of any paged lookup is read.
        stuck: lookups that answer with the same cursor again and again.
        hollow: lookups whose pages are empty but have a cursor.
        count_cap: a larger total is reported as this number.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.tables: dict[str, list[Item]] = lookup_tables(world)
        self.before_page: dict[int, Callable[[], object]] = {}
        self.stuck: set[str] = set()
        self.hollow: set[str] = set()
        self.count_cap: int | None = None

    def known(self, name: str) -> bool:
        """Whether there is such a lookup."""
        return name in self.tables

    def touch(self, name: str, item_id: str | int, last_seen: str) -> None:
        """Set the last use of an item, which moves it to another page."""
        for item in self.tables[name]:
            if str(item["id"]) == str(item_id):
                item["last_seen"] = last_seen

    def page_of(self, request: Request) -> int:
        """The number of the page a request asks for; 1 if its cursor is invalid."""
        try:
            return _place(request)[0] + 1
        except RefusalError:
            return 1

    def answer(self, name: str, request: Request) -> Answer:
        """One lookup, or one page of it."""
        if name not in self.world.paged:
            return answers.as_json(self.tables[name])
        before, after = _place(request)
        hook = self.before_page.pop(before + 1, None)
        if hook is not None:
            hook()
        items = sorted(self.tables[name], key=_key)
        rest = items if after is None else [item for item in items if _key(item) > after]
        size = self._size(request)
        page = rest[:size]
        cursor = _cursor(before + 1, _key(page[-1])) if len(rest) > size else None
        if name in self.stuck and page:
            cursor = request.param("after_cursor") or _cursor(1, _key(page[-1]))
        if name in self.hollow:
            page, cursor = [], _cursor(before + 1, _key(items[0]))
        total, cap = len(items), self.count_cap
        metadata = {
            "cursor": {"after": cursor, "before": None if after is None or not page else _cursor(0, _key(page[0]))},
            "limit": size,
            "total_count": total if cap is None else min(total, cap),
        }
        if self.world.cap_told:
            metadata["total_count_cap_exceeded"] = cap is not None and total > cap
        return answers.as_json({"data": page, "metadata": metadata})

    def _size(self, request: Request) -> int:
        text = request.param("limit") or ""
        return min(MOST, max(1, int(text))) if self.world.limit_heeded and text.isdigit() else PAGE


def _key(item: Item) -> list[Any]:
    """The sort key of an item: own properties before automatic ones, then by last use, oldest first, then by id."""
    number = item.get("id", item.get("key", ""))
    text = str(number)
    by_number = [0, int(text), ""] if text.lstrip("-").isdigit() else [1, 0, text]
    return [bool(item.get("is_auto_property")), str(item.get("last_seen") or ""), *by_number]


def _cursor(pages: int, key: list[Any]) -> str:
    text = json.dumps([pages, *key], separators=(",", ":")).encode()
    text += b" " * ((1 - len(_MARK + text)) % 3)  # makes the length need padding
    return base64.b64encode(_MARK + text).decode()


def _place(request: Request) -> tuple[int, list[Any] | None]:
    """The number of pages already read, and the key of the last item read (None for the first page).

    Raises:
        RefusalError: 400, the cursor is not exactly one that was given out.
    """
    text = request.param("after_cursor")
    if not text:
        return 0, None
    try:
        found = base64.b64decode(text, validate=True)
        if not found.startswith(_MARK):
            raise ValueError("not ours")
        pages, *key = json.loads(found.removeprefix(_MARK))
    except (ValueError, binascii.Error) as error:
        raise RefusalError(answers.refused(400, "The cursor is invalid.")) from error
    return int(pages), key
