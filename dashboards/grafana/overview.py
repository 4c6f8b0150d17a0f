"""Is Tripline doing its work: what flows, what is found and stopped, what the gate says, who is told."""

from __future__ import annotations

from dashboards.grafana.parts import BAD, WARNING, Board, Chart, Number, Query, Ranking, Row

JOB = 'job=~"$job"'


def quantile(share: float, metric: str, by: str = "job") -> str:
    """A quantile of a histogram over the dashboard's step."""
    return f"histogram_quantile({share}, sum by ({by}, le) (rate({metric}_bucket{{{JOB}}}[$__rate_interval])))"


def detected(share: float) -> str:
    """From the log to what came of a record; a standalone server measures from receipt."""
    worker, standalone = "tripline_detection_seconds", "tripline_ingest_to_judged_seconds"
    return f"{quantile(share, worker)}\nor\n{quantile(share, standalone)}"


def new(metric: str, by: str) -> str:
    """What a counter counted in each step, without those that stood still.

    A worker and a console may both count what they see of the same stream: the job that saw most is shown.
    """
    return f"max by ({by}) (sum by (job, {by}) (increase({metric}{{{JOB}}}[$__rate_interval]))) > 0"


NOW = Row(
    "Now",
    [
        Number(
            title="Alerts",
            text="Alerts of Tripline that fire now, whatever their severity; the watchdog is not counted.",
            query=Query(
                'count(ALERTS{alertname=~"Tripline.+", alertname!="TriplineWatchdog", alertstate="firing"})'
                " or vector(0)",
                "alerts",
            ),
            unit="none",
            limits={1: WARNING},
        ),
        Number(
            title="Agents suspended",
            text="Agents that may do nothing until a person releases them. Which ones is in the console.",
            query=Query(f"sum(max by (by) (tripline_suspended_agents{{{JOB}}}))", "agents"),
            unit="none",
            limits={1: BAD},
        ),
        Number(
            title="Stop all",
            text="Whether somebody stopped every agent at once. Ending it takes two people.",
            query=Query(f"max(tripline_stop_all{{{JOB}}})", "stop all"),
            unit="none",
            limits={1: BAD},
            words={"0": "no", "1": "everything is stopped"},
        ),
        Number(
            title="Judged to",
            text="How long ago the record was logged up to which everything is judged, of the part that is furthest "
            "behind. Ticks move it every 10 s even where nothing else comes in.",
            query=Query(f"time() - min(tripline_judged_to_timestamp_seconds{{{JOB}}} > 0)", "ago"),
            unit="s",
            limits={30: WARNING, 60: BAD},
        ),
        Number(
            title="Gate undecided",
            text="Share of checks in 5 minutes that were denied because nothing could be decided. 0 where nobody asks.",
            query=Query(f"max(job:tripline_gate_undecided:ratio_rate5m{{{JOB}}} >= 0) or vector(0)", "undecided"),
            unit="percentunit",
            limits={0.001: WARNING, 0.05: BAD},
        ),
        Number(
            title="Deals at high risk",
            text="Open deals whose risk of being lost is in the upper band now.",
            query=Query(f'max(tripline_deals_at_risk{{{JOB}, band="high"}})', "deals"),
            unit="none",
        ),
    ],
)

STREAM = Row(
    "Stream",
    [
        Chart(
            title="Events judged",
            text="Records that were judged a second, by input topic (mean of 5 minutes). A line that drops to 0 "
            "while records wait is a stream that stands still. A console shows what it filed for its pages.",
            queries=[Query(f"job_topic:tripline_events_consumed:rate5m{{{JOB}}}", "{{topic}} ({{job}})")],
            unit="eps",
        ),
        Chart(
            title="Records that wait",
            text="Records in the input topics that are not judged yet; for a standalone server, events in its queue."
            " Above 10,000 for ten minutes an alert fires.",
            queries=[
                Query(f"sum by (topic) (job_topic:tripline_consumer_lag_records:sum{{{JOB}}})", "{{topic}}"),
                Query(f"sum by (job) (tripline_queued_events{{{JOB}}})", "queue of {{job}}"),
            ],
            unit="short",
            limit=10_000,
        ),
        Chart(
            title="Detection latency",
            text="From the time at which the log took a record to the acknowledgement of what came of it "
            "(standalone: from receipt to durable). An agent that goes wrong is stopped no sooner. Should stay "
            "below 1 s (p99).",
            queries=[Query(detected(0.99), "p99 {{job}}"), Query(detected(0.5), "p50 {{job}}")],
            unit="s",
            limit=1,
        ),
    ],
)

