"""Cameras: sources that share the networks, their live views, zones and alerts."""
