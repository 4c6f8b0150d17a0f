"""``tripline demo``: watch an agent go rogue and be stopped."""

from __future__ import annotations

import logging
import sys

import click

EXAMPLES = """
\b
Examples:
  tripline demo
  tripline demo --port 9000 --no-browser
  tripline demo --speed 120 --seed 7

What you see is the real engine, gate and console; only the sales team and its agents are simulated.
"""


@click.command("demo", epilog=EXAMPLES)
@click.option("--port", type=click.IntRange(0, 65_535), help="TCP port [default: 8787, or a free one; 0: a free one].")
@click.option(
    "--speed", type=click.FloatRange(1, 3600), default=60.0, show_default=True, help="Simulated seconds a second."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Another number gives another sales team.")
@click.option(
    "--rogue-after",
    type=click.FloatRange(0, 86_400),
    default=45.0,
    show_default=True,
    help="Seconds until the agent goes rogue by itself; 0: only by the button.",
)
@click.option("--no-browser", is_flag=True, help="Don't open the page.")
def demo(port: int | None, speed: float, seed: int, rogue_after: float, no_browser: bool) -> None:
    """Watch an agent go rogue and be stopped: simulator, engine, gate and console in one command.

    Everything lives in a temporary folder that is deleted at the end.
    """
    auto_secs = rogue_after if rogue_after > 0 else None
    try:
        _run(port, speed, seed, auto_secs, not no_browser)
    except KeyboardInterrupt:
        click.echo("\nEnded before it began; nothing is left behind.")


def _run(port: int | None, speed: float, seed: int, auto_secs: float | None, opens_browser: bool) -> None:
    import structlog

    from console.demo.show import Options, run  # only this command needs the whole engine

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        processors=[structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    run(Options(port=port, speed=speed, seed=seed, auto_secs=auto_secs, opens_browser=opens_browser))
