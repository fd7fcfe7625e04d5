"""Adoption of networks of other projects: files, folders and weights get a model card."""
