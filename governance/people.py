"""Finding a person of the settings by whatever the CRM or a setting calls them."""

from __future__ import annotations

from governance.settings_types import Person, Settings


def person_of(settings: Settings, who: str) -> Person | None:
    """The person of this key, CRM user (with or without ``user:``) or mail address; None when there is none."""
    known = settings.people.get(who)
    if known is not None or not who:
        return known
    bare = who.removeprefix("user:")
    return next(
        (one for one in settings.people.values() if who in (one.crm_user, one.email) or bare == one.crm_user), None
    )
