"""``docs/settings.md`` from the settings' types: every setting with its variable, default, range and meaning."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

from governance.settings import ALIASES, PREFIX
from governance.settings_containment import CredentialSettings, CrmSettings
from governance.settings_types import AgentSettings, DealStage, Person, Settings, Target

HEAD = """# Settings

Made from `governance/settings_types.py` by `python -m governance.settings_doc`; a test keeps it in step.

A setting comes from, highest first: a command-line flag, a `TRIPLINE_*` variable, the file (TOML, `tripline.toml` or
`--config FILE` or `TRIPLINE_CONFIG`), the default. A variable's name is the setting's path in capitals with `_`; lists
of names are written with commas, larger values as TOML (`'[{name = "chat", url = "slack://…"}]'`). A setting of a named
table that the file has, such as `[agents.enrich-bot]`, is `TRIPLINE_AGENTS_ENRICH_BOT_LEVEL`.
A misspelt setting or variable is an error that names its place. `tripline doctor` checks a file and says what to do.

A complete example: [examples/tripline.toml](examples/tripline.toml).
"""

OPEN_TABLES: tuple[tuple[str, type[Struct]], ...] = (
    ("agents.NAME", AgentSettings),
    ("people.NAME", Person),
    ("crm.NAME", CrmSettings),
    ("credentials.NAME", CredentialSettings),
    ("deals.stages[]", DealStage),
    ("notifications.targets[]", Target),
)


def settings_markdown() -> str:
    """The whole document."""
    parts = [HEAD]
    for name, kind in get_type_hints(Settings).items():
        if isinstance(kind, type) and issubclass(kind, Struct):
            parts.append(_section(name, kind))
    parts += [_section(name, kind) for name, kind in OPEN_TABLES]
    parts.append(_DETECTORS)
    short = ", ".join(f"`{short}` = `{long}`" for short, long in ALIASES.items())
    parts.append(f"## Short names\n\n{short}. The long name wins when both are given.\n")
    return "\n".join(parts)


_DETECTORS = """## `[detectors.NAME]`

One table a detector: `mode` is `shadow` (says nothing), `warn` (tells people) or `enforce` (also asks for a stop); the
other names are the detector's own options, described in its file under `detectors/`. `[detectors.NAME.agents]` and
`[detectors.NAME.roles]` hold a mode for an agent's id, or for all agents with a `role`; the agent's own goes first.
"""


def _section(name: str, kind: type[Struct]) -> str:
    title = f"[[{name[:-2]}]]" if name.endswith("[]") else f"[{name}]"
    about = (kind.__doc__ or "").strip()
    head = f"## `{title}`\n\n{about}\n\n| setting | variable | default | range | what it is |\n|---|---|---|---|---|"
    return head + "\n" + "\n".join(_rows(name, kind)) + "\n"


def _rows(section: str, kind: type[Struct]) -> Iterator[str]:
    defaults = {field.name: field for field in msgspec.structs.fields(kind)}
    for name, hint in get_type_hints(kind, include_extras=True).items():
        variable = "–" if section.endswith("[]") else f"`{PREFIX}{section.replace('.', '_').upper()}_{name.upper()}`"
        cells = (f"`{name}`", variable, _default(defaults[name]), _range(hint), _meaning(hint))
        yield "| " + " | ".join(cells) + " |"


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "**required**"
    value = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    text = msgspec.json.encode(value).decode() if not isinstance(value, Struct) else "–"
    return f"`{text}`"


def _metas(hint: Any) -> list[Meta]:
    return [part for part in get_args(hint) if isinstance(part, Meta)] if get_origin(hint) is Annotated else []


def _meaning(hint: Any) -> str:
    return next((meta.description for meta in _metas(hint) if meta.description), "").replace("|", "\\|")


def _range(hint: Any) -> str:
    bare = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    if get_origin(bare) is Literal:
        return ", ".join(f"`{word}`" for word in get_args(bare))
    low = next((m.ge if m.ge is not None else m.gt for m in _metas(hint) if (m.ge, m.gt) != (None, None)), None)
    high = next((m.le for m in _metas(hint) if m.le is not None), None)
    above = "over " if any(m.gt is not None for m in _metas(hint)) else ""
    if low is None and high is None:
        return _name_of(bare)
    return f"{above}{low:,} – {high:,}" if high is not None else f"{low:,} or more"


def _name_of(bare: Any) -> str:
    if isinstance(bare, types.GenericAlias) or get_origin(bare) in (list, dict):
        return "list" if get_origin(bare) is list else "table"
    return {str: "text", bool: "true, false", int: "number", float: "number"}.get(bare, "")


if __name__ == "__main__":
    print(settings_markdown(), end="")
