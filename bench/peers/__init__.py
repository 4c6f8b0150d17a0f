"""Other ways to run the same logic on the same topic, each configured at its best; see ``bench.engine``."""
