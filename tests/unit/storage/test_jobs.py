"""A job is done by one of several, again when it is due, and by another one when the first has died."""

from __future__ import annotations

from storage import jobs
from storage.link import Link


def test_a_job_is_claimed_once_when_it_is_due_and_again_unless_it_was_finished(link: Link) -> None:
    def claim(now_ms: int) -> bool:
        return jobs.claim(link, "look", now_ms, next_ms=100, again_ms=now_ms + 10)

    link.execute("BEGIN")
    assert [claim(at) for at in (5, 99)] == [False, False], "the first time is only noted"
    assert [claim(at) for at in (100, 101, 109)] == [True, False, False]
    assert claim(110), "whoever claimed it did not finish it"
    jobs.finish(link, "look", 200)
    assert [claim(at) for at in (150, 200)] == [False, True]
    assert jobs.claim(link, "other", 500, next_ms=400, again_ms=600), "each job by itself"
    link.execute("COMMIT")
