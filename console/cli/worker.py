"""``tripline worker``: the engine on Kafka."""

from __future__ import annotations

import click

from console.cli.common import load_settings, settings_options
from console.cli.topics import asking


@click.command(
    epilog="""\b
Examples:
  tripline worker
  tripline worker --config tripline.toml --port 8789
  tripline worker --instance-id "$HOSTNAME"
  tripline worker --engine green
"""
)
@click.option(
    "--instance-id",
    help="A stable name of this worker, where the platform gives one: a quick restart then moves no partitions.",
)
@click.option(
    "--engine",
    default="main",
    show_default=True,
    help="Work for another engine than the first: see tripline engine green.",
)
@click.option("--port", type=click.IntRange(0, 65_535), help="Port of /metrics, /healthz and /readyz; 0: a free one.")
@settings_options
def worker(instance_id: str | None, engine: str, port: int | None, config: str | None, data_dir: str | None) -> None:
    """Judge the input topics of [kafka]: findings, risks and alerts go to their topics, state to the changelogs.

    Run as many as you like, up to the number of partitions; they share the work. SIGTERM or Ctrl-C ends a worker in
    order: everything is saved, and its partitions go to the others at once.
    """
    from console.cli.standalone import set_up_logging
    from streams.kafka.worker.run import run_worker

    set_up_logging()
    settings = load_settings(config, {"server.data_dir": data_dir, "worker.port": port})
    asking(lambda: run_worker(settings, engine, instance_id))
