"""Exported programs: one that could execute code is refused before PyTorch reads it."""

import json
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import segdeploy
from segdeploy.backends.loading import KINDS, load_backend
from segdeploy.backends.torch_program import CONFIGS, MODEL, SAMPLES, checked_program
from segdeploy.card import CARD_KEY
from segdeploy.errors import ModelError, UntrustedError
from segdeploy.export.torch_formats import to_pt2
from segdeploy.inference.self_test import built_in_image
from segdeploy.models.deployed import Deployed
from segdeploy.system.budget import VARIABLE
from tests.helpers.archives import Change, changed
from tests.helpers.cards import make_card
from tests.helpers.plans import make_plan


def entry(name: str, content: bytes) -> Change:
    return lambda entries: entries.update({name: content})


def within(name: str, act: Callable[[Any], None]) -> Change:
    """Change the JSON of an entry."""

    def change(entries: dict[str, bytes]) -> None:
        values = json.loads(entries[name])
        act(values)
        entries[name] = json.dumps(values).encode()

    return change


def first_weight(**values: object) -> Change:
    return within(CONFIGS[0], lambda config: next(iter(config["config"].values())).update(values))


def first_node(**values: object) -> Change:
    return within(MODEL, lambda model: model["graph_module"]["graph"]["nodes"][0].update(values))


def some_node(**values: object) -> Change:
    """Change a node in the middle of the graph."""
    return within(MODEL, lambda model: model["graph_module"]["graph"]["nodes"][4].update(values))


def size(text: str) -> Change:
    return within(MODEL, lambda model: model.update(range_constraints={"s0": {"expr_str": text}}))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (entry("data/aotinductor/model/x.so", b"code"), "an entry 'data/aotinductor/model/x.so'"),
        (entry("data/weights/model.pt", b"a pickle"), "an entry 'data/weights/model.pt'"),
        (
            entry("data/constants/custom_obj_0", b"a pickle"),
            "an entry 'data/constants/custom_obj_0'",
        ),
        (entry(SAMPLES, b"a pickle"), "an entry 'data/sample_inputs/model.pt'"),
        (first_weight(use_pickle=True), "with use_pickle"),
        (first_weight(path_name="opaque_obj_0"), "a tensor with path_name 'opaque_obj_0'"),
        (first_weight(path_name="weight_999"), "a tensor with path_name 'weight_999'"),
        (first_weight(tensor_meta={"sizes": [{"as_int": 10**9}]}), "larger than its bytes"),
        (
            within(CONFIGS[0], lambda config: config["config"].update({"a'b": next(iter(config))})),
            'a name "a\'b"',
        ),
        (first_node(target="torch.hub.load"), "the operator 'torch.hub.load'"),
        (first_node(target="torch.ops.load_library"), "the operator"),
        (first_node(target="torch.ops.aten.from_file.default"), "aten.from_file"),
        (first_node(target="torch.ops.aten.save.default"), "aten.save"),
        (first_node(target="torch.ops.aten.set_.source_Tensor"), "aten.set_"),
        (first_node(target="torch.ops.prim.Print.default"), "the operator"),
        (first_node(target="#custom:x"), "the operator '#custom:x'"),
        (first_node(name="x = exit()"), "a name 'x = exit()'"),
        (first_node(outputs=[{"as_tensor": {"name": "x;exit()"}}]), "a name 'x;exit()'"),
        (some_node(inputs=[{"name": "f", "arg": {"as_operator": "x"}}]), "kind 'as_operator'"),
        (some_node(inputs=[{"name": "f", "arg": {"as_graph": {}}}]), "kind 'as_graph'"),
        (within(MODEL, lambda model: model.update(guards_code=["exit()"])), "guards"),
        (
            within(
                MODEL,
                lambda model: model["graph_module"]["module_call_graph"][0]["signature"].update(
                    in_spec='[1, {"type": "collections.defaultdict", "context": "os.system"}]'
                ),
            ),
            "inputs",
        ),
        (size("__import__('os').system('true')"), "a size"),
        (size("eval(chr(49))"), "a size"),
        (size("Symbol('x y')"), "a size"),
        (size("Symbol('s0').name"), "a size"),
        (size("9**9**9**9"), "a size"),
        (size("Pow(Integer(9), Integer(999999999))"), "a size"),
        (size("Integer(" * 300 + ")" * 300), "a size"),
    ],
)
def test_archive_that_could_execute_code_is_refused(
    artifacts: Path, tmp_path: Path, change: Change, what: str
) -> None:
    """PyTorch's reader unpickles, looks up and evaluates whatever the file contains."""
    path = changed(artifacts / "best.pt2", tmp_path / "unsafe.pt2", change)

    with pytest.raises(UntrustedError, match="--trust") as caught:
        load_backend(path, device="cpu")

    assert what in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "Symbol('s40', positive=True, integer=True)",
        "Add(Mul(Integer(2), FloorDiv(Symbol('s7'), Integer(16))), Integer(-1))",
        "s0",
    ],
)
def test_sums_are_allowed_as_sizes(artifacts: Path, tmp_path: Path, text: str) -> None:
    """A dynamic program computes its sizes."""
    path = changed(artifacts / "best.pt2", tmp_path / "sums.pt2", size(text))

    with zipfile.ZipFile(checked_program(path)) as archive:
        assert (
            text
            in json.loads(archive.read(f"archive/{MODEL}"))["range_constraints"]["s0"]["expr_str"]
        )


