"""An artifact on the command line: a path, or the name of a network in the box."""

import os
from pathlib import Path

import click
import cv2

from segdeploy import box
from segdeploy.console import note

AVX2 = 11
"""Of OpenCV's `CpuFeatures`, which Python is given without their names; it knows the processor on every system."""


class Artifact(click.Path):
    """The path of an artifact; a name of `box.FILES` stands for the file that the package carries."""

    def __init__(self) -> None:
        """Take paths, whether or not there is a file: whoever opens it says more than that it is missing."""
        super().__init__(path_type=Path)

    def convert(self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Read the text; a value that is already a path passes.

        Raises:
            ModelError: It names a network in the box, and this copy of the package carries none.
        """
        path = super().convert(box.locate(value) if isinstance(value, str) else value, param, ctx)
        assert isinstance(path, Path), "that is what path_type asks for"
        return path


def boxed(device: str) -> Path:
    """Give the network in the box that suits a device, and say which it is and on what terms.

    Args:
        device: As `--device` has it.

    Raises:
        ModelError: This copy of the package carries none.
        DeviceError: There is no such device.
    """
    # It imports ONNX Runtime, which nobody needs who named a checkpoint.
    from segdeploy.backends.providers import CPU, request

    name = box.suited(on_processor=request(device) == [CPU], has_avx2=cv2.checkHardwareSupport(AVX2))
    path = box.find(name, box.folder())
    note(f"no --model, so {name}, which the package carries: {box.TERMS}; see segdeploy inspect {name}")
    return path
