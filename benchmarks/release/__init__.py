"""What makes the bundled models."""
