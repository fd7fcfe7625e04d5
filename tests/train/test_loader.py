"""Batches: shuffled, reproducible, and with the error of a sample that cannot be used."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec.structs import replace

from segdeploy.card import LabelClass
from segdeploy.datasets.dataset import Sample
from segdeploy.errors import DataError, WorkerError
from segdeploy.train.augmentation import ColorJitter, apply_jitter
from segdeploy.train.distributed import Processes
from segdeploy.train.loader import (
    AugmentedDataset,
    Batch,
    Loader,
    ShuffledBatches,
    choose_workers,
    collate,
)
from segdeploy.train.recipe import Recipe

PLAIN = Recipe(imgsz=(4, 4), batch=2, scale=(1.0, 1.0), flip=0.0, color=0.0, workers=0)


class Numbered:
    """Seven images, each of its number; the fifth can be broken."""

    classes = (LabelClass(name="all", color=(1, 2, 3)),)
    names = tuple("0123456")

    def __init__(self, *, broken: bool = False) -> None:
        self._broken = broken

    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> Sample:
        if self._broken and index == 5:
            msg = "5.png is not an image; remove it"
            raise DataError(msg)
        image = np.zeros((4, 4, 3), np.uint8)
        image[..., 0] = index
        return Sample(image=image, mask=np.full((4, 4), index, np.uint8), name=str(index))


def numbers(loader: Loader, epoch: int) -> list[int]:
    return [int(mask[0, 0]) for batch in loader.epoch(epoch) for mask in batch.masks]


def test_batches_are_red_green_blue_and_aligned() -> None:
    """Blue of the dataset becomes the last channel, for that is what the deployed network takes."""
    loader = Loader(Numbered(), PLAIN, cuda=False)

    for images, masks, _, _ in loader.epoch(0):
        assert images.shape == (2, 4, 4, 3)
        assert images.dtype == masks.dtype == torch.uint8
        assert torch.equal(images[..., 2], masks)
        assert not images[..., :2].any()


def test_every_epoch_has_its_own_order_which_can_be_repeated() -> None:
    """The order follows from seed and epoch alone, so that a resumed run has the same batches."""
    loader = Loader(Numbered(), PLAIN, cuda=False)

    first, second = numbers(loader, 0), numbers(loader, 1)

    assert first != second
    assert len(set(first)) == 6
    assert numbers(Loader(Numbered(), PLAIN, cuda=False), 1) == second


def test_an_epoch_is_resumed_where_it_was_left() -> None:
    """The batches behind the first two are the same, whether those were read or not."""
    loader = Loader(Numbered(), PLAIN, cuda=False)

    rest = [int(mask[0, 0]) for batch in loader.epoch(4, first=2) for mask in batch.masks]

    assert len(rest) == 2
    assert rest == numbers(loader, 4)[4:]


def test_processes_share_every_batch() -> None:
    """Together they have the samples that one alone has.

    No sample is in two of them, and an odd batch is divided too.
    """
    recipe = replace(PLAIN, batch=3)
    parts = [list(ShuffledBatches(7, recipe, Processes(rank=rank, size=2))) for rank in range(2)]

    for whole, one, other in zip(ShuffledBatches(7, recipe), *parts, strict=True):
        assert sorted(one + other) == sorted(whole)
        assert len(one) == 2


def test_fewer_images_than_processes_are_an_error() -> None:
    """A process without an image would wait forever."""
    with pytest.raises(DataError, match="8 processes cannot share 7 images"):
        Loader(Numbered(), PLAIN, cuda=False, processes=Processes(size=8))


def test_color_jitter_is_left_to_a_device() -> None:
    """Its numbers go with the image, and are those that a worker would have applied."""
    recipe = replace(PLAIN, color=0.3, hue=0.1)
    left, done = (
        collate([AugmentedDataset(Numbered(), recipe, apply_jitter=applied)[0, 6]])
        for applied in (False, True)
    )

    assert isinstance(left, Batch)
    assert isinstance(done, Batch)
    assert not left.images[..., 0].any()
    assert left.jitter.shape == (1, 8)
    assert done.jitter.shape == (1, 0)
    expected = apply_jitter(
        left.images[0].numpy()[:, :, ::-1].copy(), ColorJitter.from_numbers(left.jitter[0].tolist())
    )
    np.testing.assert_array_equal(done.images[0].numpy()[:, :, ::-1], expected)


def test_fewer_samples_than_a_batch_are_a_batch() -> None:
    """A handful of images can be trained on."""
    shuffle = ShuffledBatches(3, Recipe(batch=8))

    assert [len(batch) for batch in shuffle] == [3]
    assert len(shuffle) == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
def test_workers_return_the_same_batches_as_one_process() -> None:
    """Their number changes the speed only, over epochs in which workers stay alive."""
    recipe = Recipe(imgsz=(8, 8), batch=2, seed=3, workers=2)
    alone = Loader(Numbered(), Recipe(imgsz=(8, 8), batch=2, seed=3, workers=0), cuda=False)
    together = Loader(Numbered(), recipe, cuda=False)

    for epoch in range(3):
        for one, other in zip(alone.epoch(epoch), together.epoch(epoch), strict=True):
            assert all(torch.equal(part, its) for part, its in zip(one, other, strict=True))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("workers", [0, 1])
def test_broken_sample_keeps_its_message(workers: int) -> None:
    """A user must not see a worker's traceback."""
    loader = Loader(
        Numbered(broken=True), Recipe(imgsz=(4, 4), batch=7, workers=workers), cuda=False
    )

    with pytest.raises(DataError) as caught:
        list(loader.epoch(0))

    assert str(caught.value) == "5.png is not an image; remove it"


