"""Commands that are killed: how each is started, resumed, and compared with an undisturbed run."""

import csv
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from tests.helpers.whole_files import TEMPORARY, find_fault

MODELS = Path(__file__).parents[1] / "data" / "first_format"

FRAMES = 60
IMAGES = 30

TIMES = {"images_per_second", "seconds"}
"""Columns of results.csv that differ from run to run."""


class Scenario(Protocol):
    """A command that is killed."""

    def prepare(self, inputs: Path) -> None:
        """Write what the command reads into a folder that all trials share."""
        ...

    def begin(self, folder: Path, inputs: Path) -> None:
        """Put into the folder of a trial what lies there before the command."""
        ...

    def arguments(self, folder: Path, inputs: Path) -> Sequence[str]:
        """Return the command: a new run, or a resumed one where something is to be resumed."""
        ...

    def result(self, folder: Path) -> Mapping[str, Any]:
        """Return what a finished run must have in common with an undisturbed one."""
        ...

    def is_over(self, code: int, log: str) -> bool:
        """Return whether a run ended well, by its exit code and what it printed."""
        ...

    def fault(self, folder: Path, whole: Mapping[str, Any]) -> str:
        """Return what is wrong after a kill, beside files that are not whole; "" if nothing.

        Args:
            folder: Folder of the trial.
            whole: Result of the undisturbed run.
        """
        ...


