"""The autonomy policy: what each agent may do by itself, what needs an approval, and what is for people alone."""

from governance.policy.asks import Ask, Facts, Ruling, Step
from governance.policy.build import Loaded, PolicyError, load
from governance.policy.checks import Known
from governance.policy.decide import rule_on
from governance.policy.files import Unreadable
from governance.policy.model import Policy

__all__ = [
    "Ask",
    "Facts",
    "Known",
    "Loaded",
    "Policy",
    "PolicyError",
    "Ruling",
    "Step",
    "Unreadable",
    "load",
    "rule_on",
]
