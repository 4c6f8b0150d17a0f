"""Settings of what is watched after a stop: the CRM's feed, and writes that no gate let pass."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct


class ContainmentSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the CRM's change feed is held against what the gate let pass, see containment.md."""

    grace_secs: Annotated[
        float,
        Meta(
            ge=1,
            le=3_600,
            description="A change in the CRM and the gate's decision on it may lie so far apart, in seconds; so long "
            "is also waited for the decision.",
        ),
    ] = 60.0
    shadow_writes: Annotated[
        Literal["configured", "all", "off"],
        Meta(
            description="Whose changes without a decision of the gate are a finding: those of agents that have a "
            "table here, of every agent that the CRM's feed names, or nobody's."
        ),
    ] = "configured"
    revoke_on_leak: Annotated[
        bool,
        Meta(description="Take an agent's `credentials` away by itself, when an action leaks after its stop."),
    ] = False
    canary_secs: Annotated[
        float,
        Meta(
            ge=1,
            le=3_600,
            description="After a stop, while a feed has told of nothing, the canaries of `crm` are written this often.",
        ),
    ] = 30.0
    gate_answer_secs: Annotated[
        float,
        Meta(
            ge=3,
            le=3_600,
            description="A gate of which nothing was heard for so long is shown as not answering, in seconds.",
        ),
    ] = 10.0


class CrmSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A CRM that Tripline itself may reach: to take credentials away, and to see that its feed is alive."""

    kind: Annotated[Literal["salesforce", "hubspot"], Meta(description="Which CRM it is.")]
    url: Annotated[
        str,
        Meta(
            min_length=8,
            max_length=2048,
            description="Where it answers: `https://acme.my.salesforce.com`, `https://api.hubapi.com`.",
        ),
    ]
    system: Annotated[
        str, Meta(max_length=256, description="What its feed calls it in `system`; empty: the table's name.")
    ] = ""
    token: Annotated[str, Meta(description="Access token; better a variable, or `token_file`, than in a file.")] = ""
    token_file: Annotated[
        str, Meta(description="File with the access token, read anew at each use: whoever renews it writes it there.")
    ] = ""
    api_version: Annotated[
        str, Meta(pattern="^v[0-9]{2,3}[.]0$", description="Version of Salesforce's REST interface.")
    ] = "v62.0"
    cancel_on_stop: Annotated[
        bool,
        Meta(
            description="Cancel by itself what a stopped agent set up there, where the CRM documents a call for it; "
            "else when a person asks."
        ),
    ] = False
    canary_object: Annotated[
        str, Meta(max_length=256, description="Record type of the canary, such as `Task`, `contacts`.")
    ] = ""
    canary_record: Annotated[
        str,
        Meta(max_length=256, description="Record that is written after a stop, to see it come back in the feed."),
    ] = ""
    canary_field: Annotated[
        str, Meta(max_length=256, description="Text field of it that gets the time, for instance `Description`.")
    ] = ""


class CredentialSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A credential with which an agent reaches a CRM, and how it is taken away."""

    agent: Annotated[str, Meta(min_length=1, max_length=256, description="Whose it is: a table of `agents`.")]
    crm: Annotated[str, Meta(min_length=1, max_length=256, description="Where it holds: a table of `crm`.")]
    lever: Annotated[
        Literal["revoke_token", "freeze_user", "delete_refresh_token"],
        Meta(
            description="`revoke_token` (Salesforce: an access or refresh token), `freeze_user` (Salesforce), "
            "`delete_refresh_token` (HubSpot: access tokens given out before last up to 30 minutes more)."
        ),
    ]
    user: Annotated[str, Meta(max_length=18, description="For `freeze_user`: the user's id, `005…`.")] = ""
    token: Annotated[str, Meta(description="For the others: the token that the agent has.")] = ""
    token_file: Annotated[str, Meta(description="File that holds it, read anew at each use.")] = ""
