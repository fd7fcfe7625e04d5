"""The examples in other languages: each makes Python's masks, and overlays in the right colors."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

from segdeploy import assets
from segdeploy.backends.loading import load_backend
from segdeploy.card import ModelCard
from segdeploy.cli.main import main
from segdeploy.export.exporter import write_card_file
from segdeploy.imaging.io import read_ids, read_image
from segdeploy.inference.predictor import Predictor

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "docs" / "examples"
STREET = ROOT / "docs" / "bundled" / "street.jpg"

pytestmark = pytest.mark.slow


@dataclass(frozen=True, kw_only=True)
class Run:
    """What an example wrote, and what Python finds."""

    card: ModelCard
    image: Path
    out: Path
    model: Path

    def check(self) -> None:
        """Compare masks, and the overlay: half image, half color of the class."""
        image = read_image(self.image)
        expected = Predictor(load_backend(self.model, device="cpu")).mask(image)
        mask = read_ids(self.out.with_name(f"{self.out.name}.mask.png"))
        overlay = read_image(self.out)
        colors = np.array([entry.color[::-1] for entry in self.card.classes])
        assert mask.shape == expected.shape
        assert (mask == expected).mean() > 0.9999
        assert np.abs(overlay - (image + colors[mask]) / 2).max() <= 0.5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled model with its card beside it, and an image of its size and one of twice that."""
    folder = tmp_path_factory.mktemp("examples")
    model = folder / "street.onnx"
    shutil.copyfile(assets.locate("street"), model)
    write_card_file(model, load_backend(model).card)
    for name, size in (("small.png", (480, 360)), ("large.png", (960, 720))):
        image = cv2.resize(read_image(STREET), size, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / name), image)
    return folder


def run(*command: object, model: Path, image: Path, tmp_path: Path, cwd: Path | None = None) -> Run:
    """Run an example on a model and an image."""
    out = tmp_path / "out.png"
    done = subprocess.run(
        [*map(str, command), str(model), str(image), str(out)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Run(card=load_backend(model).card, image=image, out=out, model=model)


@pytest.mark.parametrize("name", ["small.png", "large.png"])
def test_onnxruntime_in_python(folder: Path, tmp_path: Path, name: str) -> None:
    """It needs nothing of segdeploy: the card is in the file's metadata."""
    example = EXAMPLES / "onnxruntime_python.py"

    result = run(
        sys.executable,
        example,
        model=folder / "street.onnx",
        image=folder / name,
        tmp_path=tmp_path,
    )

    assert "import segdeploy" not in example.read_text()
    result.check()


def test_onnxruntime_in_node(folder: Path, tmp_path: Path) -> None:
    """JavaScript on a server; sharp's filter is not OpenCV's, so the image has the model's size."""
    modules = Path(os.environ.get("SEGDEPLOY_NODE_MODULES", ROOT / "node_modules"))
    if shutil.which("node") is None or not (modules / "onnxruntime-node").is_dir():
        pytest.skip(
            "no onnxruntime-node: npm install --ignore-scripts onnxruntime-node sharp, and name"
            " the folder node_modules in SEGDEPLOY_NODE_MODULES"
        )
    (tmp_path / "node_modules").symlink_to(modules, target_is_directory=True)
    shutil.copy(EXAMPLES / "onnxruntime_node.mjs", tmp_path)

    run(
        "node",
        tmp_path / "onnxruntime_node.mjs",
        model=folder / "street.onnx",
        image=folder / "small.png",
        tmp_path=tmp_path,
    ).check()


def test_openvino_in_cpp(folder: Path, tmp_path: Path) -> None:
    """The wheel has all that a C++ program needs of OpenVINO."""
    found = find_spec("openvino")
    opencv, json = Path("/usr/include/opencv4"), Path("/usr/include/nlohmann/json.hpp")
    if found is None or found.origin is None or shutil.which("g++") is None:
        pytest.skip("no g++, or no OpenVINO")
    if not (opencv.is_dir() and json.is_file()):
        pytest.skip("no OpenCV for C++: install Debian's libopencv-dev and nlohmann-json3-dev")
    openvino = Path(found.origin).parent
    [library] = (openvino / "libs").glob("libopenvino.so.*")
    program = tmp_path / "openvino_cpp"
    libraries = [f"-lopencv_{name}" for name in ("core", "imgproc", "imgcodecs")]
    subprocess.run(
        [
            *("g++", "-std=c++17", "-O1", str(EXAMPLES / "openvino_cpp.cpp"), "-o", str(program)),
            *(f"-I{openvino / 'include'}", f"-I{opencv}", f"-L{openvino / 'libs'}"),
            *(f"-l:{library.name}", f"-Wl,-rpath,{openvino / 'libs'}", *libraries),
        ],
        check=True,
    )
    model = tmp_path / "street.xml"
    main(
        [
            *("export", str(folder / "street.onnx"), "--format", "openvino", "-o", str(model)),
            *("--card-file", "--verify", str(folder / "large.png")),
        ]
    )

    run(program, model=model, image=folder / "large.png", tmp_path=tmp_path).check()


@pytest.mark.parametrize("output", ["logits", "classes"])
def test_opencv_in_python(checkpoint_folder: Path, tmp_path: Path, output: str) -> None:
    """OpenCV 5 reads the file as it is, uint8 and (1, H, W, 3) included."""
    if int(cv2.__version__.partition(".")[0]) < 5:
        pytest.skip("OpenCV 4 does not read the file")
    model = tmp_path / "best.onnx"
    main(
        [
            *("export", str(checkpoint_folder / "best.pt"), "--proof-images", "1", "--card-file"),
            *("--output", output, "-o", str(model)),
        ]
    )
    image = tmp_path / "image.png"
    cv2.imwrite(str(image), cv2.resize(read_image(STREET), (120, 90)))

    run(
        sys.executable, EXAMPLES / "opencv_dnn.py", model=model, image=image, tmp_path=tmp_path
    ).check()


def test_examples_are_short() -> None:
    """A reader copies one file."""
    lengths = {path.name: len(path.read_text().splitlines()) for path in EXAMPLES.glob("*.[cmp]*")}

    assert all(
        length <= (120 if name.endswith(".cpp") else 60)
        for name, length in lengths.items()
        if not name.endswith(".md")
    )
    assert {
        "onnxruntime_python.py",
        "onnxruntime_node.mjs",
        "openvino_cpp.cpp",
        "opencv_dnn.py",
    } <= {*lengths}
