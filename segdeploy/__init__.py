"""Semantic segmentation from training to a running camera."""

from pathlib import Path

__version__ = "0.1.0"

# A wheel carries train/, export/ and benchmarks/ in this folder; a checkout keeps them beside it.
if not (Path(__file__).parent / "train").is_dir():
    __path__.append(str(Path(__file__).parent.parent))
