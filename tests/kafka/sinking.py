"""Runs the sinks until it is killed: ``python -m tests.kafka.sinking``, settings by variables."""

from __future__ import annotations

import os
import sys
import time

from governance.settings import parse_settings
from storage.postgres import PgStore
from streams.kafka.sinks import Sinks


def main() -> None:
    settings = parse_settings(None, os.environ)
    sinks = Sinks(settings, PgStore(settings.store.url), lambda changes: None)
    sinks.start()
    while True:
        time.sleep(1)


if __name__ == "__main__":
    sys.exit(main())
