"""Recipes for networks and data sets, as TOML."""
