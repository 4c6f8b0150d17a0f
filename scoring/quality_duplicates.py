"""Accounts and contacts that are in a CRM twice, by names that are nearly equal, mail addresses and telephone numbers.

Not every pair is compared: records are compared within *blocks* (the same first letters of a name, the same rare word,
the same address or number), and in a block that is too large each only with its neighbours in the order of names. So
the work grows with the records, not with their square.

Reference: Christen, *Data Matching* (2012), on blocking and the sorted neighbourhood.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from msgspec import Struct
from rapidfuzz import fuzz
from rapidfuzz.distance import OSA

ONE_SLIP, ONE_CHANGED, TWO_SLIPS = 5, 8, 12
"""How long the telling part of a name (its words that few others have) must be for one slip of the keyboard (a letter
too many, too few, or two turned around), for one changed letter, for two slips. Shorter ones must be equal."""
COMMON_SHARE, COMMON_LEAST = 0.002, 5
"""A word in more names than this tells nothing: "engineering"."""
MOST_IN_BLOCK, NEIGHBOURS = 60, 12
_PREFIX, _SUFFIX, _PHONE_DIGITS = 5, 5, 8
_LEGAL = frozenset(
    (
        *("ab", "ag", "aps", "as", "asa", "bv", "co", "company", "corp", "corporation", "gmbh", "group", "holding"),
        *("holdings", "inc", "incorporated", "kg", "kft", "llc", "llp", "lp", "ltd", "limited", "mbh", "nv", "oy"),
        *("oyj", "plc", "pty", "sa", "sarl", "sas", "se", "spa", "srl", "the"),
    )
)
_WORDS = re.compile(r"[0-9a-z]+|[^\W_]+")


class Record(Struct, frozen=True, kw_only=True):
    """An account or a contact. Empty where it is not known; ``account`` is a contact's company."""

    record_id: str
    name: str
    email: str = ""
    phone: str = ""
    account: str = ""
    owner_id: str = ""


class Pair(Struct, frozen=True):
    """Two records that are probably one, why, and how alike their names are (0 to 100)."""

    first: str
    second: str
    why: str
    alike: float


@lru_cache(maxsize=65_536)
def words(name: str) -> tuple[str, ...]:
    """A name's words without accents, capitals, punctuation and legal forms ("Müller & Söhne GmbH" → muller, sohne)."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c)).casefold()
    found = tuple(_WORDS.findall(bare))
    return tuple(word for word in found if word not in _LEGAL) or found


def duplicates(records: Sequence[Record], *, is_person: bool = False) -> list[Pair]:
    """Pairs of records that are probably one, the most alike first. Records without a name and address match none."""
    known = {record.record_id: record for record in records}
    counts = Counter(word for record in known.values() for word in set(words(record.name)))
    least = max(COMMON_LEAST, COMMON_SHARE * len(known))
    common = {word for word, count in counts.items() if count > least}
    found: dict[tuple[str, str], Pair] = {}
    for left, right in _candidates([_look(record, common) for record in known.values()]):
        why = _why(left, right, is_person)
        if why is not None:
            first, second = sorted((left.record_id, right.record_id))
            found[first, second] = Pair(first, second, why, fuzz.ratio(left.name.joined, right.name.joined))
    return sorted(found.values(), key=lambda pair: (-pair.alike, pair.first, pair.second))


def clusters(pairs: Iterable[Pair]) -> list[list[str]]:
    """Records that hang together, each cluster in order of ids, the largest first."""
    parent: dict[str, str] = {}

    def root(of: str) -> str:
        while parent.setdefault(of, of) != of:
            parent[of] = parent[parent[of]]
            of = parent[of]
        return of

    for pair in pairs:
        parent[root(pair.first)] = root(pair.second)
    found: dict[str, list[str]] = {}
    for each in sorted(parent):
        found.setdefault(root(each), []).append(each)
    return sorted(found.values(), key=lambda one: (-len(one), one))


class _Name(NamedTuple):
    """A name's words together, as they stand and in order; ``telling`` letters are of words that few others have."""

    joined: str
    ordered: str
    telling: int
    numbers: tuple[str, ...]


class _Look(NamedTuple):
    """A record, ready to be compared."""

    record_id: str
    name: _Name
    account: _Name
    email: str
    phone: str
    keys: set[str]


def _name(text: str, common: set[str]) -> _Name:
    named = words(text)
    telling = sum(len(word) for word in named if word not in common)
    # "Plant 2" and "Plant 3" are two, however alike.
    return _Name("".join(named), "".join(sorted(named)), telling, tuple(re.findall(r"\d+", text)))


def _look(record: Record, common: set[str]) -> _Look:
    """With its blocks: a slip leaves a name's beginning, its end, or one of its telling words as it was."""
    name, email, phone = _name(record.name, common), record.email.strip().casefold(), _phone(record.phone)
    keys = {f"w:{word}" for word in words(record.name) if len(word) > 2 and word not in common}
    if name.joined:
        keys |= {f"p:{name.joined[:_PREFIX]}", f"s:{name.joined[-_SUFFIX:]}", f"o:{name.ordered[:_PREFIX]}"}
    if email:
        keys.add(f"e:{email}")
    if phone:
        keys.add(f"t:{phone}")
    return _Look(record.record_id, name, _name(record.account, common), email, phone, keys)


def _why(left: _Look, right: _Look, is_person: bool) -> str | None:
    """Why two records are one; None when they are not."""
    if left.email and left.email == right.email:
        return "the same mail address"
    if not _is_alike(left.name, right.name):
        return None
    if left.phone and left.phone == right.phone:
        return "names alike, the same telephone number"
    if not is_person:
        return "names alike"
    # Two people may well have one name: only in one company they are taken for one.
    return "names alike, the same account" if _is_alike(left.account, right.account) else None


def _is_alike(left: _Name, right: _Name) -> bool:
    if not left.joined or not right.joined or abs(len(left.joined) - len(right.joined)) > 2:
        return False
    if left.numbers != right.numbers:
        return False
    telling = max(left.telling, right.telling)  # a misspelt common word is a rare one
    return _is_slip(left.joined, right.joined, telling) or _is_slip(left.ordered, right.ordered, telling)


def _is_slip(left: str, right: str, telling: int) -> bool:
    """Equal, or so few slips apart that the length of what tells them allows it."""
    if left == right:
        return True
    if telling < ONE_SLIP:
        return False
    distance = OSA.distance(left, right, score_cutoff=2)
    if distance == 1 and len(left) == len(right) and sorted(left) != sorted(right):
        return telling >= ONE_CHANGED
    return distance == 1 or (distance == 2 and telling >= TWO_SLIPS)


def _phone(text: str) -> str:
    digits = re.sub(r"\D", "", text)
    return digits[-_PHONE_DIGITS:] if len(digits) >= _PHONE_DIGITS else ""


def _candidates(looks: Sequence[_Look]) -> Iterator[tuple[_Look, _Look]]:
    blocks: dict[str, list[_Look]] = {}
    for look in looks:
        for key in look.keys:
            blocks.setdefault(key, []).append(look)
    for key in sorted(blocks):
        block = blocks[key]
        reach = len(block)
        if reach > MOST_IN_BLOCK:
            reach = NEIGHBOURS
            block.sort(key=lambda look: (look.name.joined, look.record_id))
        for at, left in enumerate(block):
            for right in block[at + 1 : at + 1 + reach]:
                yield left, right
