"""A run of an agent as a bag of features: what it called, with values of which shape, taken from where.

A feature never holds a value, only its shape and its origin, so that a bag can be kept and shown where the values
must not be. Every feature counts at most twice ("once", "several times"): with higher counts two good runs that
differ only in the number of records would be far from each other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date
from typing import Any

import msgspec
from msgspec import Struct
from xxhash import xxh3_64_intdigest

from detectors.requests import Request, date_of, words_of

Feature = tuple[str, ...]
"""(kind, action, …); the kinds are action, argument, shape, grounding and origin. One word alone is a digest."""
Bag = dict[Feature, int]

MOST_COUNT = 2
WRITE_VERBS = frozenset({
    "activate", "add", "append", "apply", "approve", "archive", "assign", "attach", "book", "cancel", "change",
    "clear", "close", "complete", "convert", "copy", "create", "deactivate", "delete", "disable", "edit", "enable",
    "enrich", "enroll", "execute", "forward", "grant", "import", "insert", "invite", "log", "mark", "merge", "modify",
    "move", "patch", "place", "post", "publish", "purge", "put", "reassign", "reject", "release", "remove", "rename",
    "reopen", "replace", "reply", "reschedule", "reset", "restore", "revoke", "save", "schedule", "send", "set",
    "share", "submit", "swap", "tag", "transfer", "undelete", "unassign", "update", "upload", "upsert", "write",
})  # fmt: skip
READ_VERBS = frozenset({
    "browse", "check", "count", "describe", "download", "draft", "export", "fetch", "find", "get", "list", "load",
    "lookup", "preview", "query", "read", "report", "resolve", "retrieve", "search", "select", "show", "suggest",
    "summarize", "validate", "view",
})  # fmt: skip
_LOOKUP_VERBS = frozenset({"find", "lookup", "resolve"})
_NAME_PART = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")
_ADDRESS = re.compile(r"[^@\s,;]+@([^@\s,;]+)")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d")
_NUMBER = re.compile(r"-?\d+(\.\d+)?%?")
_DATE_CHARS = len("2026-01-05")


class Call(Struct, frozen=True):
    """One call that succeeded. ``group`` is what a read must share with a write to count as a look at its records."""

    group: str
    action: str
    arguments: Mapping[str, Any]
    is_write: bool
    is_lookup: bool = False

    @property
    def name(self) -> str:
        """The action with its group."""
        return f"{self.group}.{self.action}"


def name_parts(name: str) -> list[str]:
    """The words of a name in snake_case, camelCase or with dots, in lower case."""
    return [part.lower() for part in _NAME_PART.findall(name)]


def tool_call(tool: str, action: str, arguments: Mapping[str, Any]) -> Call:
    """A call as a tool's log gives it: the first verb of the action's name says whether it writes.

    A name without a verb that is known counts as a read: "total_visits_count", "weather".
    """
    verb = next((part for part in name_parts(action) if part in WRITE_VERBS or part in READ_VERBS), "")
    return Call(tool, action, arguments, verb in WRITE_VERBS, verb in _LOOKUP_VERBS)


def is_id(argument: str) -> bool:
    """Whether an argument's name says that it holds the id of a record: "customer_id", "taskId", "ids"."""
    parts = name_parts(argument)
    return bool(parts) and parts[-1] in ("id", "ids")


def shape_of(argument: str, value: str) -> str:
    """What a value looks like, in a word; an address gives its domain."""
    if is_id(argument):
        return _id_shape(value)
    address = _ADDRESS.fullmatch(value)
    if address is not None:
        return f"@{address[1].lower()}"
    if date_of(value) is not None and (len(value) == _DATE_CHARS or _TIME.match(value)):
        return "date" if len(value) == _DATE_CHARS else "time with T" if value[_DATE_CHARS] == "T" else "time"
    if _NUMBER.fullmatch(value):
        return "number"
    return "addresses" if "@" in value else "text"


def _id_shape(value: str) -> str:
    if not value.isdecimal():
        return "id text"
    return "id below ten" if len(value.lstrip("0")) <= 1 else "id"


