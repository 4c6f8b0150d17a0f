"""``make fault-engine``: everything on Kafka is killed and stopped while it works; then nothing is lost or twice."""
