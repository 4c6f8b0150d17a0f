"""What can go wrong with the store."""

from __future__ import annotations


class StoreError(Exception):
    """The store can't do what was asked; the message says why and what to do."""


class StoreUnavailable(StoreError):
    """The store could not be read or written just now: full disk, lock, input/output error. Try again later."""


class StoreRefused(StoreError):
    """The store does not take what it was given; trying again changes nothing, but other data are welcome."""


class StoreInUse(StoreError):
    """Another process is running on this store."""


class StoreMismatch(StoreError):
    """The store belongs to another engine or topic, or was written by a newer version."""
