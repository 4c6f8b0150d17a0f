"""The console's side of Kafka and PostgreSQL: gate, control authority, publication. Several share one store."""
