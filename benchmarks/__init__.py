"""Artifacts in, numbers and the machine they were measured on out."""
