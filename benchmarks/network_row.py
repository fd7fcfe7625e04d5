"""One round of one network alone, in a process of its own: from a batch to logits.

Run as `python -m segdeploy.benchmarks.network_row ORDER RESULT`.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from segdeploy.backends.loading import load_backend

from .latency import measure
from .process import serve

SEED = 0


def work(order: Mapping[str, Any]) -> Mapping[str, Any]:
    """Time an artifact's answers to a picture of noise: what a picture shows changes no convolution's time.

    Args:
        order: `artifact`, a path; `threads`, None for as many as there are cores; `runs` and `warm_up`.
    """
    backend = load_backend(Path(order["artifact"]), device="cpu", threads=order["threads"])
    spec = backend.card.input
    batch = np.random.default_rng(SEED).integers(0, 256, (1, spec.height, spec.width, 3), dtype=np.uint8)
    return measure(lambda _: backend.run(batch), runs=order["runs"], warm_up=order["warm_up"]).to_dict()


if __name__ == "__main__":
    serve(work, sys.argv[1:])
