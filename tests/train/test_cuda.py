"""Training on a real CUDA device.

It keeps the device busy, is deterministic on request, and reports which batch fits.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from msgspec.structs import replace

from segdeploy import datasets, models
from segdeploy.backends.pytorch import half_precision
from segdeploy.errors import SegdeployError
from segdeploy.models.deployed import Deployed
from segdeploy.train.augmentation import ColorJitter
from segdeploy.train.distributed import SINGLE_PROCESS
from segdeploy.train.loader import Batch, Loader
from segdeploy.train.loop import Loop
from segdeploy.train.recipe import LOSSES, Recipe
from segdeploy.train.run_setup import seed_everything

pytestmark = pytest.mark.gpu

EVERY_LOSS = "+".join(LOSSES)


@pytest.fixture(autouse=True)
def device() -> Iterator[torch.device]:
    """The first device; PyTorch's settings are restored after each test."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    yield torch.device("cuda", 0)
    torch.cuda.set_sync_debug_mode("default")
    torch.use_deterministic_algorithms(mode=False)
    torch.backends.cudnn.benchmark = False


def make_loop(recipe: Recipe, device: torch.device, *, steps: int = 100) -> Loop:
    seed_everything(recipe, device, SINGLE_PROCESS)
    network = models.build(recipe.model, 3, **recipe.arguments)
    return Loop(
        Deployed(network, recipe.mean, recipe.std),
        recipe,
        device,
        steps=steps,
        precision=half_precision(device),
    )


def batches(count: int, *, size: int = 4, height: int = 64, width: int = 96) -> list[Batch]:
    """Random images with three classes and some that are not labeled, as a loader for a device
    gives them.
    """
    random = torch.Generator().manual_seed(0)
    jitters = [
        ColorJitter(
            brightness=1.1, contrast=0.9, saturation=1.2, blue=0.9, hue=0.05, blur=0.5 * place
        ).to_numbers()
        for place in range(size)
    ]
    made = []
    for _ in range(count):
        images = torch.randint(
            0, 256, (size, height, width, 3), generator=random, dtype=torch.uint8
        )
        masks = images[..., 0] // 86
        masks[:, :4] = 255
        numbers = torch.tensor(jitters, dtype=torch.float64)
        made.append(
            Batch(images.pin_memory(), masks.pin_memory(), torch.arange(size), numbers.pin_memory())
        )
    return made


def learn(loop: Loop, group: list[Batch]) -> float:
    return loop.epoch(
        0, iter(group), names=[str(number) for number in range(99)], on_step=lambda _: None
    )


def test_batches_are_pinned() -> None:
    """From pinned memory they are copied while the device computes."""
    recipe = Recipe(imgsz=(24, 32), batch=2, workers=0)
    samples = datasets.load("streets", None, "val")

    batch = next(iter(Loader(samples, recipe, cuda=True).epoch(0)))

    assert batch.images.is_pinned()
    assert batch.masks.is_pinned()


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(model="pidnet_s", loss=EVERY_LOSS, ema=0.9, accumulate=2),
        Recipe(model="unet", class_weights="none"),
    ],
)
def test_step_never_waits_for_the_device(recipe: Recipe, device: torch.device) -> None:
    """A CPU that waits for the device in every step leaves it idle.

    PyTorch raises on each wait.
    """
    loop = make_loop(replace(recipe, epochs=1), device)
    group = batches(12)
    learn(loop, group[:4])
    loop.close_epoch()

    def watched() -> Iterator[Batch]:
        yield from group[4:]
        # The check of the losses after the last step waits on purpose.
        torch.cuda.set_sync_debug_mode("default")

    torch.cuda.set_sync_debug_mode("error")
    loop.epoch(0, watched(), names=[str(number) for number in range(99)], on_step=lambda _: None)

    assert loop.done == 8 // recipe.accumulate


@pytest.mark.slow
@pytest.mark.parametrize("model", models.names())
def test_every_network_can_be_deterministic(model: str, device: torch.device) -> None:
    """No operation of a network or of a loss is without a deterministic form."""
    found = []

    for _ in range(2):
        loop = make_loop(
            Recipe(model=model, loss=EVERY_LOSS, epochs=1, ema=0.9, deterministic=True), device
        )
        learn(loop, batches(3))
        found.append(loop.network.state_dict())

    assert all(torch.equal(value, found[1][key]) for key, value in found[0].items())


def test_weights_stay_channels_last(device: torch.device) -> None:
    """In the other layout every convolution would transpose its image twice."""
    loop = make_loop(Recipe(epochs=1, ema=0.9), device)

    learn(loop, batches(2))

    weights = [value for value in loop.network.parameters() if value.ndim == 4]
    assert all(value.is_contiguous(memory_format=torch.channels_last) for value in weights)


def test_batch_that_fits_is_named(device: torch.device) -> None:
    """It is tried on the device, with as much of its memory as the process may have."""
    loop = make_loop(Recipe(epochs=1), device)
    torch.cuda.empty_cache()
    most = torch.cuda.memory_reserved(device) + (1 << 30)
    torch.cuda.set_per_process_memory_fraction(
        most / torch.cuda.get_device_properties(device).total_memory, device
    )

    try:
        with pytest.raises(
            SegdeployError,
            match=(
                r"a batch of 64 does not fit into the memory of cuda:0 .*--batch (32|16|8|4|2|1),"
            ),
        ):
            learn(loop, batches(1, size=64, height=512, width=512))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)


@pytest.mark.slow
def test_two_devices_train_together(tmp_path: Path) -> None:
    """Norms that are shared, gradients by NCCL, and one process that writes."""
    if torch.cuda.device_count() < 2:
        pytest.skip("no second CUDA device")
    options = [
        "--epochs",
        "2",
        "--batch",
        "8",
        "--imgsz",
        "48,64",
        "--model",
        "fastscnn",
        "--workers",
        "1",
        "--name",
        "together",
    ]
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "segdeploy",
        "train",
        *options,
    ]

    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "runs" / "train" / "together" / "best.pt").is_file()
