"""Segment millions of inputs on many machines, by Ray: `segdeploy batch`."""
