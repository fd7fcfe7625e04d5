"""Measurement of rows, each in processes of its own."""
