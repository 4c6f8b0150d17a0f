"""The same engine on Kafka. Nothing else imports this package but the command line, when a command needs it."""
