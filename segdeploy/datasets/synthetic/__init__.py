"""Synthetic street scenes: generation of the objects, and their rendering."""
