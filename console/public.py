"""The store's rows as the API shows them: times as RFC 3339 text, money as decimal text, bytes as base64.

A field ``x_ms`` becomes ``x``, ``x_minor`` becomes ``x`` with two decimals (in the row's currency). JSON Schemas are
renamed by the same rule, so that what is documented is what is sent.
"""

from __future__ import annotations

from typing import Any

import msgspec

from events.times import format_ms

_MINOR_DIGITS = {"JPY": 0, "KRW": 0, "VND": 0, "CLP": 0, "ISK": 0, "BHD": 3, "KWD": 3, "OMR": 3, "TND": 3, "JOD": 3}
_SPANS = {"gap_ms", "duration_ms"}


def public(of: Any) -> Any:
    """A row, or a list of rows, as plain values ready for JSON."""
    return _renamed(msgspec.to_builtins(of))


def public_schema(of: Any) -> Any:
    """A JSON Schema of rows as that of what ``public`` makes of them."""
    if isinstance(of, list):
        return [public_schema(each) for each in of]
    if not isinstance(of, dict):
        return of
    new = {name: public_schema(value) for name, value in of.items()}
    if isinstance(new.get("properties"), dict):
        new["properties"] = {_name(name): _retyped(name, value) for name, value in new["properties"].items()}
        new["required"] = [_name(name) for name in new.get("required", ())]
    return new


def money(minor: int, currency: str | None) -> str:
    """Minor units as decimal text; the number of decimals is the currency's."""
    digits = _MINOR_DIGITS.get(currency or "", 2)
    whole, part = divmod(abs(minor), 10**digits)
    sign = "-" if minor < 0 else ""
    return f"{sign}{whole}.{part:0{digits}d}" if digits else f"{sign}{whole}"


def _renamed(of: Any) -> Any:
    if isinstance(of, list):
        return [_renamed(each) for each in of]
    if not isinstance(of, dict):
        return of
    new = {}
    for name, value in of.items():
        if name.endswith("_ms") and name not in _SPANS:
            new[name[:-3]] = format_ms(value) if isinstance(value, int) else None
        elif name.endswith("_minor"):
            new[name[:-6]] = money(value, of.get("currency")) if isinstance(value, int) else None
        elif name in ("changes", "details", "origin"):
            new[name] = value
        else:
            new[name] = _renamed(value)
    return new


def _name(name: str) -> str:
    if name.endswith("_ms") and name not in _SPANS:
        return name[:-3]
    return name.removesuffix("_minor")


def _retyped(name: str, schema: Any) -> Any:
    if _name(name) == name:
        return schema
    text = {"type": "string", "description": "RFC 3339" if name.endswith("_ms") else "decimal"}
    return {"anyOf": [text, {"type": "null"}]} if "anyOf" in schema else text
