"""A street as a small world: what stands where, and how it is drawn."""
