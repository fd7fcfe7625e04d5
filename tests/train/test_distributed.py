"""Several processes train one network, and score as one would."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from segdeploy.errors import DeviceError
from segdeploy.train.distributed import SINGLE_PROCESS, Processes, process_group

# A network without batch statistics, which gloo does not share, and without half precision, which
# some CPUs have: the same images in a step give the same gradient however they are divided. The
# script trains without a stop, then is interrupted in one process in the middle of an epoch, and
# resumes.
SCRIPT = """
import json, os, signal, sys
from pathlib import Path

from torch import nn

from segdeploy.errors import InterruptedRun
from segdeploy.models import register
from segdeploy.models.checkpoint import load_checkpoint
from segdeploy.train.distributed import process_group
from segdeploy.train.recipe import Recipe
from segdeploy.train.trainer import Trainer


@register("plain")
class Plain(nn.Sequential):
    stride = 1

    def __init__(self, classes):
        first, last = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, classes, 3, padding=1)
        super().__init__(first, nn.ReLU(), last)


def stop(epoch):
    if epoch.epoch == 1 and os.environ.get("RANK", "0") != "0":
        os.kill(os.getpid(), signal.SIGTERM)


recipe = Recipe(
    model="plain", dataset="camvid", data=sys.argv[1], epochs=5, imgsz=(24, 32), batch=4, lr=0.1,
    optimizer="sgd", ema=0.9, scale=(1, 1), device="cpu", threads=1, workers=0, memory=0, amp=False,
)
folder = Path(sys.argv[2])
with process_group() as processes:
    Trainer(recipe, processes=processes).fit(folder / "whole", report=lambda _: None)
    message = ""
    try:
        Trainer(recipe, processes=processes).fit(folder / "parts", report=stop)
    except InterruptedRun as error:
        message = str(error)
    processes.gather(None)
    last = load_checkpoint(folder / "parts/last.pt")
    Trainer(recipe, last, processes=processes).fit(folder / "parts", report=lambda _: None)
    written = sorted(path.name for path in folder.iterdir())
    if processes.is_main:
        Trainer(recipe).fit(folder / "alone", report=lambda _: None)
        found = {"message": message, "written": written}
        (folder / "found.json").write_text(json.dumps(found))
"""


@pytest.mark.slow
def test_two_processes_score_as_one_and_resume_exactly(tiny_camvid: Path, tmp_path: Path) -> None:
    """The same batches give the same weights but for rounding.

    Three images to validate are counted once each by two processes.

    A signal to one of them stops both at the same step, and the resumed run ends with the same
    bits.
    """
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    folder = tmp_path / "runs"
    folder.mkdir()

    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            "2",
            str(script),
            str(tiny_camvid),
            str(folder),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )

    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads((folder / "found.json").read_text())
    assert "after 3 epochs and 1 steps" in found["message"]
    assert found["written"] == ["parts", "whole"]
    alone, whole, parts = (
        torch.load(folder / name / "last.pt", weights_only=True)
        for name in ("alone", "whole", "parts")
    )
    for key, value in alone["weights"].items():
        torch.testing.assert_close(whole["weights"][key], value, atol=1e-5, rtol=1e-4)
        assert torch.equal(whole["weights"][key], parts["weights"][key])
    assert np.sum(alone["state"]["best"]) == np.sum(whole["state"]["best"]) == 3 * 23 * 32
    assert np.abs(np.subtract(alone["state"]["best"], whole["state"]["best"])).sum() <= 4
    assert whole["state"]["best"] == parts["state"]["best"]


def test_single_process_joins_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without torchrun every sum is that of this process."""
    monkeypatch.delenv("WORLD_SIZE", raising=False)

    with process_group() as processes:
        assert processes == SINGLE_PROCESS
        assert processes.is_main
        np.testing.assert_array_equal(processes.sum(np.array([[1, 2]])), [[1, 2]])
        assert processes.mean(0.25) == 0.25
        assert processes.any(*[True, False]) == [True, False]
        assert processes.gather("x") == ["x"]
        assert processes.device(torch.device("cuda:3")) == torch.device("cuda:3")


def test_more_processes_than_devices_are_an_error() -> None:
    """Two processes on one device would each be half as fast, and short of memory."""
    processes = Processes(rank=99, size=100, local=99)

    assert processes.device(torch.device("cpu")) == torch.device("cpu")
    with pytest.raises(DeviceError, match="process 99 has no device"):
        processes.device(torch.device("cuda"))
