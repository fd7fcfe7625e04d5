"""A small campaign, always of the same cases; `make fuzz` searches for new ones."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.campaign import Process, plan, run_cases
from tests.fuzz.planted import PLANTED
from tests.fuzz.seeds import write_seeds
from tests.fuzz.targets import TARGETS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="memory and sockets are watched on Linux"),
]

SEED = "0"

CASES = 1000
"""Of all targets together: a minute or two, by the machine."""

GROUPS = (
    ("image", "mask", "large image", "run", "run in tiles", "list"),
    ("card", "class map", "recipe", "palette", "zones", "report", "history", "baseline", "data"),
    ("coco", "labelme", "folder", "camvid"),
    ("checkpoint", "onnx", "torchscript", "pt2", "openvino", "inspect", "inspect openvino"),
    ("verify", "weights", "adopt", "eval", "compare", "export", "resumed training"),
    ("film", "pipe", "run of a film", "resumed run", "killed run", "names", "options"),
    ("process of images", "process of a film", "process of a model"),
    ("training by a recipe", "training on a dataset"),
)
"""Targets that one process is given, so that the groups are spread over all cores."""

REFUSED = {
    "image": ("hostile/", "real.tif"),
    "run": ("hostile/", "real.tif"),
    "large image": ("hostile/", "real.tif"),
    "run in tiles": ("real.tif",),
}
"""Parts of the paths of seeds that a target may refuse."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a campaign."""
    folder = tmp_path_factory.mktemp("fuzz").resolve()
    write_seeds(folder / "seeds")
    return folder


@pytest.fixture(scope="module")
def process(root: Path) -> Iterator[Process]:
    """A process that reads files, with little patience."""
    started = Process(root, SEED, limit=20)
    yield started
    started.close()


def test_every_target_is_in_a_group() -> None:
    """A target that is in none would never be tried."""
    assert sorted(name for group in GROUPS for name in group) == sorted(TARGETS)


@pytest.mark.parametrize("name", TARGETS)
def test_intact_files_are_read(name: str, root: Path, process: Process) -> None:
    """Mutations of a file that is refused anyway would prove nothing."""
    found = TARGETS[name].find(root / "seeds")

    # Processes that import PyTorch take seconds.
    for number, path in enumerate(found[:1] if name.startswith(("process", "training")) else found):
        verdict, reason = process.run(name, -1 - number)

        may_refuse = any(part in str(path) for part in REFUSED.get(name, ()))
        assert verdict == "done" or (verdict == "refused" and may_refuse), f"{path}: {reason}"


@pytest.mark.parametrize("name", [name for name in PLANTED if "hang" not in name])
def test_fault_is_found(name: str, process: Process) -> None:
    """A campaign that could not find a fault would count none."""
    verdict, _ = process.run(name, 0)

    assert verdict == name.split()[1]


def test_hang_is_found(root: Path) -> None:
    """A process that does not answer is ended, and the next one goes on."""
    process = Process(root, SEED, limit=0.5)
    try:
        assert process.run("planted: hang 0", 0)[0] == "hang"
        assert process.run("planted: traceback 0", 0)[0] == "traceback"
    finally:
        process.close()


def test_seed_gives_the_same_file_again(root: Path, process: Process) -> None:
    """A fault can be looked at again by its number."""
    contents = []
    for number in (3, 4, 3):
        process.run("recipe", number)
        contents.append((root / "case" / "input" / "recipe.toml").read_bytes())

    assert contents[0] == contents[2] != contents[1]


@pytest.mark.parametrize("names", GROUPS, ids=lambda names: names[0])
def test_mutated_files_are_read_or_refused(names: tuple[str, ...], root: Path) -> None:
    """No error but ours, no crash, no endless reading, nothing outside the folder."""
    numbers = plan(CASES, tuple(TARGETS))
    cases = ((name, number) for name in names for number in range(numbers[name]))

    counts = run_cases(cases, root, seed=SEED, keep=root / "bad", on_fault=lambda _: None)

    print(counts.table())
    assert [f"{one.target} {one.number}: {one.reason[-500:]}" for one in counts.faults] == []
