"""What is done once a week beside everything else: a look at the pipeline, and at the model that scores deals.

One process of several does it (``storage.jobs``): on Mondays, 08:00 of the deals' time zone; what is missed is made up
for. Learning takes minutes of a core, so it runs in a process of its own, which reads the log and answers with a file.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import structlog

from console.pipeline import judge_weeks
from console.ports import Runtime
from events.times import HOUR_MS, format_ms
from governance.settings_types import Settings
from scoring.training.card import Looked
from storage import jobs
from storage.background import Background
from storage.errors import StoreError
from storage.read import Reader
from storage.read.book import book
from streams import deal_upkeep
from streams.deal_promotion import Promotion, PromotionRefused
from streams.standalone.types import Closed

JOB = "deals weekly"
LOOK_SECS = 60.0
"""How often it is seen whether the job is due."""
AGAIN_MS = 6 * HOUR_MS
"""A look that failed is tried again after this long, by whichever process sees it first."""
MOST_SECS = 5 * 3600.0
"""So long may the learning take."""
DECIDE_SECS = 30.0
COMMAND = (sys.executable, "-m", "console.cli.deals_look")
_WEEK = timedelta(days=8) // timedelta(milliseconds=1)
_log = structlog.get_logger("tripline.upkeep")


class Upkeep(Background):
    """The thread. Parameters: a runtime and a reader of the same store; settings; ``learn`` makes the look at the model
    (default: in a process of its own). It is made where ``deals.look_weekly`` says so.
    """

    def __init__(
        self, runtime: Runtime, settings: Settings, reader: Reader, learn: Callable[[Settings], Looked] | None = None
    ) -> None:
        super().__init__("tripline-upkeep")
        self._runtime = runtime
        self._settings = settings
        self._reader = reader
        self._learn = learn or self._in_process
        self._child: subprocess.Popen[bytes] | None = None

    def stop(self) -> None:
        """End the thread, and the process that learns."""
        self._stop.set()
        child = self._child
        if child is not None:
            child.kill()
        super().stop()

    def look(self) -> bool:
        """Do the job if it is due; whether it was. Raises what the store or the learning raises."""
        now_ms = self._runtime.now_ms()
        next_ms = next_look_ms(now_ms, self._settings)
        key = self._reader.key(JOB)
        claimed = self._runtime.decide(
            key, lambda at: jobs.claim(at.link, JOB, now_ms, next_ms, now_ms + AGAIN_MS)
        ).result(DECIDE_SECS)
        if not claimed:
            return False
        self._look_at_pipeline(now_ms)
        self._look_at_model(now_ms)
        self._runtime.decide(key, lambda at: jobs.finish(at.link, JOB, next_ms)).result(DECIDE_SECS)
        return True

    def _run(self) -> None:
        while not self._stop.wait(LOOK_SECS):
            try:
                self.look()
            except (Closed, StoreError) as problem:
                _log.warning("upkeep.store_not_there", problem=str(problem))
            except Exception as problem:  # whatever it is: the next look must come
                if not self._stop.is_set():
                    _log.error("upkeep.failed", problem=repr(problem))

    def _look_at_pipeline(self, now_ms: int) -> None:
        found = judge_weeks(book(self._reader), self._settings.deals, now_ms)
        tenant = self._reader.tenant
        self._runtime.decide(
            self._reader.key(JOB), lambda at: deal_upkeep.tell_alarms(at, tenant, found.alarms)
        ).result(DECIDE_SECS)

    def _look_at_model(self, now_ms: int) -> None:
        looked = self._learn(self._settings)
        promotes = bool(looked.promote) and self._settings.deals.auto_promote
        tenant, day = self._reader.tenant, format_ms(now_ms)[:10]
        self._runtime.decide(
            self._reader.key(JOB), lambda at: deal_upkeep.keep_look(at, tenant, looked, day, promotes=promotes)
        ).result(DECIDE_SECS)
        gaps = {one.target: round(one.gap, 4) for one in looked.full}
        _log.info("upkeep.looked_at_model", promote=looked.promote, why=looked.why, promotes=promotes, full_gaps=gaps)
        if promotes:
            asked = Promotion(by=deal_upkeep.BY, reason=f"weekly look: {looked.why}"[:2000], model=looked.promote)
            done = self._runtime.promote(asked).result(DECIDE_SECS)
            if isinstance(done, PromotionRefused):
                _log.warning("upkeep.not_promoted", why=str(done))

    def _in_process(self, settings: Settings) -> Looked:
        with tempfile.TemporaryDirectory(prefix="tripline-look-") as folder:
            answer = Path(folder) / "looked.json"
            self._run_child([*COMMAND, "--out", str(answer)], msgspec.json.encode(settings))
            return msgspec.json.decode(answer.read_bytes(), type=Looked)

    def _run_child(self, command: Sequence[str], given: bytes) -> None:
        self._child = subprocess.Popen(  # noqa: S603 - our own command
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        try:
            _, said = self._child.communicate(given, timeout=MOST_SECS)
            if self._child.returncode:
                raise RuntimeError(f"the look at the model failed: {said.decode(errors='replace')[-2000:]}")
        finally:
            self._child.kill()
            self._child = None


def next_look_ms(now_ms: int, settings: Settings) -> int:
    """The next Monday, 08:00 of the deals' time zone, after now."""
    from scoring.backtest.clock import snapshots  # noqa: PLC0415 - NumPy, which a gate can do without until it is due

    return snapshots(now_ms + 1, now_ms + _WEEK, "weekly", ZoneInfo(settings.deals.time_zone))[0]