def test_archive_without_a_program_is_refused(artifacts: Path, tmp_path: Path) -> None:
    """A TorchScript file is a ZIP archive too."""
    path = changed(
        artifacts / "best.pt2", tmp_path / "empty.pt2", lambda entries: entries.pop(MODEL) and None
    )

    with pytest.raises(ModelError, match="holds no exported program"):
        load_backend(path, device="cpu")


def test_what_was_not_checked_is_not_given_to_pytorch(artifacts: Path) -> None:
    """Nodes say by name which function of the exporter made them; PyTorch would look it up."""
    with zipfile.ZipFile(checked_program(artifacts / "best.pt2")) as archive:
        names = archive.namelist()
        nodes = json.loads(archive.read(f"archive/{MODEL}"))["graph_module"]["graph"]["nodes"]

    assert not [name for name in names if "extra" in name]
    assert {str(node["metadata"]) for node in nodes} == {"{}"}


def test_file_that_the_user_trusts_is_loaded_as_it_is(artifacts: Path, tmp_path: Path) -> None:
    """A network of one's own may need an operator that is not on the list."""
    path = changed(
        artifacts / "best.pt2", tmp_path / "own.pt2", entry("data/notes.txt", b"not of ours")
    )
    with pytest.raises(UntrustedError, match=r"an entry 'data/notes.txt'"):
        segdeploy.load(path, device="cpu")

    backend = load_backend(path, device="cpu", trust=True)

    assert backend.run(built_in_image(45, 60)).shape[0] == 1


def test_graph_that_cannot_run_is_refused_in_a_sentence(artifacts: Path, tmp_path: Path) -> None:
    """Each operator is harmless, and its arguments are impossible."""
    path = changed(
        artifacts / "best.pt2",
        tmp_path / "impossible.pt2",
        within(
            MODEL,
            lambda model: model["graph_module"]["graph"]["nodes"][0]["inputs"][1].update(
                arg={"as_ints": [0, 1, 2]}
            ),
        ),
    )

    with pytest.raises(ModelError, match="export it again"):
        load_backend(path, device="cpu").run(built_in_image(45, 60))


def test_file_contains_no_path_of_this_machine(artifacts: Path) -> None:
    """PyTorch stores a stack trace at every node; a published file must not reveal folders."""
    with zipfile.ZipFile(artifacts / "best.pt2") as archive:
        content = b"".join(archive.read(name) for name in archive.namelist())

    assert b".py" not in content
    assert b"/segdeploy/" not in content


def test_renamed_torchscript_keeps_its_checksum(artifacts: Path, tmp_path: Path) -> None:
    """The top folder of the archive is named after the file that was written first."""
    shutil.copy(artifacts / "best.torchscript", tmp_path / "other.torchscript")
    kind = KINDS[".torchscript"]

    assert kind.checksum(tmp_path / "other.torchscript") == kind.checksum(
        artifacts / "best.torchscript"
    )


class Hungry(nn.Module):
    """A network that makes a tensor of 16 GB on the way."""

    def forward(self, image: Tensor) -> Tensor:
        """Return the image, whose channels are the logits of three classes."""
        return image + torch.ones(4_000_000_000).sum()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can limit the memory of a process")
def test_file_that_takes_gigabytes_is_refused(tmp_path: Path) -> None:
    """Its operators are harmless, and their sizes are not."""
    card = make_card(classes=("red", "green", "blue"))
    network = Deployed(Hungry(), card.input.mean, card.input.std).eval()
    to_pt2(make_plan(network, card)).write(tmp_path / "big.pt2", {CARD_KEY: card.to_json()})

    with pytest.raises(ModelError, match=f"takes more memory than it may; set {VARIABLE}"):
        load_backend(tmp_path / "big.pt2", device="cpu", threads=1)
