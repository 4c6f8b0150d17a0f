"""How the processes are: partitions, state, recovery, the group, the store, memory and CPU."""

from __future__ import annotations

from dashboards.grafana.parts import BAD, WARNING, Board, Chart, Number, Query, Ranking, Row

AT = 'job=~"$job", instance=~"$instance"'


def rate(metric: str, by: str, more: str = "") -> str:
    """What a counter counts a second."""
    return f"sum by ({by}) (rate({metric}{{{AT}{more}}}[$__rate_interval]))"


def new(metric: str, by: str) -> str:
    """What a counter counted in each step, without those that stood still."""
    return f"sum by ({by}) (increase({metric}{{{AT}}}[$__rate_interval])) > 0"


def quantile(share: float, metric: str) -> str:
    """A quantile of a histogram over the dashboard's step, all processes together."""
    return f"histogram_quantile({share}, sum by (le) (rate({metric}_bucket{{{AT}}}[$__rate_interval])))"


NOW = Row(
    "Processes now",
    [
        Number(
            title="Up",
            text="Processes that answered the last scrape.",
            query=Query(f"sum(up{{{AT}}})", "up"),
            unit="none",
        ),
        Number(
            title="Down",
            text="Processes that did not. Their partitions go to others; a gate that is down answers nobody.",
            query=Query(f"count(up{{{AT}}} == 0) or vector(0)", "down"),
            unit="none",
            limits={1: BAD},
        ),
        Number(
            title="Youngest",
            text="For how long the process runs that was started last. A few minutes, again and again: it restarts.",
            query=Query(f"time() - max(process_start_time_seconds{{{AT}}})", "runs for"),
            unit="s",
        ),
        Number(
            title="Partitions stuck",
            text="Partitions with records to judge that stand still.",
            query=Query(f'sum(tripline_lanes{{{AT}, state="stuck"}}) or vector(0)', "stuck"),
            unit="none",
            limits={1: BAD},
        ),
        Number(
            title="Still to read back",
            text="Records of changelogs that recovering partitions still have to read before they judge.",
            query=Query(f"sum(tripline_recovering_records{{{AT}}}) or vector(0)", "records"),
            unit="short",
            limits={1: WARNING},
        ),
        Number(
            title="Versions",
            text="How many versions of Tripline run. More than one is an upgrade under way, or one that stopped half"
            " way.",
            query=Query(f"count(count by (version) (tripline_build_info{{{AT}}}))", "versions"),
            unit="none",
            limits={2: WARNING},
        ),
    ],
)

LANES = Row(
    "Partitions (workers)",
    [
        Chart(
            title="Partitions by state",
            text="Open ones judge, recovering ones read their state back, stuck ones stand still with records to "
            "judge. The sum should be three times kafka.partitions.",
            queries=[Query(f'sum by (state) (tripline_lanes{{{AT}, state!="other"}})', "{{state}}")],
            unit="short",
            draw="stack",
            colours={"open": "green", "recovering": "orange", "stuck": "red"},
        ),
        Chart(
            title="Partitions by worker",
            text="How the partitions are shared out. About the same for all, once a rebalance is over.",
            queries=[Query(f"sum by (instance) (tripline_lanes{{{AT}}})", "{{instance}}")],
            unit="short",
            draw="stack",
        ),
        Chart(
            title="Judged to, by topic",
            text="How long ago the last record that was judged came into the log, of the partition that is furthest "
            "behind; by process for standalone servers and consoles.",
            queries=[
                Query(
                    f'time() - min by (topic) (tripline_judged_to_timestamp_seconds{{{AT}, topic!=""}} > 0)',
                    "{{topic}}",
                ),
                Query(
                    f'time() - min by (instance) (tripline_judged_to_timestamp_seconds{{{AT}, topic=""}} > 0)',
                    "{{instance}}",
                ),
            ],
            unit="s",
            limit=60,
        ),
        Chart(
            title="Outputs",
            text="What the stages said, a second, by kind. Scores, markers and reports feed other partitions; the "
            "rest is for people, the console and the control authority.",
            queries=[Query(rate("tripline_outputs_total", "kind", ', kind!="other"'), "{{kind}}")],
            unit="ops",
        ),
        Chart(
            title="Out of place",
            text="Strays: records that lay in the wrong partition and were produced again; a producer hashes its "
            "keys wrongly. Fed again: repeats after a restart, left out by intent.",
            queries=[
                Query(new("tripline_strays_total", "topic"), "strays in {{topic}}"),
                Query(new("tripline_fed_again_total", "instance"), "fed again, {{instance}}"),
            ],
            unit="short",
            draw="bars",
            nothing="none",
        ),
        Chart(
            title="Detector faults",
            text="Agents for which a detector raised an error and was switched off.",
            queries=[
                Query(
                    "max by (detector) (sum by (job, detector) "
                    f"(increase(tripline_detector_faults_total{{{AT}}}[$__rate_interval]))) > 0",
                    "{{detector}}",
                )
            ],
            unit="short",
            draw="bars",
            nothing="none",
        ),
    ],
)

