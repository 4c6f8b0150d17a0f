"""What a CRM's answer says of an operation: done, failed for certain, or nobody knows; and the ids of what it made."""

from __future__ import annotations

from typing import Any

import msgspec

from console.proxy.asked import UNKNOWN, Asked, Outcome, Problem, Together

_OK, _REDIRECT, _CLIENT_ERROR, _TIMED_OUT, _SERVER_ERROR = 200, 300, 400, 408, 500
_MOST_TEXT = 300
ROLLED_BACK = "PROCESSING_HALTED"
"""Salesforce's code for what was taken back, or not begun, as another subrequest failed."""


class NoAnswer(Problem):
    """What came is no answer of the CRM's API to what was asked: the agent does not get it."""


def judge(status: int, body: bytes, records: int = 1) -> Outcome:
    """The problem, None when all of it was done; and the ids of the records that the answer names, in their order.

    Reads the answers of Salesforce (``[{message, errorCode}]``, ``[{id, success, errors}]``) and HubSpot (``{category,
    message}``, ``{results, errors}``). An answer that is neither counts by its status alone; but of several ``records``
    it has to name each, unless there is no body.
    """
    said = _read(body)
    problem, made = _judged(status, said)
    if problem is None and body and records > max(1, len(_results(said))):
        return Problem(UNKNOWN, f"the CRM's answer does not name each of {records} records"), made
    return problem, made


def listed(asked: Asked) -> int:
    """How many records the answer to an operation has to name."""
    ids = asked.record_ids if asked.action == "record.delete" else ()
    return max(len(asked.changes), len(asked.created), len(ids))


def judge_composite(status: int, body: bytes, whole: Together) -> tuple[Outcome, ...]:
    """What came of each operation of a composite request, by those of its subrequests.

    Where the CRM takes all back when one fails (``allOrNone``), none of them was done then, whatever it says of it.
    """
    said = _read(body)
    if status != _OK:
        return (_judged(status, said),) * len(whole.parts)
    by_name = _by_name(said)
    found = tuple(_of_part([by_name.get(name) for name in part.refs]) for part in whole.parts)
    problem = next((each for each, _ in found if each is not None), None)
    if problem is None or not whole.is_atomic:
        return found
    back = Problem(UNKNOWN if problem.code == UNKNOWN else ROLLED_BACK, "another subrequest failed: all was taken back")
    return tuple((own or back, ()) for own, _ in found)


def _by_name(said: Any) -> dict[str, dict[str, Any] | None]:
    """The answers to subrequests by their names; None for a name that is there twice."""
    answers = said.get("compositeResponse") if isinstance(said, dict) else None
    found: dict[str, dict[str, Any] | None] = {}
    for each in answers if isinstance(answers, list) else ():
        name = each.get("referenceId") if isinstance(each, dict) else None
        if isinstance(name, str):
            found[name] = None if name in found else each
    return found


def _of_part(answers: list[dict[str, Any] | None]) -> Outcome:
    found: list[Outcome] = []
    for answer in answers:
        status = answer.get("httpStatusCode") if answer is not None else None
        if answer is None or not isinstance(status, int):
            return NoAnswer(UNKNOWN, "the CRM's answer says nothing of a subrequest"), ()
        found.append(_judged(status, answer.get("body"), is_whole=False))
    problems = sorted((each for each, _ in found if each is not None), key=lambda each: each.code != UNKNOWN)
    return problems[0] if problems else None, tuple(id_ for _, made in found for id_ in made)


def _judged(status: int, said: Any, *, is_whole: bool = True) -> Outcome:
    if status >= _SERVER_ERROR or status == _TIMED_OUT or _REDIRECT <= status < _CLIENT_ERROR or status < _OK:
        kind = NoAnswer if status < _SERVER_ERROR and is_whole else Problem
        return kind(UNKNOWN, f"the CRM answered {status}: nobody knows whether it was done"), ()
    if status >= _CLIENT_ERROR:
        return _error(said, f"HTTP {status}"), ()
    results = _results(said)
    failed = [each for each in (*results, *_errors(said)) if _is_failure(each)]
    made = tuple(str(each["id"]) for each in results if isinstance(each.get("id"), str | int) and not _is_failure(each))
    if not failed:
        return None, made
    first = _error(failed[0].get("errors") or failed[0], "failed")
    return Problem(first.code, f"{len(failed)} of the request's records failed: {first}"[:_MOST_TEXT]), made


def _read(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body) if body else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _results(said: Any) -> list[dict[str, Any]]:
    found = said.get("results", [said]) if isinstance(said, dict) else said
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _errors(said: Any) -> list[dict[str, Any]]:
    found = said.get("errors") if isinstance(said, dict) and "results" in said else None
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _is_failure(each: dict[str, Any]) -> bool:
    return each.get("success") is False or each.get("status") == "error"


def _error(said: Any, otherwise: str) -> Problem:
    """A CRM's error as a problem, its text shortened."""
    one = said[0] if isinstance(said, list) and said else said
    if not isinstance(one, dict):
        return Problem(otherwise, otherwise)
    code = one.get("errorCode") or one.get("statusCode") or one.get("category") or otherwise
    return Problem(str(code)[:_MOST_TEXT], str(one.get("message") or otherwise)[:_MOST_TEXT])
