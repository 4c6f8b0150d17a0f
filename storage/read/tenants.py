"""Which rows are a tenant's: state keys are "tenant/name", so they lie together in an index."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement


def keys_of(column: Any, tenant: str, only: str | None = None) -> list[ColumnElement[bool]]:
    """The condition that a key is one of the tenant's; ``only``: that it is this name's."""
    if only is not None:
        return [column == f"{tenant}/{only}"]
    return [column > f"{tenant}/", column < f"{tenant}0"]  # "0" comes right behind "/"
