"""Synthetic street scenes: what stands where, and how it is drawn."""
