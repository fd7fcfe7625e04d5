"""What does the work of a server: models, workers, limits, keys and figures; knows no HTTP."""
