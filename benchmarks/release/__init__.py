"""Release of the bundled models."""
