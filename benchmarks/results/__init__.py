"""Typed results, JSON in and out."""
