"""The files among which `tune` chooses."""

from collections.abc import Sequence
from pathlib import Path

from segdeploy.benchmarks.tuning.files import FORMS, export_files, scaled_sizes
from segdeploy.card import InputSpec
from segdeploy.errors import SegdeployError
from segdeploy.models.checkpoint import Checkpoint, save_checkpoint
from tests.helpers.cards import make_card


def test_sizes_are_multiples_of_the_stride() -> None:
    """The network's own size stays as it is; two shares with one size are one."""
    spec = InputSpec(height=360, width=480, mean=(0, 0, 0), std=(1, 1, 1), stride=32, fit="pad")

    assert scaled_sizes(spec, (1, 0.75, 0.5, 0.51)) == [(360, 480), (256, 352), (192, 256)]


def write_checkpoint(folder: Path) -> Path:
    path = folder / "best.pt"
    save_checkpoint(path, Checkpoint(card=make_card(32, 48), weights={}, state={}))
    return path


def test_each_format_is_exported_and_found_again(tmp_path: Path) -> None:
    """A file that fails is named with its reason; a resumed search exports nothing twice."""
    checkpoint, exported = write_checkpoint(tmp_path), []

    def run(arguments: Sequence[str], seconds: float) -> str:
        assert seconds == 500.0
        target = Path(arguments[arguments.index("--output-file") + 1])
        if "bf16" in target.name:
            msg = "bf16 is not for this network"
            raise SegdeployError(msg)
        exported.append(target.name)
        target.touch()
        return ""

    def export() -> tuple[Sequence[str], Sequence[str]]:
        made = export_files(
            checkpoint,
            tmp_path,
            scales=(1, 0.5),
            options=("--dataset", "streets"),
            left=lambda: 1000.0,
            on_file=lambda _: None,
            run=run,
            has_openvino=True,
        )
        return list(made.paths), made.notes

    names, notes = export()

    assert names[:2] == ["onnx int8 32x48", "openvino int8 32x48"]
    assert len(names) == 2 * (len(FORMS) - 1)
    assert notes[0] == "openvino bf16 32x48 was left out: bf16 is not for this network"
    assert "best-fp32-16x24.xml" in exported
    before = len(exported)
    assert export()[0] == names
    assert len(exported) == before


def test_exports_that_would_take_too_long_are_left_out(tmp_path: Path) -> None:
    """The first one took 60 s, and 100 are left: no more than half of them is spent on one."""
    times = iter([0.0, 60.0])

    made = export_files(
        write_checkpoint(tmp_path),
        tmp_path,
        scales=(1,),
        options=(),
        left=lambda: 100.0,
        on_file=lambda _: None,
        run=lambda _arguments, _seconds: "",
        clock=lambda: next(times),
        has_openvino=False,
    )

    assert list(made.paths) == ["onnx int8 32x48"]
    assert made.notes[0] == "onnx fp32 32x48 was left out, since its export would take too long"
    assert "openvino is not installed" in made.notes[1]
