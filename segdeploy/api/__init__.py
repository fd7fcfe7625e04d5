"""What Python programs use: a loaded network, its results, streams of them, and evaluation."""
