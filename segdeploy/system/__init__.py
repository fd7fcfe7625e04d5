"""Operating system: files, threads, signals, machine. Knows no image."""
