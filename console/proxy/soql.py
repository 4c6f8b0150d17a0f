"""What a SOQL query reads: one kind of record, and how many at most. One that reads more than that is not parsed."""

from __future__ import annotations

import re

from console.proxy.asked import NotParsed, at_most
from console.proxy.reading import read_name

_TOKEN = re.compile(r"\s+|'(?:[^'\\]|\\.)*'|[A-Za-z_][A-Za-z0-9_]*|[0-9][0-9A-Za-z:.+-]*|[-(),.=<>!:+]", re.DOTALL)
_ONE_KIND = "one SELECT … FROM one object … LIMIT n, with n up to 200, without fields of other objects"


def read_query(text: str) -> tuple[str, int]:
    """The object that a query reads, and its limit. Raises NotParsed."""
    tokens = _tokens(text)
    words = [token.upper() for token in tokens]
    if words[:1] != ["SELECT"] or words.count("SELECT") != 1 or words.count("FROM") != 1 or words.count("LIMIT") != 1:
        raise NotParsed("the query is not one plain SELECT", _ONE_KIND)
    for word in ("FOR", "UPDATE", "TYPEOF"):  # FOR VIEW and UPDATE TRACKING write, TYPEOF reads other objects
        if word in words:
            raise NotParsed(f"{word} in a query does more than read one kind of record", _ONE_KIND)
    at = words.index("FROM") + 1
    object_ = read_name(tokens[at] if at < len(tokens) else "", "the object after FROM")
    if "," in tokens[at + 1 : at + 4]:  # after the object, or its alias; further on a comma belongs to a clause
        raise NotParsed("the query reads several kinds of records", _ONE_KIND)
    if "." in tokens:
        raise NotParsed("the query reaches fields of other objects", _ONE_KIND)
    limit = words.index("LIMIT") + 1
    if limit >= len(tokens) or not tokens[limit].isdigit():
        raise NotParsed("LIMIT has no number", _ONE_KIND)
    return object_, at_most(int(tokens[limit]))


def _tokens(text: str) -> list[str]:
    """The query's words, numbers, texts and signs. Raises NotParsed."""
    found, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise NotParsed(f"the query can't be read at {text[at : at + 20]!r}", _ONE_KIND)
        at = match.end()
        if not match[0].isspace():
            found.append(match[0])
    return found
