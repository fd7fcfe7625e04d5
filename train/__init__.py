"""A recipe and images in, a checkpoint out."""
