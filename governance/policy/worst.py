"""What holds whatever a policy says: exclusions from autonomy, kinds of fields, and what is unknown being the worst."""

from __future__ import annotations

from typing import Final

from governance.policy.shape import FieldKind, Mode, Radius, Reversibility, Verdict

VERDICTS: Final[tuple[Verdict, ...]] = ("autonomous", "approval", "human_only")
"""From the most to the least an agent may; of several, the last one holds."""
MODES: Final[tuple[Mode, ...]] = ("active", "approval", "read_only", "off")
RADII: Final[tuple[Radius, ...]] = ("record", "downstream", "external")
REVERSIBILITIES: Final[tuple[Reversibility, ...]] = ("reversible", "irreversible")
VOLUMES: Final = ("one", "few", "many")

SETS_FIELDS = frozenset({"record.create", "record.update", "record.enrich", "quote.create", "tool.call"})
"""Actions that change fields: when they do not say which, they may be any. So may those of your own."""
MAKES_NEW = frozenset({"record.create", "quote.create"})
"""What is made gets an owner; that takes it from nobody."""

_DEAL_VALUES = (
    "amount", "amount_in_home_currency", "deal_value", "dealvalue", "expectedrevenue", "estimatedvalue", "value",
    "hs_acv", "hs_arr", "hs_mrr", "hs_tcv", "totalprice", "annualcontractvalue", "arr", "mrr", "acv", "tcv",
)  # fmt: skip
_PRICES = (
    "discount", "discount_percent", "discountpercent", "discountpercentage", "hs_discount_percentage", "price",
    "unitprice", "listprice", "saleprice", "priceoverride", "discount_approved", "approval_status", "approvalstatus",
)  # fmt: skip
_OWNERS = ("owner", "owner_id", "ownerid", "hubspot_owner_id")
_SEGMENTS = frozenset(("segment", "customer_segment", "customersegment", "market_segment", "marketsegment"))
_KINDS: dict[str, FieldKind] = {
    **dict.fromkeys(_DEAL_VALUES, "deal_value"),
    **dict.fromkeys(_PRICES, "price"),
    **dict.fromkeys(_OWNERS, "owner"),
}


def kind_of_field(field: str) -> FieldKind:
    """What a field is by its name, in any spelling and as a custom field (``__c``); a policy can only add to it."""
    return _KINDS.get(field.casefold().removesuffix("__c"), "plain")


def belonging_of_field(field: str) -> str:
    """What a field says of where a record belongs, by its name in any spelling: "owner", "segment", or ""."""
    if kind_of_field(field) == "owner":
        return "owner"
    return "segment" if field.casefold().removesuffix("__c") in _SEGMENTS else ""


def shown(name: str) -> str:
    """A name that an agent chose, short and printable, as a sentence may hold it."""
    return "".join(char if char.isprintable() else "\ufffd" for char in name[:100]) + ("…" if len(name) > 100 else "")


def kind_of_object(object_: str) -> str:
    """What a kind of record is, in any spelling: "contract", or "plain"."""
    return "contract" if object_.casefold().removesuffix("__c").rstrip("s") == "contract" else "plain"


def observed_level(
    trigger: str | None, ref: str, is_authorized: bool, is_approved: bool, registered: frozenset[str]
) -> int:
    """The level at which somebody acted, 1 to 4, from what is known of it.

    1: a person asked (``prompt``) whom we know. 2: a rule, schedule or event that the policy registers set it off.
    3: a person approved it. 4: none of these, or not known.
    """
    if trigger == "prompt" and is_authorized:
        return 1
    if trigger in ("rule", "schedule", "event") and ref in registered:
        return 2
    return 3 if is_approved else 4
