"""Samples are cached within a bound, for all processes."""

import multiprocessing
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from segdeploy.card import LabelClass
from segdeploy.datasets.cache import CachedDataset
from segdeploy.datasets.dataset import Sample
from segdeploy.errors import OutputError
from segdeploy.system.files import make_scratch_folder
from segdeploy.system.posix import CAN_LOCK


class Counting:
    """Samples of two sizes, of 32 and 128 bytes, that count in a file how often they are read."""

    classes = (LabelClass(name="all", color=(1, 2, 3)),)
    names = ("a", "b", "c")
    rule = "none"

    def __init__(self, log: Path) -> None:
        self.log = log

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Sample:
        with self.log.open("a") as file:
            file.write(self.names[index])
        sides = (4, 2) if index % 2 == 0 else (4, 8)
        random = np.random.default_rng(index)
        image = random.integers(0, 256, (*sides, 3), dtype=np.uint8)
        return Sample(
            image=image, mask=random.integers(0, 256, sides, dtype=np.uint8), name=self.names[index]
        )


class Many(Counting):
    """A thousand samples, of which none is read."""

    names = tuple(map(str, range(1000)))

    def __len__(self) -> int:
        return 1000


@pytest.fixture
def source(tmp_path):
    return Counting(tmp_path / "log")


def alike(one, other):
    return (
        one.name == other.name
        and np.array_equal(one.image, other.image)
        and np.array_equal(one.mask, other.mask)
    )


def test_reads_each_sample_once_whatever_its_size(source):
    """Decoding is most of the cost of reading."""
    cached = CachedDataset(source, room=1000, folder=source.log.parent)

    epochs = [[cached[index] for index in (2, 0, 1)] for _ in range(3)]

    assert source.log.read_text() == "cab"
    assert all(
        alike(sample, source[index])
        for epoch in epochs
        for sample, index in zip(epoch, (2, 0, 1), strict=True)
    )


def test_samples_without_room_are_read_again(source):
    """Samples take whole lines of 64 bytes, one of them before the pixels: 128, 192 and 128.

    After the first there is no room for the second, but for the third.
    """
    cached = CachedDataset(source, room=270, folder=source.log.parent)

    epochs = [[cached[index] for index in range(3)] for _ in range(3)]

    assert source.log.read_text() == "abc" + "b" * 2
    assert all(alike(epoch[1], source[1]) for epoch in epochs)


def read_all(cached):
    return [cached[index] for index in range(3)]


def test_a_full_disk_disables_only_the_cache(source, tmp_path):
    """Half of a sample at the end of the file shifts all that follow."""
    cached = CachedDataset(source, room=1000, folder=tmp_path)
    cached[0]
    (pixels,) = tmp_path.glob("segdeploy-*/pixels")
    with pixels.open("ab") as file:
        file.write(b"half")

    epochs = [[cached[index] for index in range(3)] for _ in range(2)]

    assert all(alike(epoch[index], source[index]) for epoch in epochs for index in range(3))
    assert source.log.read_text().startswith("a" + "bc" * 2)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_processes_share_what_one_of_them_read(source, method):
    """Eight workers with a cache each would take eight times the memory."""
    cached = CachedDataset(source, room=1000, folder=source.log.parent)
    cached[0]

    with multiprocessing.get_context(method).Pool(2) as pool:
        samples = [pool.apply(read_all, (cached,)) for _ in range(4)]
    own = read_all(cached)

    assert sorted(source.log.read_text()) == ["a", "b", "c"]
    assert all(
        alike(sample, expected)
        for read in samples
        for sample, expected in zip(read, own, strict=True)
    )


def test_a_folder_without_room_for_the_table_is_reported(tmp_path):
    """The table is small: without room for it nothing can be cached, nor much else be done."""
    resource = pytest.importorskip("resource")
    samples = Many(tmp_path / "log")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"temporary files to .*: File too large.*TMPDIR"):
            CachedDataset(samples, room=1000, folder=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_files_are_removed_with_the_cache(source, tmp_path):
    """A leftover gigabyte of every run would fill the disk."""
    cached = CachedDataset(source, room=1000, folder=source.log.parent)
    read_all(cached)
    again = pickle.loads(pickle.dumps(cached))
    read_all(again)
    del again
    before = list(tmp_path.glob("segdeploy-*"))

    del cached

    assert len(before) == 1
    assert list(tmp_path.glob("segdeploy-*")) == []


@pytest.mark.skipif(not CAN_LOCK, reason="this system has no fcntl")
def test_files_of_a_killed_run_are_removed(source, tmp_path):
    """SIGKILL leaves no time to clean up; a cache in use, here or by a copy, is left alone."""
    first = CachedDataset(source, room=1000, folder=tmp_path)
    copy = pickle.loads(pickle.dumps(first))
    read_all(copy)
    left, held = make_scratch_folder(tmp_path)
    os.close(held)

    second = CachedDataset(source, room=1000, folder=tmp_path)

    assert not left.exists()
    assert len(list(tmp_path.glob("segdeploy-*"))) == 2
    assert read_all(first)
    assert read_all(second)


def test_cache_behaves_like_its_dataset(source):
    """Fingerprint, scores and overlays are the same."""
    cached = CachedDataset(source, room=0, folder=source.log.parent)

    assert (cached.classes, cached.names, len(cached), cached.rule) == (
        source.classes,
        source.names,
        3,
        source.rule,
    )
