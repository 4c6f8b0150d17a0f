"""``python -m dashboards.reference``: writes docs/metrics.md from the metrics themselves."""

from __future__ import annotations

from pathlib import Path

from dashboards.metrics import Labels, Metrics
from dashboards.proxy_metrics import ProxyMetrics
from dashboards.registry import Registry
from dashboards.worker_metrics import WorkerLabels, WorkerMetrics

PATH = Path(__file__).resolve().parents[1] / "docs" / "metrics.md"
HEAD = """\
# Metrics

Made from the code by `make dashboards`. What to do with them: [monitoring](monitoring.md).

Counters are exposed with `_total`, histograms as `_bucket`, `_sum` and `_count`. Every series is there from the start,
at 0; a label value that was not foreseen counts as `other`. Times are seconds since 1970, and 0 where there is none.
"""
CONSOLE = """\
## Standalone server and console

A console on Kafka has neither log nor stages: "judged and durable" means there "taken by all in-sync copies",
`judged_to` is what the workers have saved, and sizes of log and write-ahead log are 0. Several consoles each count
what they did themselves; gauges about agents and deals are the same in all.
"""
PROCESS = "Beside them, of each process: CPU, memory, open files and start, as `process_*`.\n"
OF_HISTOGRAMS = {"le"}


def text() -> str:
    """The whole document."""
    parts = [
        HEAD,
        CONSOLE,
        table(Metrics(Labels(detectors=("",)))),
        "## Worker\n",
        table(WorkerMetrics(WorkerLabels(topics=("",), reasons=("",), detectors=("",)))),
        "## HTTP proxy\n",
        table(ProxyMetrics()),
        PROCESS,
    ]
    return "\n".join(parts)


def table(registry: Registry) -> str:
    """Name, kind, labels and meaning of each metric of a registry."""
    lines = ["| metric | kind | labels | what |", "|---|---|---|---|"]
    for family in sorted(registry.registry.collect(), key=lambda one: one.name):
        if family.name.startswith("process_"):
            continue
        labels = sorted({name for sample in family.samples for name in sample.labels} - OF_HISTOGRAMS)
        name = f"{family.name}_total" if family.type == "counter" else family.name
        shown = ", ".join(f"`{label}`" for label in labels)
        lines.append(f"| `{name}` | {family.type} | {shown} | {family.documentation} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
