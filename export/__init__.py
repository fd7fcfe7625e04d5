"""A checkpoint in, a file for another runtime and proof of it out."""
