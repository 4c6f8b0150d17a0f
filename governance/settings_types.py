"""The shape of the settings: one frozen struct a section; each field says what it is for, its unit and its range.

The descriptions are the documentation: ``docs/settings.md`` is made from them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from msgspec import Meta, Struct, field

from governance.settings_containment import ContainmentSettings, CredentialSettings, CrmSettings

MIB = 1024 * 1024

Name = Annotated[str, Meta(min_length=1, max_length=256)]
Budget = Annotated[int, Meta(ge=0, le=10_000_000)]


class Server(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where Tripline listens, where it keeps its data, and how large a message may be."""

    host: Annotated[
        str,
        Meta(
            min_length=1,
            description="Address to listen on. Anything but loopback switches tokens on (`require_tokens`).",
        ),
    ] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535, description="TCP port; 0 takes a free one.")] = 8787
    data_dir: Annotated[
        str, Meta(min_length=1, description="Folder of the store, made when missing; relative to the working folder.")
    ] = ".tripline"
    allowed_hosts: Annotated[
        list[Name],
        Meta(description="Host names (`name` or `name:port`) that browsers may use for the console, besides loopback."),
    ] = []
    max_body_bytes: Annotated[
        int, Meta(ge=1024, le=1024 * MIB, description="Largest body of one request, in bytes.")
    ] = 8 * MIB
    max_event_bytes: Annotated[
        int, Meta(ge=1024, le=64 * MIB, description="Largest single event, in bytes; a larger one is a dead letter.")
    ] = MIB
    require_tokens: Annotated[
        Literal["auto", "always", "never"],
        Meta(description="Whether machines need a token: `auto` asks for one unless `host` is loopback."),
    ] = "auto"