def test_workers_fit_the_machine() -> None:
    """A given number is taken; otherwise each network keeps a core."""
    plenty = 2**63
    assert choose_workers(Recipe(workers=3), available=1, shared_memory=0) == 3
    assert [
        choose_workers(Recipe(), available=cores, shared_memory=plenty) for cores in (1, 4, 64)
    ] == [0, 3, 8]
    assert choose_workers(Recipe(), Processes(size=2), available=8, shared_memory=plenty) == 3


def test_batches_of_the_chosen_workers_fit_into_the_shared_memory() -> None:
    """Containers have 64 MB of it; each worker holds three batches of 8 x 360 x 480 x 4 bytes."""
    batch = 8 * 360 * 480 * 4

    assert choose_workers(Recipe(), available=64, shared_memory=64 * 2**20) == 4
    assert choose_workers(Recipe(), available=64, shared_memory=3 * batch - 1) == 0


class Deadly(Numbered):
    """Ends the process that reads the fifth image, as the system does without memory."""

    def __getitem__(self, index: int) -> Sample:
        if index == 5:
            os._exit(9)
        return super().__getitem__(index)


@pytest.mark.slow
def test_a_worker_that_is_gone_ends_the_wait() -> None:
    """Once the training waited forever for its batch."""
    loader = Loader(Deadly(), replace(PLAIN, workers=1), cuda=False)

    with pytest.raises(WorkerError, match=r"a process that reads images ended .* --workers"):
        numbers(loader, 0)


@pytest.mark.slow
def test_workers_start_after_opencv_has_threads(tmp_path: Path) -> None:
    """A forked worker waits forever for the threads that OpenCV had in its parent.

    So workers are fresh processes.
    """
    code = """
import cv2
import numpy as np

from segdeploy.datasets.synthetic.dataset import Streets
from segdeploy.train import loader, losses, recipe, trainer

cv2.setNumThreads(4)
if __name__ == "__main__":
    cv2.resize(np.zeros((2000, 2000, 3), np.uint8), (999, 999))
    recipe = recipe.Recipe(imgsz=(24, 32), batch=2, workers=1)
    samples = Streets(split="train", count=2, height=24, width=32)
    batches = loader.Loader(samples, recipe, cuda=False).epoch(0)
    print(sum(len(batch.images) for batch in batches))
"""
    script = tmp_path / "main.py"
    script.write_text(code)

    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=120
    )

    assert done.stdout.strip() == "2", done.stderr