AGENTS = Row(
    "Agents",
    [
        Chart(
            title="Findings",
            text="What detectors found, by detector and mode. Shadow findings ask for nothing.",
            queries=[Query(new("tripline_findings_total", "detector, mode"), "{{detector}} ({{mode}})")],
            unit="short",
            draw="bars",
            nothing="none",
        ),
        Chart(
            title="Suspended agents",
            text="How many agents are suspended, by who stopped them. Only a person releases.",
            queries=[Query(f'max by (by) (tripline_suspended_agents{{{JOB}, by!="other"}})', "by {{by}}")],
            unit="short",
            draw="steps",
        ),
        Chart(
            title="Changes of control",
            text="Agents that were stopped, held, slowed down or released, by the state they came into.",
            queries=[Query(new("tripline_control_changes_total", "state"), "{{state}}")],
            unit="short",
            draw="bars",
            nothing="none",
            colours={"suspended": "red", "held": "orange", "throttled": "yellow", "active": "green"},
        ),
        Ranking(
            title="Records written before a stop (p99)",
            text="For stops by a detector in the time shown: how many distinct records the agent had written in the "
            "burst. The figure that says whether stops come in time; 100 and more fires an alert.",
            query=Query(
                f"histogram_quantile(0.99, sum by (detector, le) "
                f"(increase(tripline_wrong_records_before_stop_bucket{{{JOB}}}[$__range]))) >= 0",
                "{{detector}}",
            ),
            unit="short",
            nothing="no stops",
            limits={20: WARNING, 100: BAD},
        ),
        Chart(
            title="False stops against the budget",
            text="Stops that people called wrong, by detector, beside what the budget allows all of them for the "
            "agent-months of its window. A stop that nobody judged counts as right.",
            queries=[
                Query(
                    f'max by (detector) (tripline_stops_called_wrong{{{JOB}, detector!="other"}}) > 0', "{{detector}}"
                ),
                Query(
                    f"max by (job) (sum by (job, instance) (tripline_false_stops_allowed{{{JOB}}}))",
                    "allowed ({{job}})",
                ),
            ],
            unit="short",
            draw="steps",
        ),
        Chart(
            title="Policy that is not in force",
            text="Mistakes in the policy's files, or lines that give more than the version in force and wait for two "
            "people. The version before decides meanwhile; `tripline policy status` names them.",
            queries=[Query(f'max by (why) (tripline_policy_unused{{{JOB}, why!="other"}}) > 0', "{{why}}")],
            unit="short",
            draw="steps",
            nothing="in force as written",
        ),
        Chart(
            title="Widened by two people",
            text="Mutes, expectations and a wider policy that hold now. Each took two people and ends by itself; which "
            "ones is in the console.",
            queries=[Query(f'max by (kind) (tripline_widenings{{{JOB}, kind!="other"}})', "{{kind}}")],
            unit="short",
            draw="steps",
        ),
        Chart(
            title="Deals at risk",
            text="Open deals by band of risk.",
            queries=[Query(f'max by (band) (tripline_deals_at_risk{{{JOB}, band!="other"}})', "{{band}}")],
            unit="short",
            draw="stack",
            colours={"low": "light-purple", "watch": "purple", "high": "dark-purple"},
        ),
        Chart(
            title="Model of deals",
            text="Log-loss of losses within 14 days, as `tripline deals health --tell` found last: the model's line "
            "above the scorecard's means that the scorecard would have done better.",
            queries=[Query(f'max by (by) (tripline_deal_model_log_loss{{{JOB}, by!="other"}} > 0)', "{{by}}")],
            unit="short",
            draw="steps",
            nothing="not looked at",
        ),
        Chart(
            title="Calibration and drift of the model",
            text="Calibration error of the model, and the largest population stability index of a feature: from .25 on "
            "deals are not what they were when it learned.",
            queries=[
                Query(f'max(tripline_deal_model_calibration_error{{{JOB}, by="model"}})', "calibration error"),
                Query(f"max(tripline_deal_model_drift{{{JOB}}})", "drift"),
            ],
            unit="short",
            draw="steps",
        ),
        Chart(
            title="Alerts to managers",
            text="Deals that managers were alerted to, by kind. A deal is not alerted again for a week.",
            queries=[Query(new("tripline_alerts_total", "kind"), "{{kind}}")],
            unit="short",
            draw="bars",
            nothing="none",
        ),
        Chart(
            title="What managers say of alerts",
            text="Alerts of the last 90 days that people judged, by their last word: useful, known before, or wrong.",
            queries=[Query(f'max by (verdict) (tripline_alerts_judged{{{JOB}, verdict!="other"}})', "{{verdict}}")],
            unit="short",
            draw="stack",
            colours={"useful": "green", "known": "blue", "wrong": "orange"},
        ),
    ],
)