STATE = Row(
    "State (workers)",
    [
        Chart(
            title="Age of unsaved state",
            text="How long ago the partition was saved that has waited longest with changed state. Should be about "
            "engine.snapshot_secs (10 s); no line: nothing to save.",
            queries=[
                Query(f"time() - min by (topic) (tripline_oldest_snapshot_timestamp_seconds{{{AT}}} > 0)", "{{topic}}")
            ],
            unit="s",
            limit=120,
            nothing="all is saved",
        ),
        Chart(
            title="Time to save",
            text="From a barrier to its acknowledgement by all in-sync copies. Outputs don't wait for it.",
            queries=[
                Query(quantile(0.99, "tripline_snapshot_seconds"), "p99"),
                Query(quantile(0.5, "tripline_snapshot_seconds"), "p50"),
            ],
            unit="s",
        ),
        Chart(
            title="State written",
            text="Bytes of snapshots a second, by input topic.",
            queries=[Query(rate("tripline_snapshot_bytes_total", "topic", ', topic!="other"'), "{{topic}}")],
            unit="Bps",
        ),
        Chart(
            title="Keys in memory",
            text="Agents, deals and managers whose state is in memory, by input topic.",
            queries=[Query(f'sum by (topic) (tripline_state_keys{{{AT}, topic!="other"}})', "{{topic}}")],
            unit="short",
        ),
        Chart(
            title="Snapshots",
            text="Saves a second, by job. A worker saves each partition with changes every engine.snapshot_secs.",
            queries=[Query(rate("tripline_snapshots_total", "job"), "{{job}}")],
            unit="ops",
        ),
        Chart(
            title="Commits",
            text="Commits of the group's offsets, a second, by outcome. They feed lag tools only; skipped ones wait "
            "for the end of a rebalance.",
            queries=[Query(rate("tripline_commits_total", "outcome", ', outcome!="other"'), "{{outcome}}")],
            unit="ops",
            colours={"ok": "green", "failed": "red", "skipped": "orange"},
        ),
    ],
)

GROUP = Row(
    "Group and recovery (workers)",
    [
        Chart(
            title="Rebalances",
            text="Rebalances that each worker went through. One or two for a worker that restarts; more is a group "
            "that does not settle.",
            queries=[Query(new("tripline_rebalances_total", "instance"), "{{instance}}")],
            unit="short",
            draw="bars",
            nothing="none",
        ),
        Chart(
            title="Recovery",
            text="Records of changelogs read back a second, by worker.",
            queries=[Query(rate("tripline_recovered_records_total", "instance"), "{{instance}}")],
            unit="rps",
        ),
        Ranking(
            title="Time to recover (p99)",
            text="In the time shown: from the assignment of partitions to their opening. Should stay below 20 s for "
            "10,000 agents, below 60 s for 100,000.",
            query=Query(
                "histogram_quantile(0.99, sum by (job, le) "
                f"(increase(tripline_recovery_seconds_bucket{{{AT}}}[$__range]))) >= 0",
                "{{job}}",
            ),
            unit="s",
            nothing="no recovery",
            limits={20: WARNING, 60: BAD},
        ),
        Chart(
            title="Ticks",
            text="Ticks appended a second, by worker; one worker does it at a time. Every timer of the engine fires "
            "at a tick.",
            queries=[Query(rate("tripline_ticks_total", "instance"), "{{instance}}")],
            unit="ops",
        ),
    ],
)

