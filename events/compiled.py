"""Modules that exist twice: in Python, which decides what is right, and compiled, which is faster and must agree.

The compiled ones are built by ``make setup`` (and into the wheel) where there is a C compiler. Without them all works,
slower. One that was built from another source than the one beside it is not used.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from xxhash import xxh3_64_hexdigest

_SHARED = Path(__file__).resolve().parent
"""Whose declarations all compiled modules may use."""


def source_digest(source: Path) -> str:
    """What a module built from this source, the parts beside it and the shared ones must carry as ``SOURCE``."""
    parts = sorted({source, *source.parent.glob("_*.px[di]"), *_SHARED.glob("_*.pxd")})
    return xxh3_64_hexdigest(b"\0".join(part.read_bytes() for part in parts))


def load(name: str) -> ModuleType | None:
    """The compiled module of this name; None where it was not built, or not from the source beside it."""
    try:
        spec = find_spec(name)
    except ModuleNotFoundError:
        return None
    if spec is None or spec.origin is None or Path(spec.origin).suffix == ".py":
        return None
    source = Path(spec.origin).with_name(name.rpartition(".")[2] + ".pyx")
    # Looked for in the file: one that was built from another source may want names that are not there any more.
    if source.exists() and source_digest(source).encode() not in Path(spec.origin).read_bytes():
        return None
    return import_module(name)
