"""The CloudEvents 1.0 JSON codec: bytes to typed events and back, strictly.

What can't be read is refused with a BadEvent: a reason code, the field, what was wrong and what would be right.
Unknown attributes and data fields are let through; the log keeps an event's own bytes, so nothing is lost.
"""

from events.binary import decode_binary, kept_of, to_structured
from events.bodies import Accepted, decode_body, read_body
from events.errors import BadEvent, BadReason, Refusal
from events.structured import (
    DEFAULT_LIMITS,
    EVENT_TYPES,
    INPUT_TYPES,
    Limits,
    Lines,
    decode,
    decode_input,
    decode_lines,
    encode,
    time_ms,
)

__all__ = [
    "DEFAULT_LIMITS",
    "EVENT_TYPES",
    "INPUT_TYPES",
    "Accepted",
    "BadEvent",
    "BadReason",
    "Limits",
    "Lines",
    "Refusal",
    "decode",
    "decode_binary",
    "decode_body",
    "decode_input",
    "decode_lines",
    "encode",
    "kept_of",
    "read_body",
    "time_ms",
    "to_structured",
]
