"""A checkpoint returns what was saved, and nothing in an untrusted file is ever executed."""

import os
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from msgspec import structs

from segdeploy import models
from segdeploy.card import CARD_KEY, InputSpec, LabelClass, ModelCard
from segdeploy.errors import ModelError, OutputError
from segdeploy.models.checkpoint import (
    STATE_KEY,
    WEIGHTS_KEY,
    Checkpoint,
    check_shapes,
    load_checkpoint,
    read_tensors,
    save_checkpoint,
)
from segdeploy.system.budget import VARIABLE

pytestmark = pytest.mark.usefixtures("one_thread")

CARD = ModelCard(
    architecture="unet",
    arguments={"width": 1, "depth": 1},
    classes=(LabelClass(name="a", color=(1, 2, 3)), LabelClass(name="b", color=(4, 5, 6))),
    input=InputSpec(height=6, width=8, mean=(0.4, 0.5, 0.6), std=(0.1, 0.2, 0.3)),
)


class Trap:
    """An object that creates a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._path),)


@pytest.fixture
def checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    weights = models.build("unet", 2, width=1, depth=1).state_dict()
    return Checkpoint(
        card=CARD,
        weights=weights,
        state={"step": 3, "random": torch.get_rng_state(), "history": [{"loss": 0.5}]},
    )


@pytest.fixture
def file(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    path = tmp_path / "good.pt"
    save_checkpoint(path, checkpoint)
    return path


def save(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def test_loads_what_was_saved(file: Path, checkpoint: Checkpoint) -> None:
    """Card, weights and training state."""
    again = load_checkpoint(file)

    assert again.card == checkpoint.card
    assert all(torch.equal(again.weights[key], value) for key, value in checkpoint.weights.items())
    assert again.state["history"] == [{"loss": 0.5}]
    assert torch.equal(again.state["random"], checkpoint.state["random"])


@torch.no_grad()
def test_network_normalizes_as_the_card_says(file: Path) -> None:
    """Uint8 goes in; (x / 255 - mean) / std reaches the network."""
    loaded = load_checkpoint(file)
    image = torch.arange(6 * 8 * 3, dtype=torch.uint8).view(1, 6, 8, 3)
    plain = models.build("unet", 2, width=1, depth=1).eval()
    plain.load_state_dict(dict(loaded.weights))

    normalized = (
        image.permute(0, 3, 1, 2) / 255 - torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1)
    ) / torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)

    torch.testing.assert_close(loaded.network()(image), plain(normalized))


@pytest.mark.parametrize("key", [CARD_KEY, WEIGHTS_KEY, STATE_KEY])
def test_malicious_pickle_is_refused_and_never_executed(
    tmp_path: Path, key: str, checkpoint: Checkpoint
) -> None:
    """Whichever entry contains it."""
    content = {
        CARD_KEY: checkpoint.card.to_json(),
        WEIGHTS_KEY: dict(checkpoint.weights),
        STATE_KEY: {},
    }
    path = save(tmp_path / "malicious.pt", {**content, key: Trap(tmp_path / "executed")})

    with pytest.raises(ModelError, match="holds more than tensors and plain values"):
        load_checkpoint(path)

    assert not (tmp_path / "executed").exists()


def test_plain_pickle_is_refused_and_never_executed(tmp_path: Path) -> None:
    """Old PyTorch files are bare pickles; ours never are."""
    path = tmp_path / "malicious.pt"
    path.write_bytes(pickle.dumps(Trap(tmp_path / "executed")))

    with pytest.raises(ModelError, match="is not an archive of PyTorch"):
        load_checkpoint(path)

    assert not (tmp_path / "executed").exists()


def test_truncated_file_is_refused(file: Path, tmp_path: Path) -> None:
    """Wherever a copy was interrupted, the message is one sentence."""
    whole = file.read_bytes()
    broken = tmp_path / "broken.pt"

    for length in (*range(0, len(whole), 97), len(whole) - 1):
        broken.write_bytes(whole[:length])
        with pytest.raises(ModelError, match="damaged"):
            load_checkpoint(broken)


def test_file_that_would_grow_is_refused(file: Path, tmp_path: Path) -> None:
    """A few bytes of ZIP can unpack to more than the machine has."""
    bomb = tmp_path / "bomb.pt"
    with (
        zipfile.ZipFile(file) as source,
        zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for entry in source.namelist():
            target.writestr(entry, source.read(entry))
        folder = entry.partition("/")[0]
        target.writestr(f"{folder}/data/zeros", bytes(10_000_000))

    with pytest.raises(ModelError, match="compressed entries of more than 0 bytes"):
        load_checkpoint(bomb)


def test_weights_of_others_that_would_grow_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may be compressed, but not to more than the budget of a file."""
    torch.save({"w": torch.zeros(1_000_000)}, tmp_path / "plain.pt")
    with (
        zipfile.ZipFile(tmp_path / "plain.pt") as source,
        zipfile.ZipFile(tmp_path / "small.pt", "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for entry in source.namelist():
            target.writestr(entry, source.read(entry))
    assert isinstance(read_tensors(tmp_path / "small.pt", hint="try another"), dict)
    monkeypatch.setenv(VARIABLE, "1MB")

    with pytest.raises(ModelError, match="compressed entries of more than 1048576 bytes"):
        read_tensors(tmp_path / "small.pt", hint="try another")


@pytest.mark.parametrize(
    "content",
    [
        [1, 2],
        {"weights": {}},
        {CARD_KEY: 3, WEIGHTS_KEY: {}, STATE_KEY: {}},
        {CARD_KEY: CARD.to_json(), WEIGHTS_KEY: [1], STATE_KEY: {}},
        {CARD_KEY: CARD.to_json(), WEIGHTS_KEY: {"a": 1}, STATE_KEY: {}},
        {CARD_KEY: CARD.to_json(), WEIGHTS_KEY: {1: torch.ones(1)}, STATE_KEY: {}},
        {CARD_KEY: CARD.to_json(), WEIGHTS_KEY: {}, STATE_KEY: 3},
        {CARD_KEY: "{}", WEIGHTS_KEY: {}, STATE_KEY: {}},
    ],
)
def test_other_content_is_refused(tmp_path: Path, content: object) -> None:
    """Plain values of another structure are not a checkpoint either."""
    path = save(tmp_path / "foreign.pt", content)

    with pytest.raises(ModelError, match=r"segdeploy train|damaged card"):
        load_checkpoint(path)


def test_every_weight_must_fit(checkpoint: Checkpoint) -> None:
    """The message names a missing weight, an unknown one, and one of another shape."""
    weights = dict(checkpoint.weights)
    missing = {key: value for key, value in weights.items() if key != "head.bias"}

    with pytest.raises(
        ModelError, match=r"head.bias is missing in the file and \(2,\) in the network"
    ):
        replace(checkpoint, weights=missing).network()
    with pytest.raises(ModelError, match=r"tail is \(1,\) in the file and unknown in the network"):
        replace(checkpoint, weights={**weights, "tail": torch.ones(1)}).network()
    with pytest.raises(
        ModelError, match=r"head.bias is \(3,\) in the file and \(2,\) in the network"
    ):
        replace(checkpoint, weights={**weights, "head.bias": torch.ones(3)}).network()


def test_ignored_names_may_differ() -> None:
    """The head of a network with other classes."""
    expected = {"body": torch.zeros(2), "head": torch.zeros(3)}
    given = {"body": torch.zeros(2), "head": torch.zeros(5)}

    check_shapes(expected, given, problem="p", hint="h", ignored={"head"})

    with pytest.raises(
        ModelError, match=r"^p: head is \(5,\) in the file and \(3,\) in the network; h$"
    ):
        check_shapes(expected, given, problem="p", hint="h")


@pytest.mark.parametrize(
    ("architecture", "arguments"),
    [
        ("vnet", {}),
        ("unet", {"width": 10**9}),
        ("unet", {"width": 10**30}),
        ("unet", {"width": "1"}),
        ("unet", {"depth": -1}),
        ("unet", {"x": 1}),
    ],
)
def test_card_of_an_impossible_network_is_refused(
    checkpoint: Checkpoint, architecture: str, arguments: dict[str, Any]
) -> None:
    """A forged card neither fills the memory nor ends in a traceback."""
    card = structs.replace(CARD, architecture=architecture, arguments=arguments)

    with pytest.raises(ModelError, match=r"cannot be built|do not fit"):
        replace(checkpoint, card=card).network()


def test_missing_file_and_folder_are_reported(tmp_path: Path) -> None:
    """With the name in the message."""
    with pytest.raises(ModelError, match=r"no file .*absent\.pt"):
        load_checkpoint(tmp_path / "absent.pt")
    with pytest.raises(ModelError, match="no file"):
        load_checkpoint(tmp_path)


def test_failed_writing_leaves_the_old_file(file: Path, checkpoint: Checkpoint) -> None:
    """`last.pt` is never a broken file."""
    before = file.read_bytes()

    with pytest.raises(AttributeError):
        save_checkpoint(file, replace(checkpoint, state={"no": lambda: None}))

    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["good.pt"]


def test_what_cannot_be_read_again_gets_no_name(file: Path, checkpoint: Checkpoint) -> None:
    """A whole training once ended with files that no command reads."""
    before = file.read_bytes()

    with pytest.raises(OutputError, match=r"cannot write .*good\.pt: .* cannot be read again"):
        save_checkpoint(file, replace(checkpoint, state={"ids": {Path()}}))

    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["good.pt"]


def test_a_full_disk_is_reported_in_a_sentence(file: Path, checkpoint: Checkpoint) -> None:
    """PyTorch alone reports a position within its archive. A limit stands for the disk."""
    resource = pytest.importorskip("resource")
    before, limits = file.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    large = replace(checkpoint, state={"more": torch.zeros(100_000)})

    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"cannot write .*good\.pt: File too large; free"):
            save_checkpoint(file, large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert file.read_bytes() == before
