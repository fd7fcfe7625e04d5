"""A page for browsers: proven before it has its name, refused where a browser cannot run it."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace

from segdeploy.backends.loading import read_card
from segdeploy.card import ModelCard
from segdeploy.cli.main import main
from segdeploy.errors import ConfigError, OutputError, ProofError
from segdeploy.export import web_format
from segdeploy.export.exporter import export_plan
from segdeploy.export.plan import ExportConfig, ExportPlan
from segdeploy.models.checkpoint import load_checkpoint
from segdeploy.web import site
from tests.helpers.pages import require_node, require_runtime
from tests.helpers.plans import make_plan


@pytest.fixture
def card(checkpoint_folder: Path) -> ModelCard:
    return load_checkpoint(checkpoint_folder / "best.pt").card


@pytest.fixture
def plan(checkpoint_folder: Path, card: ModelCard) -> ExportPlan:
    require_runtime()
    return make_plan(load_checkpoint(checkpoint_folder / "best.pt").network(), card)


def test_a_network_of_other_images_is_refused(card: ModelCard) -> None:
    """A canvas has red, green and blue of 8 bits only."""
    deep = replace(card, input=replace(card.input, dtype="uint16"))

    with pytest.raises(ConfigError, match=r"8 bits, and this network takes red, green, blue in ui"):
        web_format.check(deep, ExportConfig())


def test_a_folder_of_the_user_is_not_replaced(plan: ExportPlan, tmp_path: Path) -> None:
    """Only what an export wrote may be lost."""
    (tmp_path / "site.web").mkdir()
    (tmp_path / "site.web" / "index.html").write_text("mine")

    with (
        pytest.raises(OutputError, match="segdeploy did not write it"),
        web_format.replacing_page(tmp_path / "site.web", plan),
    ):
        pass

    assert [path.name for path in (tmp_path / "site.web").iterdir()] == ["index.html"]


@pytest.mark.slow
def test_command_writes_a_page_that_ran_in_node(
    checkpoint_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The folder is whole, its list names every file, and it says what was proven."""
    require_runtime()
    require_node()
    monkeypatch.chdir(tmp_path)
    shutil.copy(checkpoint_folder / "best.pt", "best.pt")

    main(["export", "best.pt", "--format", "web", "--proof-images", "2"])

    folder = Path("best.web")
    listed = json.loads((folder / site.LIST_FILE).read_text().partition("=")[2].strip(" ;\n"))
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    _, err = capsys.readouterr()
    assert set(listed["names"]) == files - {site.LIST_FILE, site.SERVICE_FILE} | {"./"}
    assert read_card(folder / site.MODEL_FILE).parity is not None
    assert "page equal to Python's: 100.0000%, on onnxruntime-web" in " ".join(err.split())
    assert "next: python3 -m http.server --directory best.web" in err
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["best.pt", "best.web"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("labels[at] = index;", "labels[at] = 0;"),
        ("export function toMask", "export function other"),
    ],
)
def test_a_page_that_is_wrong_gets_no_name(
    plan: ExportPlan,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    old: str,
    new: str,
) -> None:
    """Other labels than Python's, or code that does not load: no folder is left."""
    require_node()
    copy_page = site.copy_page

    def damaged(folder: Path, *, webgpu: bool) -> None:
        copy_page(folder, webgpu=webgpu)
        code = (folder / "upsample.js").read_text()
        assert old in code
        (folder / "upsample.js").write_text(code.replace(old, new))

    monkeypatch.setattr(site, "copy_page", damaged)

    with pytest.raises(ProofError, match=r"a\.web was not written"):
        list(export_plan(dataclasses.replace(plan, targets={"web": tmp_path / "a.web"})))

    assert list(tmp_path.iterdir()) == []
