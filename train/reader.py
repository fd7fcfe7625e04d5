"""What a process is told once that reads pictures for a training."""

import cv2

from segdeploy.memory import keep_freed_memory


def settle_reader() -> None:
    """Keep OpenCV to one thread, since those that read share the cores, and freed memory for the next picture."""
    cv2.setNumThreads(1)
    keep_freed_memory()
