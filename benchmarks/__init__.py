"""Artifacts in, a report of measurements and their machine out."""
