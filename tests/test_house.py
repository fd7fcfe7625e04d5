"""The house stays a house: imports go down, nobody imports a workshop, heavy libraries stay where they belong."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = ROOT / "segdeploy"
WORKSHOPS = ("train", "export", "benchmarks")

# A core file imports only from floors above it in this list. A folder's files stand on the folder's floor, except those named here.
FLOORS = [
    {"__init__", "errors"},
    {"atomic", "machine", "memory", "plugins", "scores", "scratch", "assets"},
    {"parity", "parallel", "runs", "console", "box", "plain_file", "toml", "precision", "compiling"},
    {"card"},
    {"pictures", "enlarge", "polygons", "rle"},
    {"confidence"},
    {"pixels"},
    {"overlay", "palettes", "selfcheck", "datasets.sample"},
    {"datasets.cache", "datasets.layout"},
    {"datasets.pairing", "datasets.registry", "datasets.truth", "datasets.raster"},
    {"datasets.legend", "datasets.mixtures"},
    {"datasets.outlines"},
    {"datasets.ade20k", "datasets.camvid", "datasets.carla", "datasets.carvana", "datasets.cityscapes", "datasets.idd_lite"},
    {"datasets.coco", "datasets.folder", "datasets.labelme"},
    {"datasets.proposal", "datasets.server", "datasets.street"},
    {"datasets.streets"},
    {"datasets"},
    {"checks.figures", "checks.finding", "checks.header", "checks.likeness", "checks.orientation", "checks.colors", "contact_sheet"},
    {"checks.chart", "checks.mask"},
    {"checks.look"},
    {"checks.between", "checks.split"},
    {"checks.quick", "checks.recognition", "checks.whole"},
    {"checks"},
    {"models.registry", "models.blocks", "models.deployed", "models.encoders.encoder"},
    {"models.encoders.halving"},
    {"models.encoders.efficientnet", "models.encoders.of_timm", "models.encoders.of_torchvision", "models.encoders.xception"},
    {"models.encoders.building"},
    {"models.encoders"},
    {"models.backbone", "models.context", "models.residual"},
    {"models.bisenetv2", "models.ddrnet", "models.deeplabv3plus", "models.fastscnn", "models.lightfpn", "models.pidnet"},
    {"models.regseg", "models.unet"},
    {"models"},
    {"checkpoint"},
    {"backends.base", "backends.providers", "backends.views", "backends.onnx_file", "backends.archive_file", "backends.ir_file"},
    {"backends.pt2_file"},
    {"backends.lanes"},
    {"backends.eager", "backends.exported_program", "backends.onnx_runtime", "backends.openvino_ir", "backends.torchscript"},
    {"backends.loading", "backends"},
    {"predictor", "verification", "tiles", "large_pictures"},
    {"disagreement", "result"},
    {"disagreement_page", "evaluation", "video.selection"},
    {"video.frames"},
    {"video"},
    {"commands"},
    {"cli"},
    {"__main__"},
]

# Only these import the library at their top; `run` on an ONNX file reaches none of torch's.
HEAVY = {
    "torch": {
        "checkpoint",
        "plain_file",
        "precision",
        "models",
        "backends.lanes",
        "backends.eager",
        "backends.exported_program",
        "backends.torchscript",
    },
    "onnxruntime": {"backends.onnx_runtime", "backends.providers"},
    "onnx": set(),
    "openvino": {"backends.openvino_ir"},
    "matplotlib": {"checks.chart"},
    "pyvips": {"large_pictures"},
}


def module_name(path: Path) -> str:
    """Name of a core file below `segdeploy`, for example "video.sinks"; a folder's __init__ has the folder's name."""
    parts = path.relative_to(CORE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def floor(name: str) -> int:
    """Index of the floor of a module: its own entry, or that of the nearest folder that has one."""
    parts = name.split(".")
    for candidate in (".".join(parts[:length]) for length in range(len(parts), 0, -1)):
        for index, modules in enumerate(FLOORS):
            if candidate in modules:
                return index
    pytest.fail(f"{name} stands on no floor; add it to FLOORS in tests/test_house.py and to docs/architecture.md")


def imported(path: Path, *, top: bool = False) -> set[str]:
    """Full names of the modules that a file imports; with `top`, only those outside functions."""
    tree = ast.parse(path.read_text())
    nodes = list(tree.body) if top else list(ast.walk(tree))
    if top:
        nodes += [inner for node in tree.body if isinstance(node, ast.Try | ast.If | ast.With) for inner in ast.walk(node)]
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            module = node.module or ""
            found |= {name if is_module(name := f"{module}.{alias.name}") else module for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("." * node.level + (node.module or ""))
    return found


def is_module(name: str) -> bool:
    """Whether a dotted name of ours is a file or a folder, and no attribute."""
    place = ROOT.joinpath(*name.split("."))
    return name.startswith("segdeploy") and (place.with_suffix(".py").exists() or (place / "__init__.py").exists())


CORE_FILES = sorted(CORE.rglob("*.py"))
WORKSHOP_FILES = sorted(path for workshop in WORKSHOPS for path in (ROOT / workshop).rglob("*.py"))


@pytest.mark.parametrize("path", CORE_FILES, ids=module_name)
def test_core_file_imports_only_from_lower_floors(path: Path) -> None:
    """A reader of a file needs to know only what lies under it."""
    own = floor(module_name(path))

    for name in imported(path):
        if name.startswith("segdeploy."):
            below = floor(name.removeprefix("segdeploy."))
            # An __init__ hands on what its folder's files define.
            assert below < own or (below == own and same_folder(path, name)), f"{path.name} imports {name}, which is not under it"


def same_folder(path: Path, name: str) -> bool:
    """Whether a module lies in the folder of a file; neighbours of video/ and commands/ may build on each other."""
    return name.removeprefix("segdeploy.").split(".")[:-1] == list(path.relative_to(CORE).parent.parts) and path.parent != CORE


@pytest.mark.parametrize("path", CORE_FILES, ids=module_name)
def test_core_never_imports_a_workshop(path: Path) -> None:
    """The runtime installs and runs without the workshops' libraries."""
    for name in imported(path):
        assert not name.startswith("."), f"{path.name} imports relatively; the core names its modules in full"
        assert name.split(".")[0] not in WORKSHOPS
        assert not name.startswith(tuple(f"segdeploy.{workshop}" for workshop in WORKSHOPS))


