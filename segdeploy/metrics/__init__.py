"""Numbers about masks."""
