"""How the interpreter is set up in a process that handles many records."""

from __future__ import annotations

import gc
import sys

_SWITCH_SECS = 0.001
_GC_ALLOCATIONS = 100_000


def tune_gc() -> None:
    """Look for cycles of garbage rarely: records never form any."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(max(gc.get_threshold()[0], _GC_ALLOCATIONS), 20, 50)


def tune_interpreter() -> None:
    """The same, and let threads take turns quickly."""
    sys.setswitchinterval(min(sys.getswitchinterval(), _SWITCH_SECS))
    tune_gc()
