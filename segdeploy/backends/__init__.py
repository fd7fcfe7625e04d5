"""Runtimes that run artifacts, one module each."""
