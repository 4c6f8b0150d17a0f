"""Read-only queries over the store, for pages and GET endpoints. Start at ``Reader``."""

from storage.read.actions import BadCursor
from storage.read.reader import Reader
from storage.read.store import ReadTookTooLong

__all__ = ["BadCursor", "ReadTookTooLong", "Reader"]
