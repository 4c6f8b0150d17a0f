"""The CRMs whose requests are read: by name, what tells an operation from a request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from console.proxy import hubspot, salesforce
from console.proxy.asked import Asked, Together
from console.proxy.reading import Call

Parse = Callable[[Call], Asked | Together]
"""The operation behind a request, or several. Raises NotParsed."""
CRMS: Final[Mapping[str, Parse]] = {salesforce.SYSTEM: salesforce.parse, hubspot.SYSTEM: hubspot.parse}
