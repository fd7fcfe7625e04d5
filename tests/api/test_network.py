"""A network that is called with images of all kinds, and from several threads."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage

import segdeploy
from segdeploy.api.network import Network
from segdeploy.api.result import Result
from segdeploy.api.stream import Stream
from segdeploy.backends.loading import load_backend
from segdeploy.errors import ConfigError, DataError, ImageError, ModelError
from segdeploy.imaging.io import read_image, write_image
from segdeploy.inference.predictor import Predictor
from tests.helpers.backends import ChannelBackend

RED, GREEN, BLUE = 0, 1, 2


def colored(color: tuple[int, int, int], height: int = 20, width: int = 30) -> Any:
    """Return an image of one color, (height, width, 3) uint8, in the order that is given."""
    return np.full((height, width, 3), color, np.uint8)


@pytest.fixture
def net() -> Network:
    """Return a network whose classes are the strongest colors."""
    return Network(ChannelBackend())


def test_array_and_path_give_the_mask_of_the_predictor(artifacts: Path, tmp_path: Path) -> None:
    """From a file of any kind."""
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    write_image(tmp_path / "street.png", image)
    network = segdeploy.load(artifacts / "best.onnx", device="cpu", threads=1)

    expected = Predictor(load_backend(artifacts / "best.onnx", device="cpu", threads=1)).mask(image)

    np.testing.assert_array_equal(network(image).mask, expected)
    np.testing.assert_array_equal(network(str(tmp_path / "street.png")).mask, expected)
    assert network(tmp_path / "street.png").name == str(tmp_path / "street.png")
    assert network.card.architecture == "unet"
    assert network.device == "onnxruntime CPUExecutionProvider"
    assert repr(network).startswith("Network(unet, 60x45, 11 classes, onnxruntime")


def test_array_is_blue_green_red_unless_told(net: Network) -> None:
    """As OpenCV reads it: a network trained on RGB would take a blue car for a red one."""
    image = colored((255, 0, 0))

    assert (net(image).mask == BLUE).all()
    assert (net(image, color="bgr").mask == BLUE).all()
    assert (net(image, color="rgb").mask == RED).all()
    assert (net(PillowImage.fromarray(image)).mask == RED).all()
    np.testing.assert_array_equal(net(image, color="rgb").image, image[..., ::-1])


def test_result_has_what_the_network_returned(net: Network) -> None:
    result = net(colored((0, 0, 9)))

    assert result.card is net.card
    assert result.probabilities.shape == (3, 20, 30)
    assert result.probabilities[RED].min() > 0.999
    assert [entry.name for entry in result.classes] == ["red", "green", "blue"]


def test_list_gives_a_list_in_its_order(net: Network, tmp_path: Path) -> None:
    """Of any kinds and sizes, with the names of files."""
    write_image(tmp_path / "green.png", colored((0, 255, 0), 8, 9))

    results = net([colored((255, 0, 0)), tmp_path / "green.png", colored((0, 0, 255), 5, 6)] * 3)

    assert [int(result.mask[0, 0]) for result in results] == [BLUE, GREEN, RED] * 3
    assert [result.mask.shape for result in results[:3]] == [(20, 30), (8, 9), (5, 6)]
    assert [result.index for result in results] == list(range(9))
    assert results[1].name == str(tmp_path / "green.png")
    assert results[0].name == ""
    assert net([]) == []
    assert net(()) == []


def test_iterator_gives_results_as_they_are_taken(net: Network) -> None:
    """It may have no end."""

    def endless() -> Any:
        while True:
            yield colored((0, 255, 0))

    stream = net(endless())

    assert isinstance(stream, Stream)
    assert (next(stream).mask == GREEN).all()
    stream.close()
    assert list(stream) == []
    assert list(net(iter([]))) == []


def test_tensor_of_several_images_gives_a_list(net: Network) -> None:
    """In its order, red-green-blue."""
    torch = pytest.importorskip("torch")
    batch = torch.zeros(3, 3, 5, 6)
    for index in range(3):
        batch[index, index] = 1

    results = net(batch)

    assert [int(result.mask[0, 0]) for result in results] == [RED, GREEN, BLUE]
    assert (net(batch[1]).mask == GREEN).all()
    assert len(net([batch, batch[0]])) == 4
    assert len(net(batch[:1])) == 1


def test_error_of_one_image_is_raised(net: Network) -> None:
    """A list is not shorter than what was passed."""
    with pytest.raises(DataError, match="there is no none"):
        net([colored((0, 0, 1)), "none.png"])
    with pytest.raises(ImageError, match="float64"):
        net([np.zeros((2, 2, 3))])
    with pytest.raises(ImageError, match="a dict"):
        net({"image": colored((0, 0, 1))})
    with pytest.raises(ConfigError, match="the color order is 'gbr'"):
        net(colored((0, 0, 1)), color="gbr")  # type: ignore[call-overload]


@pytest.mark.parametrize("kind", ["onnx", "torchscript", "pt", "xml", "pt2"])
def test_threads_share_a_network(artifacts: Path, kind: str) -> None:
    """Eight threads get the masks that one gets."""
    path = artifacts / f"best.{kind}"
    if not path.exists():
        pytest.skip(f"the runtime of .{kind} is not installed")
    net = segdeploy.load(path, device="cpu", threads=1)
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (40, 50 + i, 3), dtype=np.uint8) for i in range(16)]
    expected = [net(image).mask for image in images]

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(net, images * 2))

    for result, mask in zip(results, expected * 2, strict=True):
        np.testing.assert_array_equal(result.mask, mask)


def test_threads_stream_at_the_same_time(artifacts: Path) -> None:
    """Each has its own source, and OpenCV has its threads again at the end."""
    net = segdeploy.load(artifacts / "best.onnx", device="cpu", threads=1)
    images = [colored((value, 0, 0)) for value in range(12)]
    before = cv2.getNumThreads()

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: net(images), range(4)))

    for several in results:
        assert [int(result.image[0, 0, 0]) for result in several] == list(range(12))
    assert cv2.getNumThreads() == before


def test_pytorch_has_its_threads_again_after_a_stream(artifacts: Path) -> None:
    """A stream loads a checkpoint with one thread for each core, and PyTorch has one number."""
    torch = pytest.importorskip("torch")
    net = segdeploy.load(artifacts / "best.pt", device="cpu", threads=2)

    list(net.stream([colored((1, 2, 3))] * 5))

    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)


def test_warm_up_runs_the_network_once() -> None:
    backend = ChannelBackend()

    Network(backend).warm_up()

    assert backend.calls == 1


def test_stream_keeps_its_network(artifacts: Path) -> None:
    """Loading takes longer than many frames."""
    calls = []

    def load_again(**options: Any) -> ChannelBackend:
        calls.append(options)
        return ChannelBackend()

    class ProcessorBackend(ChannelBackend):
        device = "cpu"

    net = Network(ProcessorBackend(), load_again=load_again)
    images = [colored((0, 0, 255))] * 4

    for _ in range(3):
        list(net.stream(images, threads=2))

    assert calls == [{"threads": 1, "callers": 2, "spinning": False}]


def test_missing_files_are_reported(artifacts: Path) -> None:
    with pytest.raises(ModelError, match=r"no file none\.onnx"):
        segdeploy.load("none.onnx")
    with pytest.raises(FileNotFoundError, match=r"none\.png"):
        segdeploy.load(artifacts / "best.onnx", device="cpu")("none.png")


def test_no_name_is_the_bundled_model() -> None:
    """The one that suits the machine."""
    net = segdeploy.load(device="cpu")

    assert "Road" in [entry.name for entry in net.card.classes]


def test_real_photograph_has_one_mask_in_all_kinds(real: Path) -> None:
    """A path, its bytes, Pillow's image and both arrays."""
    net = segdeploy.load("street", device="cpu")
    path = next((real / "data" / "camvid").glob("val/*.png"))
    image = read_image(path)

    mask = net(path).mask

    rgb = np.ascontiguousarray(image[..., ::-1])
    for same in (net(image), net(rgb, color="rgb"), net(path.read_bytes()), net(str(path))):
        np.testing.assert_array_equal(same.mask, mask)
    with PillowImage.open(path) as opened:
        np.testing.assert_array_equal(net(opened).mask, mask)


def test_import_alone_costs_nothing() -> None:
    """A script that needs the version does not wait for numpy, and names are listed without."""
    code = (
        "import sys, segdeploy; segdeploy.__version__; known = 'load' in dir(segdeploy);"
        "print(sorted({'numpy', 'cv2', 'onnxruntime', 'torch'} & set(sys.modules)), known)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[] True"


def test_public_names_are_there() -> None:
    """Those that completion shows, and the packages of the workshops."""
    for name in dir(segdeploy):
        assert getattr(segdeploy, name) is not None
    assert segdeploy.load is segdeploy.__dict__["load"]
    assert issubclass(segdeploy.Result, Result)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        segdeploy.lode  # type: ignore[attr-defined] # noqa: B018 - the access itself is tested