class RunTrace:
    """A run so far: ``bag`` holds its features, what else is kept says where the next call's values come from.

    Parameters
    ----------
    request:
        What the agent was asked, where it is known: values are then compared with it too, those of reads as well.
    most:
        How many values, words, names and dates are remembered, each; the oldest are forgotten. They are kept as
        digests.
    knows:
        Which features are kept as they are; others as a digest, so that a stranger's names take no room.
    """

    __slots__ = ("_dates", "_knows", "_most", "_names", "_read", "_values", "_words", "bag", "request")

    def __init__(
        self,
        request: Request | None = None,
        most: int = 100_000,
        knows: Callable[[Feature], bool] | None = None,
    ) -> None:
        self.request = request
        self._knows = knows
        self.bag: Bag = {}
        self._most = most
        self._values: dict[int, None] = {}
        self._words: dict[int, None] = {}
        self._names: dict[int, None] = {}
        self._dates: dict[int, None] = {}
        self._read: dict[int, None] = {}

    def add(self, call: Call) -> None:
        """Take in one successful call. A read counts once, whatever is repeated: to look again harms nobody."""
        said = [(argument, text) for argument, value in call.arguments.items() if (text := text_of(value))]
        self._count(call, "action", call.name)
        for argument, text in said:
            self._count(call, "argument", call.name, argument)
            self._count(call, "shape", call.name, argument, shape_of(argument, text))
        if call.is_write:
            how = "by id" if any(is_id(argument) for argument, _ in said) else "new"
            self._count(call, "grounding", call.name, how, self._after(call))
        if call.is_write or self.request is not None:
            dates = {day.toordinal() for _, text in said if (day := date_of(text)) is not None} | self._dates.keys()
            for argument, text in said:
                self._count(call, "origin", call.name, argument, self._origin(call, argument, text.lower(), dates))
        self._learn(call, said)

    def memory(self) -> tuple[list[int], ...]:
        """What it remembers beside the bag: digests of values, words, names and groups read, and dates."""
        return tuple(list(kept) for kept in (self._values, self._words, self._names, self._dates, self._read))

    def remember(self, memory: Sequence[Sequence[int]]) -> None:
        """What ``memory`` gave."""
        self._values, self._words, self._names, self._dates, self._read = (dict.fromkeys(kept) for kept in memory)

    def _count(self, call: Call, *feature: str) -> None:
        if self._knows is not None and not self._knows(feature):
            feature = (f"{digest(chr(31).join(feature)):x}",)
        most = MOST_COUNT if call.is_write else 1
        if feature in self.bag or len(self.bag) < 2 * self._most:
            self.bag[feature] = min(self.bag.get(feature, 0) + 1, most)

    def _after(self, call: Call) -> str:
        if digest(call.group) in self._read:
            return "after a read there"
        return "after a read elsewhere" if self._read else "without a read"

    def _origin(self, call: Call, argument: str, text: str, dates: Collection[int]) -> str:
        if self.request is not None and text in self.request.text:
            return "in the request"
        if call.is_write and digest(text) in self._values:
            return "used before"
        local_part, at, _ = text.partition("@")
        if at and self._names and any(digest(name) in self._names for name in words_of(local_part)):
            return "looked up by name"
        day = date_of(text)
        if day is not None:
            return self._date_origin(day, dates)
        if is_id(argument):
            return self._after(call)
        return self._word_origin(text)

    def _date_origin(self, day: date, dates: Collection[int]) -> str:
        request = self.request
        if request is not None:
            if (day.month, day.day) in request.days:
                return "a date in the request"
            if day.weekday() in request.weekdays:
                return "a weekday in the request"
            if any(abs(day.toordinal() - other) in request.spans for other in dates):
                return "a span in the request"
        return "a date used before" if day.toordinal() in self._dates else "a date from nowhere"

    def _word_origin(self, text: str) -> str:
        asked = self.request.words if self.request is not None else frozenset()
        words = words_of(text)
        found = sum(word in asked or digest(word) in self._words for word in words) / max(len(words), 1)
        if found == 1.0:
            return "all words known"
        if found >= 0.5:
            return "most words known"
        return "some words known" if found > 0.0 else "no word known"

    def _learn(self, call: Call, said: list[tuple[str, str]]) -> None:
        if not call.is_write:
            self._keep(self._read, [digest(call.group)])
        for _, text in said:
            words = [digest(word) for word in words_of(text)]
            self._keep(self._values, [digest(text.lower())])
            self._keep(self._words, words)
            if call.is_lookup:
                self._keep(self._names, words)
            day = date_of(text)
            if day is not None:
                self._keep(self._dates, [day.toordinal()])

    def _keep(self, kept: dict[int, None], new: Iterable[int]) -> None:
        for one in new:
            kept[one] = None
        while len(kept) > self._most:
            del kept[next(iter(kept))]


def digest(text: str) -> int:
    """A text in 64 bits."""
    return xxh3_64_intdigest(text.encode("utf-8", "surrogatepass"))


def text_of(value: Any) -> str:
    """A value of an argument as text without blanks around it; nothing said gives the empty text."""
    if isinstance(value, str):
        return value.strip()
    if value is None or value in ([], {}):
        return ""
    return msgspec.json.encode(value).decode()
