"""Agent behaviour: the protocol, the statistics that detectors share, then one file a detector."""
