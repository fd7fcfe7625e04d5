"""A loaded network, which is called with images, streams videos, and runs as the command does."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, Unpack, overload

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from segdeploy.api.images import Color, check_color, is_several, name_of, to_bands, to_image
from segdeploy.api.options import RunOptions, StreamOptions, run_settings, stream_settings
from segdeploy.api.result import Result
from segdeploy.api.run import RunResult, run_sources
from segdeploy.api.stream import Stream, process_settings
from segdeploy.assets import locate
from segdeploy.backends.base import Backend
from segdeploy.backends.loading import bundled_name, load_backend
from segdeploy.card import ModelCard
from segdeploy.imaging.contrast import view
from segdeploy.imaging.overlay import OVERLAY
from segdeploy.inference.predictor import Predictor
from segdeploy.video.run_options import Schedule

Single = str | Path | bytes | bytearray | memoryview | npt.NDArray[np.uint8] | PillowImage.Image
"""One image; so is a tensor (3, H, W), whose library may be missing."""


class Network:
    """A loaded network; `load` returns it.

    It may be called from several threads at the same time. The first call takes longer than the
    others: `warm_up` makes it in advance. A stream loads the network once more, with a thread for
    each core, and keeps it for the next one.

    Example:
        ```python
        net = segdeploy.load("best.onnx", device="cpu")
        print(net, net.card.classes[0].name)
        ```

    Attributes:
        backend: The loaded network without preprocessing and postprocessing: batches in, logits
            out.
    """

    def __init__(
        self, backend: Backend, *, load_again: Callable[..., Backend] | None = None
    ) -> None:
        """Wrap a loaded network.

        Args:
            backend: Runs it; for calls with single images.
            load_again: Loads it for several callers, with the arguments of `load_backend`; where
                None, `backend` is used for all.
        """
        self._predictor = Predictor(backend)
        self.backend = backend
        self._load_again = load_again
        self._loaded: dict[tuple[int, int, bool], Backend] = {}
        self._lock = Lock()

    @property
    def card(self) -> ModelCard:
        """Return the card of the network: classes, input, training, parity.

        Example: `[entry.name for entry in net.card.classes]`
        """
        return self._predictor.card

    @property
    def device(self) -> str:
        """Return the runtime and the device in use.

        Example: `print(net.device)`
        """
        return self.backend.device

    def __repr__(self) -> str:
        """Return one line: network, size of its input, number of classes, device."""
        card = self.card
        return (
            f"Network({card.architecture}, {card.input.width}x{card.input.height},"
            f" {len(card.classes)} classes, {self.device})"
        )

    @overload
    def __call__(self, source: Single, *, color: Color | None = None) -> Result: ...
    @overload
    def __call__(
        self, source: "list[Any] | tuple[Any, ...]", *, color: Color | None = None
    ) -> list[Result]: ...
    @overload
    def __call__(self, source: Iterator[Any], *, color: Color | None = None) -> Stream: ...
    @overload
    def __call__(self, source: Any, *, color: Color | None = None) -> Any: ...  # noqa: ANN401

    def __call__(self, source: Any, *, color: Color | None = None) -> Any:
        """Segment images, each at its own size.

        An array is blue-green-red, as OpenCV reads it, unless it is told otherwise. Frames of a
        video, a folder or a camera come from `stream`.

        Example:
            ```python
            result = net("street.jpg")
            rgb = cv2.imread("street.jpg")[..., ::-1]
            same = net(rgb, color="rgb")
            several = net(["street.jpg", rgb[..., ::-1]])
            lazy = net(Path(".").glob("*.jpg"))
            ```

        Args:
            source: A path, the address of an image, bytes of a file, an image of Pillow, an array
                (H, W), (H, W, 3) or (H, W, 4) uint8, or a tensor of PyTorch, (3, H, W) or
                (N, 3, H, W), red-green-blue, of uint8 or of floats in [0, 1]; or a list or an
                iterator of these.
            color: "bgr" or "rgb": order of the channels of arrays, and of tensors.

        Returns:
            A result for one image, a list for a list or a tensor of N, and for an iterator a
            stream of results, which are computed ahead.

        Raises:
            ImageError: It is no image, a folder, a camera, or an array or tensor of another kind.
            DataError: An image cannot be read.
            ConfigError: `color` is something else.
        """
        if is_several(source):
            # A list is known whole: few images are not worth a network of their own.
            stream = Stream(source, stream_settings({"color": color}), self._backend_for)
            return stream if isinstance(source, Iterator) else list(stream)
        check_color(color)
        spec = self.card.input
        image = to_image(source, color) if spec.is_plain else to_bands(source, spec)
        [prediction] = self._predictor.predict([image])
        return Result(
            image=view(image, spec),
            mask=prediction.mask,
            classes=self.card.classes,
            name=name_of(source),
            card=self.card,
            output=prediction.output,
        )

    def stream(
        self,
        source: Any,  # noqa: ANN401 - of any kind
        **options: Unpack[StreamOptions],
    ) -> Stream:
        """Return the results of a video, a camera, a folder or any other source, frame by frame.

        Frames are decoded and segmented ahead in threads, as `segdeploy run` does; of a camera or
        a live stream, only the newest frame is taken.

        Example:
            ```python
            for result in net.stream("dashcam.mp4", start=0.2, max_frames=3):
                print(f"{result.seconds:.2f} s: {result.shares()['Road']:.0%}")
            ```

        Args:
            source: What `segdeploy run` takes: a path of a video, an image, a folder or a list
                (.txt), a pattern, an address, the number of a camera, "-" for standard input, or
                several of these; or a list or an iterator of images, as a call takes.
            options: See `StreamOptions`.

        Raises:
            ConfigError: An option is unknown or does not fit the source.
            DataError: The source cannot be read.
        """
        return Stream(source, stream_settings(options), self._backend_for)

    def run(
        self,
        source: Any,  # noqa: ANN401 - of any kind
        output: Path | str | None = None,
        *,
        save: str | Sequence[str] = OVERLAY,
        **options: Unpack[RunOptions],
    ) -> RunResult:
        """Segment a source and write the results, as `segdeploy run` does.

        Ctrl-C raises KeyboardInterrupt; the files are complete with the frames that are done.

        Example:
            ```python
            net.run("dashcam.mp4", "out.mp4", max_frames=3, opacity=0.4)
            net.run(["street.jpg", "dashcam.mp4"], "results", save=["mask", "jsonl"])
            ```

        Args:
            source: What names one or several sources, as in `stream`.
            output: Folder of the results, or their only file, such as "out.mp4"; a new folder
                below runs/run where None.
            save: What is saved: overlay, mask, color, confidence, side, cutout, jsonl, geojson,
                coco or rle; or several.
            options: See `RunOptions`.

        Raises:
            ConfigError: An option is unknown or does not fit the source, or a video exists.
            DataError: The source cannot be read; or some images cannot, after all others are done.
            OutputError: A result cannot be written.
        """
        return run_sources(
            source,
            None if output is None else Path(output),
            options=run_settings(save, options),
            backend_for=self._backend_for,
        )

    def warm_up(self) -> None:
        """Run the network once, on a black image, so that the next call takes its usual time.

        Example: `net.warm_up()`
        """
        spec = self.card.input
        self._predictor.mask(np.zeros((spec.height, spec.width, len(spec.channels)), spec.dtype))

    def _backend_for(self, wanted: Schedule, frames: int | None) -> Backend:
        """Return the network for a schedule; it is loaded once for equal ones.

        A few frames, and another device than the processor, take the one that is there.
        """
        schedule = wanted.for_frames(frames)
        on_processor = "cpu" in self.device.lower()
        if self._load_again is None or not on_processor or schedule is not wanted:
            return self.backend
        key = schedule.network_threads, schedule.workers, schedule.serial
        # PyTorch's threads are set for the whole process when a network is loaded.
        with self._lock, process_settings(schedule):
            if key not in self._loaded:
                self._loaded[key] = self._load_again(
                    threads=schedule.network_threads,
                    callers=schedule.workers,
                    spinning=schedule.serial,
                )
            return self._loaded[key]


def load(
    model: Path | str | None = None,
    *,
    device: str = "auto",
    threads: int | None = None,
    trust: bool = False,
    cache: bool = True,
) -> Network:
    """Load an artifact of any kind.

    Example:
        ```python
        net = segdeploy.load("best.onnx")
        net("street.jpg").save("overlay.png")
        bundled = segdeploy.load()
        ```

    Args:
        model: A file that `segdeploy train` or `segdeploy export` wrote, or "street" or
            "street-int8", the bundled models; where None, the one of them that suits the device.
        device: "auto", "cpu", "cuda" or "cuda:n"; `.device` names the device in use.
        threads: Threads of one operator; all cores that the process may use where None.
        trust: Whether a TorchScript or .pt2 file is loaded as it is, also with operators that run
            code or write files.
        cache: Whether the graph that ONNX Runtime has optimized is kept in the user's cache.

    Raises:
        ModelError: The file is missing, of an unknown kind, or damaged.
        UntrustedError: A TorchScript or .pt2 file holds more than a network needs.
        DeviceError: The device is not available.
        MissingExtraError: The runtime's library is not installed.
    """
    path = locate(bundled_name(device) if model is None else model)
    load_again = partial(load_backend, path, device=device, trust=trust, probe=False, cache=cache)
    backend = load_backend(path, device=device, threads=threads, trust=trust, cache=cache)
    return Network(backend, load_again=load_again)
