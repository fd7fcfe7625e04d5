"""The table of networks and formats says what passed, and why the others did not."""

from collections.abc import Sequence
from pathlib import Path

from segdeploy.benchmarks.studies.formats import to_markdown, try_formats
from segdeploy.errors import SegdeployError


def run(arguments: Sequence[str]) -> str:
    """Export as the command would: one format fails its proof, another cannot be converted."""
    if "ncnn" in arguments:
        msg = "unet cannot be converted to ncnn: it has no layer for torch.gt; choose --format onnx"
        raise SegdeployError(msg)
    if "fp16" in arguments:
        msg = "a.mnn was not written: on 2 images; first layer that diverges: stem.0 (a|b)"
        raise SegdeployError(msg)
    return ""


def test_cells_name_layer_and_operator() -> None:
    cells: list[str] = []

    rows = list(try_formats(Path("a.pt"), ["mnn fp32", "mnn fp16", "ncnn fp32"], cells.append, run))

    assert rows == cells == ["passes", "stem.0 (a/b)", "ncnn: it has no layer for torch.gt"]


def test_table_counts_the_cells_that_pass() -> None:
    table = to_markdown({"unet": ["passes", "stem.0"]}, ["mnn fp32", "ncnn fp32"])

    assert table == (
        "| network | mnn fp32 | ncnn fp32 |\n| --- | --- | --- |\n| unet | passes | stem.0 |\n\n"
        "1 of 2 pass"
    )
