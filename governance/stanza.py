"""The lines of TOML that would allow what the gate refused, so that nobody has to look up the setting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from governance.settings_types import AgentSettings

_BARE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


def new_agent(agent_id: str, actions: Iterable[str], object_name: str | None) -> str:
    """A table that would make the agent known, allowed to do just what it asked for."""
    lines = [_table(agent_id), 'owner = ""  # who answers for it', "level = 1", f"actions = {_list(actions)}"]
    if object_name:
        lines.append(f"objects = {_list([object_name])}")
    return "\n".join(lines)


def more_actions(agent_id: str, agent: AgentSettings, actions: Iterable[str]) -> str:
    """The agent's actions with these added."""
    return f"{_table(agent_id)}\nactions = {_list(dict.fromkeys((*agent.actions, *actions)))}"


def more_objects(agent_id: str, agent: AgentSettings, object_name: str) -> str:
    """The agent's record types with this one added."""
    return f"{_table(agent_id)}\nobjects = {_list(dict.fromkeys((*agent.objects, object_name)))}"


def more_irreversible(agent_id: str, agent: AgentSettings, actions: Iterable[str]) -> str:
    """The agent's irreversible actions with these added."""
    return f"{_table(agent_id)}\nirreversible = {_list(dict.fromkeys((*agent.irreversible, *actions)))}"


def own_action(agent_id: str, agent: AgentSettings, known: Iterable[str], action: str) -> str:
    """An action of your own made known, and allowed to this agent."""
    table = f"{_table(agent_id)}\nactions = {_list(dict.fromkeys((*agent.actions, action)))}"
    irreversible = f"irreversible = {_list(dict.fromkeys((*agent.irreversible, action)))}"
    return f"[gate]\nother_actions = {_list(dict.fromkeys((*known, action)))}\n\n{table}\n{irreversible}"


def numbers(agent_id: str, limits: Mapping[str, int]) -> str:
    """Limits of the agent at these values; "" for none."""
    lines = [f"{setting} = {value}" for setting, value in limits.items()]
    return "\n".join([_table(agent_id), *lines]) if lines else ""


def quote(text: str) -> str:
    """A TOML basic string; whatever does not print (controls, direction marks) is written as an escape."""
    return '"' + "".join(map(_escape, text)) + '"'


def _escape(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    if char.isprintable():
        return char
    code = ord(char)
    if 0xD800 <= code <= 0xDFFF:  # half a surrogate pair is no character
        return "\ufffd"
    return f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"


def _table(agent_id: str) -> str:
    return f"[agents.{agent_id if agent_id and set(agent_id) <= _BARE else quote(agent_id)}]"


def _list(words: Iterable[str]) -> str:
    return "[" + ", ".join(map(quote, words)) + "]"