@pytest.mark.parametrize("path", WORKSHOP_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_workshop_imports_core_and_neighbours_only(path: Path) -> None:
    """What two workshops need belongs into the core."""
    for name in imported(path):
        assert name.split(".")[0] not in WORKSHOPS, "a top-level name breaks as soon as a user has a file called like it"
        assert not name.startswith(tuple(f"segdeploy.{workshop}" for workshop in WORKSHOPS)), "a neighbour is imported as .name"
        assert not name.startswith(".."), "a workshop is one flat folder"


@pytest.mark.parametrize("path", CORE_FILES, ids=module_name)
def test_heavy_library_is_imported_where_it_belongs(path: Path) -> None:
    """Importing torch takes seconds; the way to a mask must not pay them."""
    name = module_name(path)
    for library in imported(path, top=True):
        allowed = HEAVY.get(library.split(".")[0])
        assert allowed is None or name in allowed or name.split(".", maxsplit=1)[0] in allowed, f"{name} imports {library} at its top"


def test_help_imports_neither_numpy_nor_torch() -> None:
    """`segdeploy --help` answers at once."""
    code = "import sys, segdeploy.cli; print(sorted({'numpy', 'torch', 'cv2', 'onnxruntime', 'rich'} & set(sys.modules)))"

    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)

    assert answer.stdout.strip() == "[]"


def test_no_file_is_called_like_a_library() -> None:
    """`onnx.py` in a workshop would shadow the library for whoever runs from that folder."""
    taken = {"onnx", "torch", "torchvision", "numpy", "cv2", "av", "click", "rich", "matplotlib", "openvino", "pyvips", "PIL"}

    assert not {path.stem for path in CORE_FILES + WORKSHOP_FILES} & taken
