"""Print the project's files in which a line inside a function runs.

`python -m tests.helpers.call_path video|export|step [ROOT]`: `video` is `segdeploy run` on a short
video, `export` is `segdeploy export --format onnx`, and `step` is one step of a training, from the
sample's file to the optimizer. ROOT is the checkout whose files are counted, this one by default.
"""

import contextlib
import io
import os
import sys
import tempfile
import threading
from pathlib import Path
from types import FrameType
from typing import Any, Self

RECIPE = """dataset = "camvid"
model = "unet"
data = "data"
imgsz = [48, 64]
epochs = 1
batch = 3
loss = "ce"
workers = 0
[arguments]
width = 4
depth = 2
"""
STEP = ("train/loop.py", "epoch")
OPTIMIZED = 1
"""Flag of a code object that is a function's: neither a module's nor a class's body."""


class Recorder:
    """Records, in order, the files below a folder in which a line of a function ran.

    Attributes:
        files: Paths of the files, relative to the folder.
    """

    def __init__(self, root: Path, *, within: tuple[str, str] | None = None) -> None:
        """Prepare to count the files below `root`.

        Args:
            root: The checkout.
            within: File and name of a function: only what runs during its call is counted.
        """
        self.files: dict[str, None] = {}
        self._prefix = f"{root}/"
        self._within = within
        self._active = within is None
        self._done: set[object] = set()

    def __enter__(self) -> Self:
        threading.settrace(self._call)
        sys.settrace(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)
        threading.settrace(None)

    def _call(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        code = frame.f_code
        path = code.co_filename.removeprefix(self._prefix)
        if (
            path == code.co_filename
            or path.startswith((".venv", "tests"))
            or not code.co_flags & OPTIMIZED
        ):
            return None
        if self._within == (path, code.co_name):
            self._active = True
            return self._whole
        if not self._active or code in self._done:
            return None
        self._done.add(code)
        return self._first_line

    def _first_line(self, frame: FrameType, event: str, _argument: Any) -> Any:
        if event != "line":
            return self._first_line
        self._keep(frame)
        return None

    def _whole(self, frame: FrameType, event: str, _argument: Any) -> Any:
        self._keep(frame)
        if event == "return":
            self._active = False
        return self._whole

    def _keep(self, frame: FrameType) -> None:
        if self._active:
            self.files.setdefault(frame.f_code.co_filename.removeprefix(self._prefix))


def write_dataset(folder: Path) -> None:
    """Write three images and masks for training and for validation, laid out as CamVid."""
    import cv2
    import numpy as np

    random = np.random.default_rng(0)
    for split in ("train", "val"):
        (folder / split).mkdir(parents=True)
        (folder / f"{split}annot").mkdir()
        for number in range(3):
            mask = np.zeros((48, 64), np.uint8)
            mask[20 + number :] = 3
            mask[30:40, 10:30] = 8
            noise = random.integers(0, 20, (48, 64, 3), dtype=np.uint8)
            cv2.imwrite(str(folder / split / f"{number}.png"), 20 * mask[..., None] + noise)
            cv2.imwrite(str(folder / f"{split}annot" / f"{number}.png"), mask)


def files_of(what: str, root: Path) -> list[str]:
    """Return the files that a path goes through, in the order in which they are reached."""
    from segdeploy.__main__ import main

    recorder = Recorder(root, within=STEP if what == "step" else None)
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            if what == "video":
                main(
                    [
                        "data",
                        "render",
                        "--video",
                        "drive.mp4",
                        "--seconds",
                        "1",
                        "--height",
                        "120",
                        "--width",
                        "160",
                    ]
                )
                with recorder:
                    main(["run", "--model", "street", "--video", "drive.mp4", "--output", "out"])
                return list(recorder.files)
            write_dataset(Path("data"))
            Path("recipe.toml").write_text(RECIPE)
            with recorder if what == "step" else contextlib.nullcontext():
                main(["train", "recipe.toml", "--name", "path"])
            if what == "export":
                with recorder:
                    main(["export", "runs/train/path/best.pt", "--format", "onnx"])
        finally:
            os.chdir(before)
    return list(recorder.files)


if __name__ == "__main__":
    top = Path(sys.argv[2] if len(sys.argv) > 2 else Path(__file__).parents[2]).resolve()
    sys.path.insert(0, str(top))
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        found = files_of(sys.argv[1], top)
    print("\n".join(found))
