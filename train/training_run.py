"""`segdeploy train` as a function."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segdeploy.cli.option_values import option_values
from segdeploy.errors import ModelError

from .command import NEWEST, read_options, run_training, train
from .history import Epoch, best_epoch


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a training wrote.

    Attributes:
        folder: Folder of the run.
        best: Checkpoint of the best epoch.
        last: Checkpoint of the last epoch, to resume from.
        miou: mIoU of the best epoch on the validation split, in [0, 1].
        history: Metrics of all epochs.
    """

    folder: Path
    best: Path
    last: Path
    miou: float
    history: tuple[Epoch, ...]


def train_model(
    recipe: Path | str | None = None,
    *,
    resume: Path | str | bool | None = None,
    **values: Any,  # noqa: ANN401 - of the command, and of the recipe
) -> TrainResult:
    """Train a network on labeled images, and return where its checkpoints are.

    It prints what the command prints.

    Example:
        ```python
        done = segdeploy.train.train_model(
            dataset="camvid", data="camvid", model="unet", imgsz=32, epochs=1, batch=2,
            arguments={"width": 4, "depth": 2}, device="cpu", workers=0, name="small",
        )
        print(done.best, done.miou, done.history[-1].loss)
        ```

    Args:
        recipe: TOML file, or name of a bundled recipe; the defaults where None.
        resume: A last.pt, a folder or the name of a run to resume; True for the newest run.
        values: Options of `segdeploy train` by their names, such as name, data, epochs and imgsz,
            and any other value of a `Recipe`, such as arguments and scale.

    Raises:
        ConfigError: A value is unknown, or impossible.
        DataError: The dataset cannot be used, or would harm the training.
        DeviceError: There is no such device.
        ModelError: Weights to start or resume from do not fit.
        InterruptedRun: Ctrl-C; `resume=True` continues.
        MissingExtraError: PyTorch is not installed.
    """
    given: dict[str, Any] = {
        "recipe": None if recipe is None else str(recipe),
        "resume": NEWEST if resume is True else str(resume) if resume else None,
        **{key: str(value) if isinstance(value, Path) else value for key, value in values.items()},
    }
    known = {param.name for param in train.params if param.expose_value}
    options = option_values(train, {key: given[key] for key in given.keys() & known})
    others = {key: given[key] for key in given.keys() - known}
    run, folder = run_training(read_options(**options, **others))
    best = best_epoch(run.history)
    if best is None or best.miou is None:
        msg = f"no epoch of {folder} was validated; train more epochs"
        raise ModelError(msg)
    return TrainResult(
        folder=folder,
        best=folder / "best.pt",
        last=folder / "last.pt",
        miou=best.miou,
        history=tuple(run.history),
    )