GATE = Row(
    "Gate",
    [
        Chart(
            title="Gate answers",
            text="Checks a second, by answer: allow, hold (a person must approve first) or deny.",
            queries=[
                Query(
                    "sum by (decision) "
                    f'(rate(tripline_gate_decisions_total{{{JOB}, decision!="other"}}[$__rate_interval]))',
                    "{{decision}}",
                )
            ],
            unit="reqps",
            draw="stack",
            colours={"allow": "green", "hold": "orange", "deny": "red"},
        ),
        Chart(
            title="Why not allowed",
            text="Checks that were denied or held, by the rule that decided. suspended and stop_all are stops; "
            "not_available and control_unknown mean that nothing could be decided; others are limits of the "
            "agent.",
            queries=[
                Query(
                    "sum by (decision, rule) "
                    f'(increase(tripline_gate_decisions_total{{{JOB}, decision!="allow"}}[$__rate_interval])) > 0',
                    "{{decision}}: {{rule}}",
                )
            ],
            unit="short",
            draw="bars",
            nothing="none",
        ),
        Chart(
            title="Outside the gate",
            text="Changes in the CRM by agents' identities: leaked after a stop, in flight when it came, or shadow "
            "writes without any decision of the gate. The CRM's change feed must be connected.",
            queries=[Query(new("tripline_outside_writes_total", "kind"), "{{kind}}")],
            unit="short",
            draw="bars",
            nothing="none",
            colours={"leaked": "red", "shadow": "orange", "in_flight": "blue"},
        ),
        Chart(
            title="Credentials taken away",
            text="Credentials of agents that were to be taken away in the CRM, by outcome: failed ones still work. The "
            "agent's page says why.",
            queries=[Query(new("tripline_revocations_total", "outcome"), "{{outcome}}")],
            unit="short",
            draw="bars",
            nothing="none",
            colours={"failed": "red", "done": "blue"},
        ),
        Chart(
            title="Pending effects cancelled",
            text="What stopped agents had set up (sequences, meetings, mail, automation) and was to be cancelled in "
            "the CRM, by outcome. What was not cancelled may still happen: the agent's page says what, and why.",
            queries=[Query(new("tripline_cancellations_total", "outcome"), "{{outcome}}")],
            unit="short",
            draw="bars",
            nothing="none",
            colours={"cancelled": "blue", "refused": "red", "gave_up": "red", "impossible": "orange"},
        ),
        Chart(
            title="Waiting for a person",
            text="Approvals that wait. Unanswered they mean no, after gate.approval_minutes (30).",
            queries=[Query(f"max by (job) (tripline_approvals_waiting{{{JOB}}})", "{{job}}")],
            unit="short",
            draw="steps",
        ),
        Chart(
            title="Approvals",
            text="What became of approvals: asked for, answered by a person, expired without an answer, used by the "
            "agent or left unused. Many that expire mean that nobody has time to answer, or that agents ask too much.",
            queries=[Query(new("tripline_approvals_total", "outcome"), "{{outcome}}")],
            unit="short",
            draw="bars",
            nothing="none",
            colours={"approved": "green", "edited": "green", "used": "blue", "refused": "red", "expired": "orange"},
        ),
        Chart(
            title="Gate latency",
            text="From a check's receipt to its answer, which is durable by then. Agents wait for it. Should stay "
            "below 50 ms (p99); after 2 s a check is denied.",
            queries=[
                Query(quantile(0.99, "tripline_gate_check_seconds"), "p99 {{job}}"),
                Query(quantile(0.5, "tripline_gate_check_seconds"), "p50 {{job}}"),
            ],
            unit="s",
            limit=0.05,
        ),
        Chart(
            title="HTTP proxies",
            text="Requests of agents to the proxies that hold the CRM's credential, by answer. Denied as not_parsed: "
            "nobody could tell what the request does.",
            queries=[Query(new("tripline_proxy_requests_total", "answer"), "{{answer}}")],
            unit="short",
            draw="bars",
            nothing="no proxy, or no requests",
            colours={"passed": "green", "crm_failed": "red", "not_parsed": "orange"},
        ),
        Chart(
            title="Latency of the HTTP proxies",
            text="From a request to its answer, the gate's and the CRM's time included.",
            queries=[
                Query(quantile(0.99, "tripline_proxy_request_seconds"), "p99 {{job}}"),
                Query(quantile(0.5, "tripline_proxy_request_seconds"), "p50 {{job}}"),
            ],
            unit="s",
            nothing="no proxy, or no requests",
        ),
    ],
)

PEOPLE = Row(
    "What was lost on the way, and who was told",
    [
        Chart(
            title="Dead letters",
            text="Records that could not be read, by reason. They are kept, and can be tried again: tripline dead-"
            "letters.",
            queries=[Query(new("tripline_dead_letters_total", "reason"), "{{reason}}")],
            unit="short",
            draw="bars",
            nothing="none",
        ),
        Chart(
            title="Notifications",
            text="Attempts to notify people, by target and outcome. One that failed is tried again.",
            queries=[Query(new("tripline_notifications_total", "channel, outcome"), "{{channel}}: {{outcome}}")],
            unit="short",
            draw="bars",
            nothing="none",
        ),
        Chart(
            title="Time to notify",
            text="From a notice that is ready to its acceptance by a target; attempts that failed before are in it.",
            queries=[
                Query(quantile(0.99, "tripline_notification_seconds"), "p99 {{job}}"),
                Query(quantile(0.5, "tripline_notification_seconds"), "p50 {{job}}"),
            ],
            unit="s",
        ),
    ],
)

BOARD = Board(
    uid="tripline-overview",
    title="Tripline: overview",
    text="What flows, what is found and stopped, what the gate answers, who is told. Agents and deals by name are in"
    " the console.",
    rows=[NOW, STREAM, AGENTS, GATE, PEOPLE],
)
