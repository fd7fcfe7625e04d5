"""A recipe and pictures in, a checkpoint out."""
