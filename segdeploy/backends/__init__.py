"""What runs an artifact: one file a runtime."""
