"""Read models from Kafka into the store on PostgreSQL: each record once, whichever console writes it."""

from streams.kafka.sinks.run import Sinks

__all__ = ["Sinks"]