class Engine(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the engine keeps time and state, and when it pushes back."""

    tick_secs: Annotated[
        int, Meta(ge=1, le=60, description="Seconds between ticks; every timer of the engine fires at a tick.")
    ] = 10
    snapshot_secs: Annotated[
        int, Meta(ge=1, le=3600, description="Changed state is saved at least this often, in seconds.")
    ] = 10
    snapshot_events: Annotated[
        int, Meta(ge=1, le=10_000_000, description="… and after this many events, whichever comes first.")
    ] = 5_000
    stale_request_hours: Annotated[
        int,
        Meta(ge=1, le=720, description="A detector's request older than this (log time) is recorded, not acted on."),
    ] = 24
    retention_days: Annotated[
        int, Meta(ge=3, le=3650, description="Days that the event log is kept; at least the 48 h the pages show.")
    ] = 90
    max_unjudged_ms: Annotated[
        int,
        Meta(
            ge=10, le=60_000, description="Producers are told to wait (429) when the oldest unjudged record is older."
        ),
    ] = 250
    max_wal_bytes: Annotated[
        int, Meta(ge=MIB, description="… or when the store's write-ahead log is larger, in bytes.")
    ] = 256 * MIB
    min_free_bytes: Annotated[int, Meta(ge=0, description="… or when less disk than this is free, in bytes.")] = (
        256 * MIB
    )


class AgentSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one agent is, what it may do, and how much of it. The table's name is the agent's id."""

    owner: Annotated[
        str, Meta(max_length=256, description="Who answers for it: a key of `people`, else a name. May not release it.")
    ] = ""
    role: Annotated[
        str, Meta(max_length=256, description="What it does, in a few words. Agents of the same role are peers.")
    ] = ""
    versions: Annotated[
        list[Name],
        Meta(
            max_length=64,
            description="Its versions, as its events name them in `agent_version`, the oldest first. When it first "
            "acts as a later one than the first, it is judged as a new agent is, at most once in four weeks. Append, "
            "never take away.",
        ),
    ] = []
    level: Annotated[
        int,
        Meta(ge=1, le=4, description="Declared level: 1 reactive, 2 triggered, 3 proactive, 4 autonomous."),
    ] = 1
    actions: Annotated[
        list[Name],
        Meta(description="What it may do: `noun.verb`, or `noun.*` for all of a noun. Empty: nothing."),
    ] = []
    objects: Annotated[
        list[Name], Meta(description="Record types that it may touch, as the CRM names them; `*` is all.")
    ] = field(default_factory=lambda: ["*"])
    irreversible: Annotated[
        list[Name],
        Meta(description="What it may do although nobody can undo it; `first_contact`: first messages to people."),
    ] = []
    max_records_per_operation: Annotated[
        int, Meta(ge=0, le=200, description="Records that one operation may touch.")
    ] = 50
    max_recipients_per_operation: Annotated[
        int, Meta(ge=0, le=200, description="People that one operation may reach.")
    ] = 50
    records_per_10_min: Annotated[Budget, Meta(description="Distinct records that it may write in any 10 minutes.")] = (
        150
    )
    records_per_day: Annotated[Budget, Meta(description="Distinct records that it may write in any 24 hours.")] = 1_000
    contacts_per_10_min: Annotated[
        Budget, Meta(description="Distinct people outside that it may reach in any 10 minutes.")
    ] = 10
    contacts_per_day: Annotated[
        Budget, Meta(description="Distinct people outside that it may reach in any 24 hours.")
    ] = 25
    reads_per_10_min: Annotated[
        Budget, Meta(description="Records that it may read through the gate in any 10 minutes.")
    ] = 2_000
    reads_per_day: Annotated[Budget, Meta(description="Records that it may read through the gate in any 24 hours.")] = (
        20_000
    )
    lease_actions: Annotated[
        int,
        Meta(ge=0, le=10_000, description="Operations that one lease lets it do unasked; 0: it asks for each one."),
    ] = 0
    lease_records: Annotated[
        int, Meta(ge=0, le=100_000, description="Records that one lease lets it touch; 0: no leases.")
    ] = 0
    crm_user: Annotated[
        str,
        Meta(
            max_length=256,
            description="The user in the CRM as whom it writes, as the CRM's feed names the actor, such as "
            "`user:005B9`. Needed where the feed does not say itself that an agent did it.",
        ),
    ] = ""
    parent: Annotated[
        str,
        Meta(
            max_length=256,
            description="The agent above it, which set it up: it may do no more than that one, and is stopped with it.",
        ),
    ] = ""
    credential: Annotated[
        str,
        Meta(
            max_length=256,
            description="A name for what it logs into the CRM with; agents with the same one are stopped together.",
        ),
    ] = ""
    is_proxied: Annotated[
        bool,
        Meta(
            description="Its only way into the CRM is a proxy of Tripline's, which holds the credential. Nobody can "
            "see that from here: writes past the proxy take the grade *Enforced* away."
        ),
    ] = False
    notify: Annotated[
        list[Name],
        Meta(
            description="Names of notification targets that hear of this agent; empty: every target that "
            "wants the kind."
        ),
    ] = []


class Person(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person who may be named as owner, manager or authorizer, or who logs in."""

    name: Annotated[str, Meta(max_length=256, description="The name as pages show it.")] = ""
    email: Annotated[str, Meta(max_length=320, description="Mail address.")] = ""
    role: Annotated[
        Literal["viewer", "manager", "operator", "admin"],
        Meta(
            description="`viewer` reads; `manager` also gives feedback on deals; `operator` stops and "
            "releases; `admin` all."
        ),
    ] = "viewer"
    crm_user: Annotated[
        str,
        Meta(
            max_length=256,
            description="Id in the CRM, as `authorized_by` and `owner_id` name it, such as `user:005B2`.",
        ),
    ] = ""
    is_active: Annotated[bool, Meta(description="An inactive person authorizes nothing.")] = True
    time_zone: Annotated[
        str,
        Meta(
            max_length=64,
            description="IANA zone of a manager's quiet hours and digests; empty: `deals.time_zone`.",
        ),
    ] = ""


class GateSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the gate treats what the agents' tables do not name."""

    unknown_agents: Annotated[
        Literal["deny", "allow"],
        Meta(
            description="An agent that has no table: `deny` prints the lines that would allow it; `allow` "
            "uses the defaults."
        ),
    ] = "deny"
    unknown_authorizers: Annotated[
        Literal["deny", "allow"],
        Meta(description="An `authorized_by` that is no active person of `people`; `deny` also needs one to be named."),
    ] = "allow"
    first_contact: Annotated[
        Literal["hold", "deny"],
        Meta(description="A first message to somebody: `hold` waits for a person, `deny` refuses."),
    ] = "hold"
    max_records_per_request: Annotated[
        int, Meta(ge=1, le=200, description="Rows one request may carry, reads too; no setting goes above 200.")
    ] = 200
    throttle_divisor: Annotated[
        int, Meta(ge=2, le=1000, description="A throttled agent's budgets are divided by this.")
    ] = 10
    other_actions: Annotated[
        list[Name],
        Meta(
            description="Action names of your own that agents' tables may use; each counts as a write of the "
            "highest risk."
        ),
    ] = []
    remember_hours: Annotated[
        int,
        Meta(ge=1, le=168, description="A request id is remembered this long: the same content gets the same answer."),
    ] = 24
    approval_minutes: Annotated[
        int,
        Meta(
            ge=1,
            le=1440,
            description="What waits for a person waits this long, unanswered means no; then an approval can be used "
            "this long. A policy's `expires_minutes` counts where it is less.",
        ),
    ] = 30
    stop_binds: Annotated[
        list[Literal["parent", "credential", "owner"]],
        Meta(
            description="Whom the gate refuses besides an agent that is stopped: those below it (`parent`), with the "
            "same `credential`, of the same `owner`."
        ),
    ] = field(default_factory=lambda: ["parent", "credential"])
    watch: Annotated[
        Literal["repeated", "always", "never"],
        Meta(
            description="After which releases an agent is throttled and watched before it is active: those after its "
            "second trip in 30 days and later ones, or all, or none."
        ),
    ] = "repeated"
    watch_minutes: Annotated[
        int,
        Meta(
            ge=1,
            le=10_080,
            description="How long it is watched; a detector's request counts double then: a throttle as a hold, a "
            "hold as a suspension.",
        ),
    ] = 30


class LeaseSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long leases are, and what their holders owe. Which agents have any: `lease_actions` of their tables."""

    ttl_secs: Annotated[
        float, Meta(ge=0.2, le=60, description="A lease ends so long after its grant or renewal, in seconds.")
    ] = 5.0
    report_ms: Annotated[
        int,
        Meta(ge=10, le=10_000, description="Holders report this often, and hear of a stop at the latest then."),
    ] = 250
    outcome_secs: Annotated[
        float,
        Meta(
            gt=0,
            le=3_600,
            description="What was done under a lease must be judged, and its outcome reported, within this many "
            "seconds; else the agent's writes are refused until it is.",
        ),
    ] = 30.0
    most_open: Annotated[int, Meta(ge=1, le=100, description="Leases that one agent may have at a time.")] = 8


class StopBudget(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often detectors may stop an agent that does no wrong, and how that is shared out."""

    false_stops_per_agent_month: Annotated[
        float, Meta(gt=0, le=1, description="Stops called wrong by a person that are accepted, per agent and month.")
    ] = 0.01
    shares: Annotated[
        dict[str, Annotated[float, Meta(ge=0, le=1)]],
        Meta(description="Share of it by detector; what is left goes to the others that enforce, in equal parts."),
    ] = {}
    window_days: Annotated[int, Meta(ge=1, le=3_650, description="The ledger looks back over so many days.")] = 90


class PolicySettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The autonomy policy, see policy.md. It only takes away from what `[agents.NAME]` and `[gate]` allow."""

    file: Annotated[
        str,
        Meta(
            max_length=4096,
            description="Its main file, relative to the working folder. Empty: no policy, the agents' tables decide. "
            "With mistakes, nothing starts.",
        ),
    ] = ""
    poll_secs: Annotated[
        float,
        Meta(
            ge=0.05,
            le=3600,
            description="How often its files are looked at; a new version with mistakes leaves the old one in force.",
        ),
    ] = 2.0


class DealStage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A stage of your sales process, in order."""

    name: Annotated[Name, Meta(description="The name as the CRM writes it.")]
    norm_days: Annotated[float, Meta(gt=0, le=3650, description="How many days a deal usually stays in it.")] = 14.0
    is_won: Annotated[bool, Meta(description="A deal that comes here is won.")] = False
    is_lost: Annotated[bool, Meta(description="A deal that comes here is lost.")] = False


class Deals(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How deals are read and shown."""

    currency: Annotated[
        str, Meta(pattern="^[A-Z]{3}$", description="Currency of an amount that names none (ISO 4217).")
    ] = "EUR"
    stages: Annotated[
        list[DealStage], Meta(description="The stages in their order; empty: learned as they are seen, 14 days each.")
    ] = []
    link: Annotated[
        str,
        Meta(max_length=2048, description="Address of a deal in the CRM; `{deal_id}` is filled in. Empty: no link."),
    ] = ""
    managers: Annotated[
        dict[str, Name],
        Meta(description="Owner id → manager id, used where a deal does not name its manager."),
    ] = {}
    quota: Annotated[
        dict[str, Annotated[int, Meta(ge=1)]],
        Meta(description="Manager id → quota of a calendar quarter, in whole units of `currency`."),
    ] = {}
    time_zone: Annotated[str, Meta(min_length=1, description="IANA zone in which dates such as a close date end.")] = (
        "UTC"
    )
    silent_days: Annotated[
        int, Meta(ge=1, le=365, description="An open deal without any touch for this many days is called silent.")
    ] = 14
    cooldown_days: Annotated[
        int, Meta(ge=0, le=365, description="A deal is not alerted again within this many days.")
    ] = 7
    look_weekly: Annotated[
        bool,
        Meta(
            description="Look at the pipeline and at the model that scores each Monday at 08:00, and tell what needs "
            "somebody."
        ),
    ] = True
    auto_promote: Annotated[
        bool,
        Meta(
            description="The weekly look also changes the model that scores, where matured labels say that another one "
            "does better; it can be taken back."
        ),
    ] = False


NotificationKind = Literal["control", "approval", "finding", "bulk", "external", "alert", "pipeline", "fault"]


class Target(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A place that notifications go to."""

    name: Annotated[Name, Meta(description="How other settings and the logs call it; the address is never logged.")]
    url: Annotated[
        str,
        Meta(
            min_length=3,
            max_length=4096,
            description="An apprise address, such as `slack://…`, `mailtos://…`, `jsons://…`.",
        ),
    ]
    kinds: Annotated[
        list[NotificationKind],
        Meta(
            description="`control` stops and releases, `approval` what waits for one, `finding` warnings, "
            "`bulk` many records, `external` messages sent out, `alert` deals, `pipeline` what goes wrong "
            "with the pipeline of deals and the model that scores them, `fault` Tripline's own troubles."
        ),
    ] = field(default_factory=lambda: list(get_args(NotificationKind)))
    fallback_of: Annotated[
        str, Meta(description="Name of the target that this one stands in for when it has not accepted in time.")
    ] = ""


_CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9]"
TimeOfDay = Annotated[str, Meta(pattern=f"^{_CLOCK}$")]


class Quiet(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When nobody is told of deals and pipeline: what comes then waits for the next digest. Stops never wait."""

    since: Annotated[
        str, Meta(pattern=f"^({_CLOCK})?$", description="`HH:MM`, where quiet hours begin; empty: none.")
    ] = ""
    until: Annotated[
        str, Meta(pattern=f"^({_CLOCK})?$", description="`HH:MM`, where they end; may be on the next day.")
    ] = ""
    days: Annotated[
        list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]],
        Meta(description="Days that are quiet as a whole, such as `sat`."),
    ] = []
    digests: Annotated[
        list[TimeOfDay],
        Meta(description="`HH:MM` at which what waited is told, in one message a manager; empty: at `until`."),
    ] = []
    digest_only: Annotated[bool, Meta(description="Tell of deals in digests alone, outside of quiet hours too.")] = (
        False
    )


class Notifications(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is told, how fast, and how often at most."""

    targets: Annotated[list[Target], Meta(description="Where notifications go; empty: only the log.")] = []
    log: Annotated[bool, Meta(description="Also write each notification into the structured log.")] = True
    accept_secs: Annotated[
        float,
        Meta(
            gt=0, le=300, description="A target that has not accepted within this many seconds gets its fallback tried."
        ),
    ] = 5.0
    coalesce_minutes: Annotated[
        int,
        Meta(
            ge=0,
            le=1440,
            description="At most one message per agent and kind in this time; the rest are counted. Stops are "
            "never held back.",
        ),
    ] = 10
    max_attempts: Annotated[
        int,
        Meta(ge=1, le=1000, description="Attempts at one target before a message is given up and counted as failed."),
    ] = 12
    retry_secs: Annotated[
        float, Meta(gt=0, le=3600, description="Wait after the first failure; doubled each time, at most an hour.")
    ] = 2.0


class Auth(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may log in, and for how long."""

    session_hours: Annotated[float, Meta(gt=0, le=720, description="Hours until a person must log in again.")] = 12.0
    login_link_minutes: Annotated[
        float, Meta(gt=0, le=1440, description="Minutes that a one-time login link works.")
    ] = 15.0
    max_failed_logins: Annotated[
        int,
        Meta(ge=1, le=1000, description="Failed logins of one account or address in 15 minutes before it must wait."),
    ] = 10


class Kafka(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where Kafka is, and how Tripline's topics are laid out there. The standalone runtime needs none of it."""

    bootstrap: Annotated[str, Meta(description="Brokers to ask first: host:port, with commas between.")] = (
        "127.0.0.1:9092"
    )
    prefix: Annotated[
        str,
        Meta(
            pattern=r"^[a-zA-Z0-9._-]*$",
            max_length=100,
            description='Stands before each topic\'s name, such as "acme.", where several Triplines share a cluster.',
        ),
    ] = ""
    partitions: Annotated[
        int, Meta(ge=1, le=1000, description="Partitions of each topic; they can't be changed later without a move.")
    ] = 12
    replication: Annotated[int, Meta(ge=1, le=10, description="Copies of each partition; 1 only for trying out.")] = 3
    min_in_sync: Annotated[
        int, Meta(ge=1, le=10, description="Copies that must have a record before it counts as written.")
    ] = 2
    input_days: Annotated[
        int, Meta(ge=3, le=3650, description="Days that input topics are kept; at least the 48 h the pages show.")
    ] = 30
    output_days: Annotated[
        int, Meta(ge=1, le=3650, description="Days that findings, alerts and dead letters stay.")
    ] = 90
    security: Annotated[
        Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], Meta(description="How brokers are spoken to.")
    ] = "PLAINTEXT"
    ca_file: Annotated[str, Meta(description="Certificates that sign the brokers' ones; empty: the system's.")] = ""
    cert_file: Annotated[str, Meta(description="Own certificate, where brokers ask for one.")] = ""
    key_file: Annotated[str, Meta(description="Its private key.")] = ""
    sasl_mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"], Meta(description="How to log in, with SASL.")
    ] = "SCRAM-SHA-512"
    sasl_user: Annotated[str, Meta(description="Who logs in.")] = ""
    sasl_password: Annotated[str, Meta(description="The password; better as a variable than in a file.")] = ""


class Worker(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a worker tells how it is doing."""

    host: Annotated[str, Meta(min_length=1, description="Address of `/metrics`, `/healthz` and `/readyz`.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Meta(ge=0, le=65_535, description="TCP port; 0 takes a free one and logs it.")] = 8788
    stuck_secs: Annotated[
        float,
        Meta(gt=0, le=3_600, description="A partition with unjudged records that stands still so long is stuck."),
    ] = 30.0
    give_up_secs: Annotated[
        float,
        Meta(gt=0, le=86_400, description="A worker with a partition stuck so long ends: others take over."),
    ] = 180.0


class StoreSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where consoles on Kafka keep what they know. `tripline standalone` needs none: it uses `server.data_dir`."""

    url: Annotated[
        str,
        Meta(
            description="A database on PostgreSQL 13 or newer: `postgresql://user@host:port/database`; parameters of "
            "libpq, such as `sslmode`, after `?`. Empty: SQLite in `server.data_dir`."
        ),
    ] = ""
    password: Annotated[str, Meta(description="Its password; better as a variable than in a file.")] = ""


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set, in one place. Made by ``governance.settings.parse_settings``."""

    server: Annotated[Server, Meta(description="Where Tripline listens and keeps its data.")] = Server()
    engine: Annotated[Engine, Meta(description="Time, state and back-pressure.")] = Engine()
    detectors: Annotated[
        dict[str, dict[str, Any]],
        Meta(
            description="One table a detector: `mode` (`shadow`, `warn`, `enforce`), `agents` and `roles` (modes of "
            "some), and the detector's own options."
        ),
    ] = {}
    agents: Annotated[dict[str, AgentSettings], Meta(description="One table an agent.")] = {}
    people: Annotated[dict[str, Person], Meta(description="One table a person.")] = {}
    gate: Annotated[GateSettings, Meta(description="What the gate does with the unnamed.")] = GateSettings()
    budget: Annotated[StopBudget, Meta(description="The budget of false stops.")] = StopBudget()
    leases: Annotated[LeaseSettings, Meta(description="Leases of the gate.")] = LeaseSettings()
    policy: Annotated[PolicySettings, Meta(description="The autonomy policy.")] = PolicySettings()
    containment: Annotated[ContainmentSettings, Meta(description="Whether stops hold.")] = ContainmentSettings()
    crm: Annotated[dict[str, CrmSettings], Meta(description="One table a CRM.")] = {}
    credentials: Annotated[dict[str, CredentialSettings], Meta(description="One table a credential.")] = {}
    deals: Annotated[Deals, Meta(description="Deals and their stages.")] = Deals()
    notifications: Annotated[Notifications, Meta(description="Who is told.")] = Notifications()
    quiet: Annotated[Quiet, Meta(description="Quiet hours and digests of alerts about deals.")] = Quiet()
    auth: Annotated[Auth, Meta(description="Logging in.")] = Auth()
    kafka: Annotated[Kafka, Meta(description="Kafka, for workers.")] = Kafka()
    worker: Annotated[Worker, Meta(description="Health and metrics of a worker.")] = Worker()
    store: Annotated[StoreSettings, Meta(description="The store, for consoles.")] = StoreSettings()
