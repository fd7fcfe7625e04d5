"""TorchScript files: one that could execute more than a network needs is refused."""

import pickle
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from segdeploy.backends.loading import load_backend
from segdeploy.backends.torch_script import checked_script
from segdeploy.card import CARD_KEY
from segdeploy.errors import ModelError, UntrustedError
from segdeploy.inference.self_test import built_in_image
from segdeploy.system.budget import VARIABLE
from tests.helpers.archives import Change, changed, entries_of

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:.*torch.jit"),
]

CODE = "code/__torch__.py"


def code(change: Callable[[str], str]) -> Change:
    """Change the code of an archive."""

    def act(entries: dict[str, bytes]) -> None:
        name = next(name for name in entries if name.endswith(".py"))
        entries[name] = change(entries[name].decode()).encode()

    return act


def first(line: str) -> Change:
    """Put a line before the others of the method."""
    return code(lambda text: text.replace("-> Tensor:\n", f"-> Tensor:\n    {line}\n", 1))


def entry(name: str, content: bytes) -> Change:
    return lambda entries: entries.update({name: content})


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (first('x = torch.save(image, "x")'), "the operator 'torch.save'"),
        (first('x = torch.from_file("x", True, 9)'), "the operator 'torch.from_file'"),
        (first("x = ops.aten.set_(image, image)"), "the operator 'ops.aten.set_'"),
        (first("x = ops.prim.Print(image)"), "the operator 'ops.prim.Print'"),
        (first('x = ops.image.read_file("x")'), "the operator 'ops.image.read_file'"),
        (first("x = torch.add(image, self)"), "the name 'self'"),
        (first("x = torch.add(self.x, 1)"), "the expression 'self.x'"),
        (first("torch = 1"), "the name 'torch'"),
        (first("x = __torch__.Other.run(image)"), "the operator '__torch__.Other.run'"),
        (first("x = CONSTANTS.c999"), "the constant 'CONSTANTS.c999'"),
        (first("x = 1 if True else 2"), "the expression"),
        (first("x = image[0]"), "the expression 'image[0]'"),
        (first("x = 1\n    while True:\n      x = 2"), "the statement"),
        (first("x = " + "[" * 100 + "]" * 100), "brackets within each other"),
        (first("x = 1 +"), "code that cannot be read"),
        (first("x = 1 # \xe9"), "code that cannot be read"),
        (first('x = annotate(__torch__.Other, "")'), "the type '__torch__.Other'"),
        (code(lambda text: text + "def other(x: int) -> int:\n  return x\n"), "one class"),
        (code(lambda text: text.replace("(Module)", "(Interface)")), "one class"),
        (code(lambda text: "import __torch__.other\n" + text), "one class"),
        (entry("code/__torch__/other.py", b"class Other(Module):\n  pass\n"), "2 classes"),
        (entry("data/0", b"\0" * 4), "an entry 'data/0'"),
        (entry("code/__torch__/native.so", b"code"), "an entry 'code/__torch__/native.so'"),
    ],
)
def test_file_that_could_execute_more_than_a_network_is_refused(
    artifacts: Path, tmp_path: Path, change: Change, what: str
) -> None:
    """TorchScript is a language, with operators that write files."""
    path = changed(artifacts / "best.torchscript", tmp_path / "unsafe.torchscript", change)

    with pytest.raises(UntrustedError, match="--trust") as caught:
        load_backend(path, device="cpu")

    assert what in str(caught.value)


def huge(entries: dict[str, bytes]) -> None:
    """Let the first weight be a billion times as large as its bytes."""
    entries["constants.pkl"] = entries["constants.pkl"].replace(
        b"(K\x01K\x03K\x01K\x01t", b"(J\xff\xff\xff\x3fK\x03K\x01K\x01t", 1
    )


