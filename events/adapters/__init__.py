"""From foreign formats to our events: pure functions from lines to events, refusals and findings about the data."""
