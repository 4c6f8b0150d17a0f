"""Where in a JSON text something is: the dotted path of its field, such as ``data.changes.006A1.Amount[1]``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\],:"]', re.DOTALL)
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
_TOLD_AT = re.compile(r"^(?P<what>.*?)(?: - at `(?:key in )?\$(?P<path>.*)`)?$", re.DOTALL)
_TOLD_FIELD = re.compile(r"^Object (?:missing required|contains unknown) field `(?P<field>[^`]*)`")
_MAX_NAME = 80
_MAX_STEPS = 8


def path_at(raw: bytes, at: int) -> str:
    """The path of the field that holds byte ``at`` of a JSON text, as far as it can be told; "" at the top.

    The text need not be whole or right: what comes after the byte is not looked at.
    """
    names: list[str | int | None] = []
    is_key: list[bool] = []
    for token in _TOKEN.finditer(raw, 0, at):
        text = token.group()
        if text == b"{":
            names.append(None)
            is_key.append(True)
        elif text == b"[":
            names.append(0)
            is_key.append(False)
        elif text in (b"}", b"]"):
            if not names:
                break
            names.pop()
            is_key.pop()
        elif text == b'"':
            break  # the byte is inside this text
        elif names and text == b",":
            last = names[-1]
            is_key[-1] = not isinstance(last, int)
            names[-1] = last + 1 if isinstance(last, int) else None
        elif names and is_key[-1]:
            if text == b":":
                is_key[-1] = False
            else:
                names[-1] = text[1:-1].decode("utf-8", "replace")[:_MAX_NAME]
    return _joined([name for name in names if name is not None])


def told_place(problem: str) -> tuple[str, str]:
    """What msgspec's ValidationError says, in two: what is wrong, and the field it is about ("" = the whole)."""
    found = _TOLD_AT.match(problem)
    what, path = (found["what"], found["path"] or "") if found else (problem, "")
    field = path.lstrip(".").replace("[...]", "[]")
    named = _TOLD_FIELD.match(what)
    return what, f"{field}.{named['field']}".lstrip(".") if named else field


def candidates(document: Any, told: str) -> Iterator[tuple[str, Any]]:
    """Paths and values that a decoder's path such as ``.data.changes[...][...]`` may mean, in the document's order."""
    steps = [name or index for name, index in _STEP.findall(told)]
    yield from _walk(document, steps, [])


def _walk(node: Any, steps: list[str], way: list[str | int]) -> Iterator[tuple[str, Any]]:
    if not steps:
        yield _joined(way), node
        return
    step, rest = steps[0], steps[1:]
    children: dict[Any, Any] = {}
    if isinstance(node, dict | list):
        children = node if isinstance(node, dict) else dict(enumerate(node))
    if step == "...":
        for name, child in children.items():
            yield from _walk(child, rest, [*way, name])
        return
    key: str | int = int(step) if isinstance(node, list) and step.isdigit() else step
    if key in children:
        yield from _walk(children[key], rest, [*way, key])


def _joined(names: list[str | int]) -> str:
    shown = names[:_MAX_STEPS]
    path = "".join(f"[{name}]" if isinstance(name, int) else f".{name[:_MAX_NAME]}" for name in shown)
    return path.lstrip(".") + ("…" if len(names) > len(shown) else "")
