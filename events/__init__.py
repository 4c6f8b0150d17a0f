"""Typed records, the CloudEvents codec, adapters from foreign formats, JSON Schema export."""
