"""A repository that Triton reads: validated by Triton's schema, complete or absent."""

import importlib.util
import shutil
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
from msgspec.structs import replace

from segdeploy.backends.loading import read_card
from segdeploy.card import ModelCard
from segdeploy.cli.main import main
from segdeploy.errors import OutputError
from segdeploy.export.plan import ExportPlan
from segdeploy.export.triton_repository import configuration, replacing_model
from segdeploy.models.checkpoint import load_checkpoint
from tests.helpers.plans import make_plan


@pytest.fixture(scope="module")
def form() -> ModuleType:
    """Classes that are generated from Triton's model_config.proto, without its client."""
    found = find_spec("tritonclient")
    if found is None or found.submodule_search_locations is None:
        pytest.skip("tritonclient is not installed")
    path = Path(found.submodule_search_locations[0]) / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def card(checkpoint_folder: Path) -> ModelCard:
    return replace(load_checkpoint(checkpoint_folder / "best.pt").card, output="classes")


@pytest.fixture
def plan(checkpoint_folder: Path, card: ModelCard) -> ExportPlan:
    network = load_checkpoint(checkpoint_folder / "best.pt").network()
    return make_plan(network, card, serve_on="cpu")


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_configuration_is_what_triton_reads(form: ModuleType, card: ModelCard, device: str) -> None:
    """An unknown field is an error of the parser."""
    from google.protobuf import text_format

    read = text_format.Parse(
        configuration(card, name="street", repository=Path("best.triton"), device=device),
        form.ModelConfig(),
    )

    assert (read.name, read.backend) == ("street", "onnxruntime")
    assert [(one.name, one.data_type, list(one.dims)) for one in read.input] == [
        ("image", form.TYPE_UINT8, [45, 60, 3])
    ]
    assert [(one.name, one.data_type, list(one.dims)) for one in read.output] == [
        ("classes", form.TYPE_UINT8, [45, 60])
    ]
    assert read.output[0].label_filename == "labels.txt"
    assert read.max_batch_size >= max(read.dynamic_batching.preferred_batch_size)
    assert [group.kind for group in read.instance_group] == [
        form.ModelInstanceGroup.KIND_CPU if device == "cpu" else form.ModelInstanceGroup.KIND_GPU
    ]


def test_dynamic_sizes_and_other_outputs(form: ModuleType, card: ModelCard) -> None:
    from google.protobuf import text_format

    dynamic = replace(card, input=replace(card.input, dynamic=True), confidence=True)

    sure, soft = (
        text_format.Parse(
            configuration(one, name="a", repository=Path("a"), device="cpu"), form.ModelConfig()
        )
        for one in (dynamic, replace(card, output="probabilities"))
    )

    assert list(sure.input[0].dims) == [-1, -1, 3]
    assert [one.name for one in sure.output] == ["classes", "confidence"]
    assert [(one.data_type, list(one.dims)) for one in soft.output] == [
        (form.TYPE_FP32, [11, 45, 60])
    ]


def write(repository: Path, plan: ExportPlan, content: str) -> None:
    """Write a repository with a text instead of the network."""
    with replacing_model(repository, plan) as folder:
        (folder / "1" / "model.onnx").write_text(content)
        if content == "half":
            raise OSError(28, "No space left on device")


def test_repository_holds_model_configuration_and_labels(plan: ExportPlan, tmp_path: Path) -> None:
    """The name of the folder becomes the model's, without what a URL cannot hold."""
    repository = tmp_path / "my street.triton"

    write(repository, plan, "model")

    assert listed(repository) == [
        "my-street/1/model.onnx",
        "my-street/config.pbtxt",
        "my-street/labels.txt",
    ]
    assert (repository / "my-street/labels.txt").read_text().splitlines() == [
        label.name for label in plan.card.classes
    ]


def listed(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.is_file()]


def test_failure_keeps_the_old_model(plan: ExportPlan, tmp_path: Path) -> None:
    write(tmp_path / "a.triton", plan, "old")

    with pytest.raises(OutputError, match="No space"):
        write(tmp_path / "a.triton", plan, "half")

    assert listed(tmp_path) == [
        "a.triton/a/1/model.onnx",
        "a.triton/a/config.pbtxt",
        "a.triton/a/labels.txt",
    ]
    assert (tmp_path / "a.triton/a/1/model.onnx").read_text() == "old"


def test_failure_leaves_no_repository_where_there_was_none(
    plan: ExportPlan, tmp_path: Path
) -> None:
    with pytest.raises(OutputError, match="No space"):
        write(tmp_path / "a.triton", plan, "half")

    assert list(tmp_path.iterdir()) == []


def test_success_replaces_the_old_model_and_no_other(plan: ExportPlan, tmp_path: Path) -> None:
    """The repository may be the one on which a user's server runs."""
    write(tmp_path / "a.triton", plan, "old")
    (tmp_path / "a.triton/other/1").mkdir(parents=True)
    (tmp_path / "a.triton/other/1/model.onnx").write_text("theirs")

    write(tmp_path / "a.triton", plan, "new")

    ours = ["a.triton/a/1/model.onnx", "a.triton/a/config.pbtxt", "a.triton/a/labels.txt"]
    assert listed(tmp_path) == [*ours, "a.triton/other/1/model.onnx"]
    assert (tmp_path / "a.triton/a/1/model.onnx").read_text() == "new"


def test_other_model_of_that_name_is_not_replaced(plan: ExportPlan, tmp_path: Path) -> None:
    (tmp_path / "a.triton/a").mkdir(parents=True)
    (tmp_path / "a.triton/a/config.pbtxt").write_text('name: "a"')

    with pytest.raises(
        OutputError,
        match=r"a\.triton/a exists, and segdeploy did not write it; choose another name",
    ):
        write(tmp_path / "a.triton", plan, "new")

    assert listed(tmp_path) == ["a.triton/a/config.pbtxt"]


def test_file_is_not_replaced_by_a_folder(plan: ExportPlan, tmp_path: Path) -> None:
    (tmp_path / "a.triton").write_text("mine")

    with pytest.raises(OutputError, match="is a file"):
        write(tmp_path / "a.triton", plan, "new")

    assert (tmp_path / "a.triton").read_text() == "mine"


@pytest.mark.slow
def test_command_writes_a_proven_repository(
    checkpoint_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It returns classes, whatever the default of the other formats is."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(checkpoint_folder / "best.pt", "best.pt")

    main(["export", "best.pt", "--format", "triton", "--proof-images", "1", "--serve-on", "cuda"])

    card = read_card(Path("best.triton/best/1/model.onnx"))
    assert card.output == "classes"
    assert card.parity is not None
    assert "KIND_GPU" in Path("best.triton/best/config.pbtxt").read_text()
    out, err = capsys.readouterr()
    size = sum(path.stat().st_size for path in Path("best.triton").rglob("*") if path.is_file())
    assert out.startswith(f"best.triton  {size / 1e6:.1f} MB")
    assert "next: tritonserver --model-repository=best.triton" in err