@pytest.mark.parametrize(
    "change",
    [
        entry("constants.pkl", pickle.dumps((print,), protocol=2)),
        entry("constants.pkl", b"\x80\x02r\xff\xff\xff\x7f."),
        entry("constants.pkl", b"\x80\x02(("),
        entry("constants/0", b""),
        huge,
    ],
)
def test_weights_that_are_no_plain_tensors_are_refused(
    artifacts: Path, tmp_path: Path, change: Change
) -> None:
    """PyTorch's own reader ends the process with some of them."""
    path = changed(artifacts / "best.torchscript", tmp_path / "damaged.torchscript", change)

    with pytest.raises(ModelError, match="was not loaded"):
        load_backend(path, device="cpu")


def test_what_is_loaded_is_what_was_read(artifacts: Path, tmp_path: Path) -> None:
    """Code and pickles are written anew, so that no other reader finds more in them."""
    path = changed(
        artifacts / "best.torchscript",
        tmp_path / "best.torchscript",
        lambda entries: [
            code(lambda text: f"{text}# a comment\n")(entries),
            entry("data.pkl", b""),
        ],
    )

    (tmp_path / "checked").write_bytes(checked_script(path).read())

    entries = entries_of(tmp_path / "checked")
    assert b"comment" not in entries[CODE]
    assert entries["data.pkl"].startswith(b"\x80\x02c__torch__\nNetwork\n")
    assert not [name for name in entries if "extra" in name or "debug" in name]
    np.testing.assert_array_equal(
        load_backend(path, device="cpu").run(built_in_image(45, 60)),
        load_backend(artifacts / "best.torchscript", device="cpu", trust=True).run(
            built_in_image(45, 60)
        ),
    )


class Forms(nn.Module):
    """A network of many kinds of arguments: texts, lists, several outputs of one operator."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 11, 1)
        self.register_buffer("table", torch.arange(12, dtype=torch.int64).view(3, 4).t())

    def forward(self, image: Tensor) -> Tensor:
        left, right = self.head(image.permute(0, 3, 1, 2) / 255.0).chunk(2, 3)
        joined = nn.functional.gelu(torch.cat([left, right], 3), approximate="tanh")
        largest, _ = joined.max(1, keepdim=True)
        return joined - largest * torch.full((1,), 1e-3) + self.table.sum() - float("1e-30")


def test_all_forms_of_arguments_are_written_anew_as_they_were(
    artifacts: Path, tmp_path: Path
) -> None:
    """The file computes what PyTorch computes."""
    card = load_backend(artifacts / "best.onnx", device="cpu").card
    network, image = Forms().eval(), torch.from_numpy(built_in_image(45, 60))
    with torch.no_grad():
        traced = torch.jit.freeze(torch.jit.trace(network, image))  # type: ignore[no-untyped-call]
        torch.jit.save(
            traced, tmp_path / "forms.torchscript", _extra_files={CARD_KEY: card.to_json()}
        )
        expected = network(image).numpy()

    output = load_backend(tmp_path / "forms.torchscript", device="cpu").run(image.numpy())

    np.testing.assert_allclose(output, expected, rtol=1e-5)


def test_output_that_contradicts_the_card_is_refused(artifacts: Path, tmp_path: Path) -> None:
    """All operators are harmless, and the result is none of a segmentation."""
    path = changed(
        artifacts / "best.torchscript",
        tmp_path / "other.torchscript",
        code(lambda text: text.replace("    return ", "    return torch.sum(image)#", 1)),
    )

    with pytest.raises(ModelError, match="contradicts its card"):
        load_backend(path, device="cpu").run(built_in_image(45, 60))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can limit the memory of a process")
def test_file_that_takes_gigabytes_is_refused(artifacts: Path, tmp_path: Path) -> None:
    """Its operators are harmless, and their sizes are not."""
    ones = "torch.sum(torch.ones([4000000000], dtype=6))"
    grow = code(lambda text: re.sub(r"return (\w+)", rf"return torch.add(\1, {ones})", text))
    path = changed(artifacts / "best.torchscript", tmp_path / "big.torchscript", grow)

    with pytest.raises(ModelError, match=f"takes more memory than it may; set {VARIABLE}"):
        load_backend(path, device="cpu", threads=1)
