"""Calls to a CRM over HTTP: with time limits, again after what passes by itself, and without a secret in any log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

from governance.settings_containment import CrmSettings
from streams.crm.ports import CrmFailed

ATTEMPTS, TIMEOUT_SECS = 5, 10.0
_FIRST_WAIT_SECS, _LONGEST_WAIT_SECS = 0.5, 30.0
_TOO_MANY, _UNAUTHORIZED, _FORBIDDEN, _SERVER = 429, 401, 403, 500
_MOST_CODE = 80


class Unsaid(logging.Filter):
    """Keeps addresses that hold a token out of httpx's own log."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record may be logged."""
        return "/refresh-tokens/" not in record.getMessage()


_unsaid = Unsaid()


class Calls:
    """Calls to one CRM. Parameters: its address; how errors call it; how often at most; ``sleep``, for tests.

    What can't be answered now (429, 5xx, time-outs, no connection) is tried again with a growing pause, or the one that
    the CRM asks for, ``attempts`` times in all.
    """

    def __init__(
        self, url: str, name: str, *, attempts: int = ATTEMPTS, timeout_secs: float = TIMEOUT_SECS,
        sleep: Any = time.sleep,
    ) -> None:  # fmt: skip
        self._client = httpx.Client(base_url=url.rstrip("/"), timeout=timeout_secs, follow_redirects=False)
        self._name = name
        self._attempts = attempts
        self._sleep: Callable[[float], None] = sleep
        logging.getLogger("httpx").addFilter(_unsaid)

    def close(self) -> None:
        """Give connections back."""
        self._client.close()

    def send(self, method: str, path: str, what: str, **more: Any) -> httpx.Response:
        """The answer to a request, a success; ``what``: the request in words. Raises CrmFailed."""
        problem, wait = "", 0.0
        for attempt in range(self._attempts):
            if attempt:
                self._sleep(wait)
            wait = min(_LONGEST_WAIT_SECS, _FIRST_WAIT_SECS * 2**attempt)
            try:
                answer = self._client.request(method, path, **more)
            except httpx.HTTPError as error:
                problem = f"no answer ({type(error).__name__})"
                continue
            except (httpx.InvalidURL, ValueError) as error:
                raise self._failed(what, f"the request can't be made ({type(error).__name__})") from None
            if answer.is_success:
                return answer
            problem = f"{answer.status_code}{code_of(answer)}"
            if answer.status_code == _TOO_MANY:
                wait = _asked_for(answer.headers, wait)
            elif answer.status_code < _SERVER:
                raise self._failed(what, problem + self._advice(answer.status_code), status=answer.status_code)
        often = f", {self._attempts} times; ask again later" if self._attempts > 1 else ""
        raise self._failed(what, problem + often, is_passing=True, wait_secs=wait)

    def _failed(self, what: str, problem: str, **more: Any) -> CrmFailed:
        return CrmFailed(f"{what} at {self._name}: {problem}", **more)

    def _advice(self, status: int) -> str:
        if status == _UNAUTHORIZED:
            return f"; the token of [crm.{self._name}] is not accepted: renew it"
        if status == _FORBIDDEN:
            return f"; the token of [crm.{self._name}] lacks the right to do it"
        return ""


def secret_of(token: str, token_file: str, where: str) -> str:
    """A token from the settings, or from its file as it is now. Raises CrmFailed."""
    if not token_file:
        return token
    try:
        found = Path(token_file).read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise CrmFailed(f"the token file of [{where}] can't be read ({type(problem).__name__})") from None
    if not found or not found.isprintable() or " " in found:
        raise CrmFailed(f"the token file of [{where}] holds no token: one line of printable characters")
    return found


def bearer_of(settings: CrmSettings, name: str) -> dict[str, str]:
    """The header with Tripline's own token for a CRM, as it is now. Raises CrmFailed."""
    token = secret_of(settings.token, settings.token_file, f"crm.{name}")
    return {"Authorization": f"Bearer {token}"}


def content_of(answer: httpx.Response) -> Mapping[str, Any]:
    """The object that was answered; empty when it is none."""
    try:
        said = answer.json()
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def code_of(answer: httpx.Response) -> str:
    """The code of an error as the CRM names it, never its text: that may hold what was sent."""
    try:
        said = answer.json()
    except ValueError:
        return ""
    if isinstance(said, list) and said:
        said = said[0]
    if not isinstance(said, Mapping):
        return ""
    code = said.get("errorCode") or said.get("error") or said.get("category") or ""
    plain = "".join(each for each in str(code)[:_MOST_CODE] if each.isalnum() or each in "_-.")
    return f" {plain}" if plain else ""


def _asked_for(headers: Mapping[str, str], otherwise: float) -> float:
    """The pause that the CRM asks for, in seconds; at most half a minute."""
    try:
        return max(0.0, min(_LONGEST_WAIT_SECS, float(headers.get("retry-after", ""))))
    except ValueError:
        return otherwise
