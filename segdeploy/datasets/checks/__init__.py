"""What can be wrong with a dataset, and its statistics."""