def files_below(folder: Path) -> Iterator[Path]:
    """Return all files that have a final name."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.endswith(TEMPORARY):
            yield path


def broken_file(folder: Path) -> str:
    """Return the first file that is not whole, with the reason."""
    for path in files_below(folder):
        if fault := find_fault(path):
            return f"{path.relative_to(folder)}: {fault}"
    return ""


class Command:
    """What commands have in common."""

    def begin(self, folder: Path, inputs: Path) -> None:
        """Begin in an empty folder."""

    def is_over(self, code: int, log: str) -> bool:
        """Expect exit code 0."""
        return code == 0


class Training(Command):
    """A training; what is resumed must have the same bits as what nobody disturbed."""

    def prepare(self, inputs: Path) -> None:
        """Write a dataset of six images, and a recipe of four epochs."""
        import numpy as np
        from PIL import Image

        from tests.fuzz.seeds import CLASSES, pixels

        for split, count in (("train", 6), ("val", 2)):
            for kind in ("images", "masks"):
                (inputs / "data" / kind / split).mkdir(parents=True)
            for index in range(count):
                mask = np.zeros((24, 32), np.uint8)
                mask[10 + index :] = 1
                mask[14:20, index : index + 9] = 2
                name = f"{index}.png"
                Image.fromarray(mask).save(inputs / "data" / "masks" / split / name)
                photo = pixels(number=10 * count + index)
                photo.save(inputs / "data" / "images" / split / name)
        (inputs / "data" / "classes.toml").write_text(CLASSES)
        (inputs / "recipe.toml").write_text(
            f'dataset = "folder"\ndata = {json.dumps(str(inputs / "data"))}\nmodel = "unet"\n'
            "imgsz = [24, 32]\nepochs = 4\nbatch = 2\nworkers = 0\nthreads = 1\namp = false\n"
            'ema = 0.9\nloss = "ce+dice"\n[arguments]\nwidth = 2\ndepth = 2\n'
        )

    def is_over(self, code: int, log: str) -> bool:
        """Expect exit code 0; or 2, where the last thing before a kill was the last epoch."""
        return code == 0 or (code == 2 and "nothing left to train" in log.splitlines()[-1])

    def arguments(self, folder: Path, inputs: Path) -> Sequence[str]:
        """Resume the run that has a last.pt; a new run gets a name of its own where one exists."""
        if last := self._last(folder):
            return ["train", "--resume", str(last)]
        return ["train", str(inputs / "recipe.toml"), "--name", "run"]

    def _last(self, folder: Path) -> Path | None:
        return next(iter(sorted(folder.glob("runs/train/*/last.pt"))), None)

    def result(self, folder: Path) -> Mapping[str, Any]:
        """Return the weights of both checkpoints, and the table without its times."""
        from segdeploy.models.checkpoint import load_checkpoint

        last = self._last(folder)
        assert last is not None, "there is no last.pt"
        weights = {
            f"{name} {key}": tensor.numpy().tobytes()
            for name in ("best.pt", "last.pt")
            for key, tensor in load_checkpoint(last.with_name(name)).weights.items()
        }
        with last.with_name("results.csv").open(encoding="utf-8") as file:
            rows = [
                {key: value for key, value in row.items() if key not in TIMES}
                for row in csv.DictReader(file)
            ]
        return {**weights, "rows": rows}

    def fault(self, folder: Path, whole: Mapping[str, Any]) -> str:
        """Compare the epochs that were written down with those that can be resumed."""
        from segdeploy.models.checkpoint import load_checkpoint

        last = self._last(folder)
        if last is None:
            return ""
        history = load_checkpoint(last).state["history"]
        expected = [row["loss"] for row in whole["rows"][: len(history)]]
        found = [f"{epoch['loss']:.6g}" for epoch in history]
        return (
            ""
            if found == [f"{float(loss):.6g}" for loss in expected]
            else f"losses {found}, undisturbed {expected}"
        )


class Film(Command):
    """A run on a film with sound."""

    options: Sequence[str] = ("--save", "overlay,side,mask", "--threads", "1")

    def prepare(self, inputs: Path) -> None:
        """Write a film."""
        from tests.helpers.clips import gray_frames, write_clip, write_tone

        write_tone(inputs / "tone.wav", FRAMES / 25)
        write_clip(inputs / "film.mp4", gray_frames(FRAMES), audio=inputs / "tone.wav")

    def arguments(self, folder: Path, inputs: Path) -> Sequence[str]:
        """Resume wherever the folder of the results exists."""
        again = ["--resume"] if (folder / "out").exists() else []
        model = str(MODELS / "best.onnx")
        video = str(inputs / "film.mp4")
        return ["run", "--model", model, "--video", video, "--output", "out", *self.options, *again]

    def result(self, folder: Path) -> Mapping[str, Any]:
        """Return the number and times of the frames and of the sound, and all other results."""
        import av

        results: dict[str, Any] = {}
        for path in files_below(folder / "out"):
            name = str(path.relative_to(folder))
            if path.suffix == ".mp4":
                with av.open(str(path)) as film:
                    results[f"{name} times"] = [
                        round(frame.time or 0, 3) for frame in film.decode(video=0)
                    ]
                with av.open(str(path)) as film:
                    results[f"{name} sound"] = sum(one.samples for one in film.decode(audio=0))
            else:
                results[name] = path.read_bytes()
        return results

    def fault(self, folder: Path, whole: Mapping[str, Any]) -> str:
        """Compare the masks that are already there."""
        return _different(folder, whole, [".png"])


class Images(Command):
    """A run on a folder of images."""

    def prepare(self, inputs: Path) -> None:
        """Write images."""
        from tests.fuzz.seeds import pixels

        (inputs / "images").mkdir()
        for index in range(IMAGES):
            pixels("RGB", 48, 64, number=index).save(inputs / "images" / f"{index}.png")

    def arguments(self, folder: Path, inputs: Path) -> Sequence[str]:
        """Resume wherever the folder of the results exists."""
        again = ["--resume"] if (folder / "out").exists() else []
        options = ["--save", "overlay,mask,geojson", "--threads", "1", "--output", "out", *again]
        model = str(MODELS / "best.onnx")
        return ["run", "--model", model, "--image", str(inputs / "images"), *options]

    def result(self, folder: Path) -> Mapping[str, Any]:
        """Return all results."""
        return {
            str(path.relative_to(folder)): path.read_bytes() for path in files_below(folder / "out")
        }

    def fault(self, folder: Path, whole: Mapping[str, Any]) -> str:
        """Compare every file that has its final name."""
        return _different(folder, whole, [".png", ".geojson"])


class Records(Images):
    """A run that writes one file about all images, which is not resumed but begun anew."""

    def arguments(self, folder: Path, inputs: Path) -> Sequence[str]:
        """Begin in a new folder."""
        options = ["--save", "coco,jsonl,rle", "--threads", "1", "--output", self._name(folder)]
        model = str(MODELS / "best.onnx")
        return ["run", "--model", model, "--image", str(inputs / "images"), *options]

    def _name(self, folder: Path, *, more: int = 0) -> str:
        return f"out-{len(list(folder.glob('out-*'))) + more}"

    def result(self, folder: Path) -> Mapping[str, Any]:
        """Return the results in the newest folder."""
        newest = folder / self._name(folder, more=-1)
        return {path.name: self._content(path) for path in files_below(newest)}

    def _content(self, path: Path) -> Any:
        if path.suffix != ".jsonl":
            return path.read_bytes()
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return [{key: line[key] for key in line if key != "milliseconds"} for line in lines]

    def fault(self, folder: Path, whole: Mapping[str, Any]) -> str:
        """Compare every file that has its final name."""
        for path in files_below(folder):
            if self._content(path) != whole.get(path.name):
                return f"{path.relative_to(folder)} is not that of an undisturbed run"
        return ""


class Export(Command):
    """An export in place of an older one of another network: afterwards one of the two runs."""

    file_format = "onnx"
    name = "best.onnx"

    def prepare(self, inputs: Path) -> None:
        """Write another network, its export, and an image for the proof."""
        import torch

        from segdeploy.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
        from tests.fuzz.seeds import pixels

        pixels("RGB", 48, 64).save(inputs / "image.png")
        older = load_checkpoint(MODELS / "best.pt")
        weights = {key: torch.as_tensor(value) for key, value in older.weights.items()}
        weights["head.bias"] = weights["head.bias"].flip(0)
        newer = Checkpoint(card=older.card, weights=weights, state={})
        save_checkpoint(inputs / "best.pt", newer)

    def begin(self, folder: Path, inputs: Path) -> None:
        """Put the older export where the new one goes."""
        shutil.copy(MODELS / self.name, folder)

    def arguments(self, folder: Path, inputs: Path) -> Sequence[str]:
        """Export again, whatever is there."""
        options = ["--format", self.file_format, "--verify", str(inputs / "image.png")]
        return ["export", str(inputs / "best.pt"), *options, "-o", str(folder / self.name)]

    def result(self, folder: Path) -> Mapping[str, Any]:
        """Return the mask of the exported file."""
        return {"mask": self._mask(folder)}

    def _mask(self, folder: Path) -> bytes:
        import numpy as np

        import segdeploy

        image = np.mgrid[:32, :48].sum(0).astype(np.uint8)
        predictor = segdeploy.load(folder / self.name, device="cpu", threads=1)
        mask: bytes = predictor(np.dstack([image, 2 * image, 3 * image])).mask.tobytes()
        return mask

    def fault(self, folder: Path, whole: Mapping[str, Any]) -> str:
        """Verify the file that is there, which is the older or the newer one as a whole."""
        from segdeploy.cli.main import main
        from segdeploy.errors import SegdeployError

        try:
            mask = self._mask(folder)
        except SegdeployError as error:
            return self._refused(error)
        if mask not in (whole["mask"], self._older()):
            return "its mask is neither the older nor the newer network's"
        try:
            main(["verify", str(folder / self.name)])
        except SystemExit as error:
            return f"segdeploy verify ended with {error.code}" if error.code else ""
        return ""

    def _refused(self, error: Exception) -> str:
        return f"it is refused: {error}"

    def _older(self) -> bytes:
        return self._mask(MODELS)


class OpenVinoExport(Export):
    """The same with a pair of files: between their two renames it is refused, and never wrong."""

    file_format = "openvino"
    name = "best.xml"

    def begin(self, folder: Path, inputs: Path) -> None:
        """Put the older pair where the new one goes."""
        shutil.copy(MODELS / "best.xml", folder)
        shutil.copy(MODELS / "best.bin", folder)

    def _refused(self, error: Exception) -> str:
        return ""


def _different(folder: Path, whole: Mapping[str, Any], suffixes: Sequence[str]) -> str:
    """Return the first file of these kinds that is not as in the undisturbed run."""
    for path in files_below(folder / "out"):
        name = str(path.relative_to(folder))
        if path.suffix in suffixes and path.read_bytes() != whole.get(name):
            return f"{name} is not that of an undisturbed run"
    return ""


SCENARIOS: Mapping[str, Scenario] = {
    "train": Training(),
    "film": Film(),
    "images": Images(),
    "records": Records(),
    "export": Export(),
    "export openvino": OpenVinoExport(),
}
"""Scenarios by the names that `--only` takes."""