STORE = Row(
    "Store and HTTP (standalone, consoles)",
    [
        Chart(
            title="Degraded",
            text="Why a process is degraded, while it is. Producers are told to wait and writes may be denied "
            "meanwhile.",
            queries=[Query(f"max by (instance, reason) (tripline_degraded{{{AT}}}) > 0", "{{instance}}: {{reason}}")],
            unit="bool_yes_no",
            draw="steps",
            nothing="nothing is degraded",
        ),
        Chart(
            title="Size of the store",
            text="Standalone: the event log in the store, and its write-ahead log. The latter should fall back to "
            "some megabytes; above engine.max_wal_bytes producers are told to wait.",
            queries=[
                Query(f"sum by (instance) (tripline_log_bytes{{{AT}}})", "log, {{instance}}"),
                Query(f"sum by (instance) (tripline_wal_bytes{{{AT}}})", "write-ahead log, {{instance}}"),
            ],
            unit="bytes",
        ),
        Chart(
            title="Requests refused",
            text="HTTP requests that were refused before anything was decided, by code.",
            queries=[Query(new("tripline_http_requests_refused_total", "code"), "{{code}}")],
            unit="short",
            draw="bars",
            nothing="none",
        ),
        Chart(
            title="Logins",
            text="Logins of people, by outcome. Throttled ones were refused unread after too many wrong passwords.",
            queries=[Query(new("tripline_logins_total", "outcome"), "{{outcome}}")],
            unit="short",
            draw="bars",
            nothing="none",
        ),
        Chart(
            title="Pages that listen",
            text="Open pages of the console that are told of changes.",
            queries=[Query(f"sum by (instance) (tripline_stream_listeners{{{AT}}})", "{{instance}}")],
            unit="short",
        ),
        Chart(
            title="Time of the log against Prometheus'",
            text="How far the log's time and Prometheus' are apart at a scrape. Rates and budgets are counted in log "
            "time; beyond 30 s an alert fires.",
            queries=[
                Query(
                    f"max by (instance) (abs(tripline_log_timestamp_seconds{{{AT}}} - "
                    f"timestamp(tripline_log_timestamp_seconds{{{AT}}})))",
                    "{{instance}}",
                )
            ],
            unit="s",
            limit=30,
        ),
    ],
)

PROCESSES = Row(
    "Processes",
    [
        Chart(
            title="CPU",
            text="CPU seconds a second: 100 % is one core. A worker judges on one core; at its limit, start another.",
            queries=[Query(f"rate(process_cpu_seconds_total{{{AT}}}[$__rate_interval])", "{{instance}}")],
            unit="percentunit",
        ),
        Chart(
            title="Memory",
            text="Resident memory. Grows with the number of agents and deals (less than 40 kB an agent), then stays.",
            queries=[Query(f"process_resident_memory_bytes{{{AT}}}", "{{instance}}")],
            unit="bytes",
        ),
        Chart(
            title="Open files",
            text="Open files and sockets as a share of what the process may open.",
            queries=[Query(f"process_open_fds{{{AT}}} / process_max_fds{{{AT}}}", "{{instance}}")],
            unit="percentunit",
            limit=0.8,
        ),
        Chart(
            title="Time of a scrape",
            text="How long Prometheus waits for /metrics. Far below scrape_timeout (10 s).",
            queries=[Query(f"scrape_duration_seconds{{{AT}}}", "{{instance}}")],
            unit="s",
        ),
        Chart(
            title="Samples of a scrape",
            text="How many samples each process exposes. At sample_limit (5,000) its scrapes are refused.",
            queries=[Query(f"scrape_samples_scraped{{{AT}}}", "{{instance}}")],
            unit="short",
            limit=5000,
        ),
    ],
)

BOARD = Board(
    uid="tripline-runtime",
    title="Tripline: runtime",
    text="How the processes are: partitions, state, recovery, the group, the store, memory and CPU.",
    rows=[NOW, LANES, STATE, GROUP, STORE, PROCESSES],
    by_instance=True,
)
