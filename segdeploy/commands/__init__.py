"""The core's own commands: each parses, calls and prints."""
