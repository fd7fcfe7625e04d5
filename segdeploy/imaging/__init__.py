"""Arrays to arrays: images, masks, logits. Knows no network."""
