"""Recipes for networks and datasets, as TOML."""
