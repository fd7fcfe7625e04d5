"""The command `segdeploy serve`."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import click

from segdeploy.cli.console import note
from segdeploy.cli.models import bundled_model
from segdeploy.cli.options import Command, grouped, option, options, section, trust_option
from segdeploy.cli.run_zones import ALERT_OPTION, ON_ALERT_OPTION
from segdeploy.cli.tuned import tuned_option
from segdeploy.errors import ConfigError, MissingExtraError

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0}
SIZES = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}

LIBRARIES = ("starlette", "uvicorn", "websockets", "grpc", "google", "prometheus_client")
"""What the extra `serve` installs, as it is imported."""


def read_seconds(_context: click.Context, _option: click.Parameter, text: str) -> float:
    """Return the seconds in a text such as "2ms" or "30s"."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?)(ms|s|m)", text)
    if found is None:
        msg = f"{text!r} is not a time; write a number with its unit, for example 2ms or 30s"
        raise click.BadParameter(msg)
    return float(found[1]) * UNITS[found[2]]


def read_bytes(_context: click.Context, _option: click.Parameter, text: str) -> int:
    """Return the bytes in a text such as "32MiB"."""
    found = re.fullmatch(r"(\d{1,9})(KB|MB|GB|KiB|MiB|GiB)", text)
    if found is None or not int(found[1]):
        msg = f"{text!r} is not a size; write a number with its unit, for example 32MiB"
        raise click.BadParameter(msg)
    return int(found[1]) * SIZES[found[2]]


@dataclass(frozen=True, kw_only=True)
class AddressOptions:
    """Where the server listens, and who may use it.

    Attributes:
        host: Name or number of the interface.
        port: Port of HTTP.
        grpc_port: Port of gRPC; None for no gRPC.
        certfile: Certificate for TLS.
        keyfile: Its private key.
        api_key_file: File of API keys; None where everybody may use the server.
        allow_host: Further names under which the server may be asked, such as a proxy's.
    """

    host: str
    port: int
    grpc_port: int | None
    certfile: Path | None
    keyfile: Path | None
    api_key_file: Path | None
    allow_host: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check that the options go together.

        Raises:
            ConfigError: One of certificate and key is missing.
        """
        if (self.certfile is None) != (self.keyfile is None):
            msg = "TLS needs both --certfile and --keyfile; name the missing one"
            raise ConfigError(msg)


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """Options of `segdeploy serve`.

    Attributes:
        model: Artifacts, bundled models, or NAME=PATH; a bundled model where there are none.
        models_dir: Folder of which clients may load further models.
        device: Device of the runtime.
        trust: Whether files are loaded as they are.
        schedule: How networks use the device.
        max_batch: Largest batch; None for the fastest.
        max_delay: Seconds that an image waits for others of its batch.
        address: Where the server listens.
        queue: Requests that wait.
        max_bytes: Bytes of a request.
        max_video_bytes: Bytes of a video.
        max_pixels: Pixels of an image.
        timeout: Seconds until a request is given up.
        access_log: Whether each request is logged.
        browser: Whether pages are offered that run the models on the visitor's device.
        camera: Cameras, as NAME=SOURCE.
        zones: File of zones.
        alert: Conditions on zones.
        on_alert: Address or command that is told of alerts.
    """

    model: tuple[str, ...]
    models_dir: Path | None
    device: str
    trust: bool
    schedule: Literal["auto", "cores", "batch"]
    max_batch: int | None
    max_delay: float
    address: AddressOptions
    queue: int
    max_bytes: int
    max_video_bytes: int
    max_pixels: int
    timeout: float
    access_log: bool
    browser: bool
    camera: tuple[str, ...]
    zones: Path | None
    alert: tuple[str, ...]
    on_alert: str | None

    def __post_init__(self) -> None:
        """Check that the options go together.

        Raises:
            ConfigError: One has no effect.
        """
        needs = (
            ("--zones", self.zones, "--camera", self.camera),
            ("--alert", self.alert, "--zones", self.zones),
            ("--on-alert", self.on_alert, "--alert", self.alert),
        )
        for name, value, other, needed in needs:
            if value and not needed:
                msg = f"{name} has no effect without {other}; add it, or leave {name} out"
                raise ConfigError(msg)


address_options = grouped(
    "address",
    AddressOptions,
    section(
        "Address",
        option("--host", default="127.0.0.1", help="Interface; 0.0.0.0 for all."),
        option(
            "--port", default=8000, type=click.IntRange(0, 65535), help="Port; 0 for a free one."
        ),
        option(
            "--grpc-port",
            type=click.IntRange(0, 65535),
            show_default="no gRPC",
            help="Port of gRPC; 0 for a free one.",
        ),
        option("--certfile", type=click.Path(path_type=Path), help="Certificate for TLS, PEM."),
        option("--keyfile", type=click.Path(path_type=Path), help="Its private key, PEM."),
        option(
            "--api-key-file",
            type=click.Path(path_type=Path),
            help="File of keys, one a line, of which clients must send one.",
        ),
        option(
            "--allow-host",
            multiple=True,
            metavar="NAME",
            help="Name of a proxy before a server on 127.0.0.1; may be repeated.",
        ),
    ),
)


@click.command(cls=Command)
@click.argument("model", nargs=-1, metavar="[MODEL...]")
@address_options
@section(
    "Models",
    option(
        "--models-dir",
        type=click.Path(path_type=Path, exists=True, file_okay=False),
        help="Folder of which clients may load further models, and unload them.",
    ),
    option(
        "--device",
        default="auto",
        help="auto, cpu, cuda, cuda:N; ONNX files also tensorrt, openvino, coreml, directml.",
    ),
    trust_option,
)
@section(
    "Scheduling",
    option(
        "--schedule",
        default="auto",
        type=click.Choice(["auto", "cores", "batch"]),
        help="One image per core, or batches on the whole device; auto measures both.",
    ),
    option(
        "--max-batch",
        type=click.IntRange(min=1, max=64),
        show_default="measured",
        help="Images in one call of the network.",
    ),
    option(
        "--max-delay",
        default="2ms",
        metavar="TIME",
        callback=read_seconds,
        help="How long an image waits for others of its batch.",
    ),
)
@section(
    "Limits",
    option("--queue", default=64, type=click.IntRange(min=0), help="Requests that may wait."),
    option(
        "--max-bytes",
        default="32MiB",
        metavar="SIZE",
        callback=read_bytes,
        help="Largest body of a request.",
    ),
    option(
        "--max-video-bytes",
        default="1GiB",
        metavar="SIZE",
        callback=read_bytes,
        help="Largest video.",
    ),
    option(
        "--max-pixels",
        default=50_000_000,
        type=click.IntRange(min=1),
        help="Pixels of the largest image.",
    ),
    option(
        "--timeout",
        default="60s",
        metavar="TIME",
        callback=read_seconds,
        help="After this time a request is given up.",
    ),
    option("--access-log/--no-access-log", default=True, help="A line of JSON for each request."),
    option(
        "--browser/--no-browser",
        default=True,
        help="Pages at /browser that run ONNX models on the visitor's device, which loads them.",
    ),
)
@section(
    "Cameras",
    option(
        "--camera",
        multiple=True,
        metavar="NAME=SOURCE",
        help="A camera's number, an address (RTSP, HTTP) or a video; may be repeated.",
    ),
    option(
        "--zones",
        type=click.Path(path_type=Path),
        help="JSON file of polygons in which the share of each class is measured.",
    ),
    ALERT_OPTION,
    ON_ALERT_OPTION,
)
@tuned_option("schedule", models="model", batch="max_batch")
@options(ServeOptions)
def serve(options: ServeOptions) -> None:
    """Serve MODELs over HTTP and gRPC, with a page to look at.

    A MODEL is a file, the name of a bundled model, or NAME=FILE. For example: segdeploy serve
    best-int8.onnx --port 8000
    """
    try:
        from segdeploy.serving import program
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library in LIBRARIES:
            raise MissingExtraError(library, "serve") from error
        raise
    from segdeploy.serving.cameras.camera import named_sources
    from segdeploy.serving.engine.access import read_keys
    from segdeploy.serving.engine.limits import Limits
    from segdeploy.serving.engine.models import LoadSettings, named_paths
    from segdeploy.serving.web.server import Address
    from segdeploy.video.zones import read_zones

    address = options.address
    settings = program.Settings(
        models=named_paths(options.model or (bundled_model(options.device),)),
        folder=options.models_dir,
        load=LoadSettings(
            device=options.device,
            trust=options.trust,
            mode=options.schedule,
            batch=options.max_batch,
            delay=options.max_delay,
        ),
        limits=Limits(
            body=options.max_bytes,
            video=options.max_video_bytes,
            held=max(Limits.held, 4 * options.max_bytes),
            pixels=options.max_pixels,
            queue=options.queue,
            seconds=options.timeout,
            read_seconds=min(Limits.read_seconds, options.timeout),
        ),
        address=Address(
            host=address.host,
            port=address.port,
            certificate=address.certfile,
            key=address.keyfile,
        ),
        grpc_port=address.grpc_port,
        keys=() if address.api_key_file is None else read_keys(address.api_key_file),
        hosts=address.allow_host,
        access_log=options.access_log,
        cameras=named_sources(options.camera),
        zones=() if options.zones is None else read_zones(options.zones),
        alerts=options.alert,
        action=options.on_alert or "",
        browser=options.browser,
    )
    program.run(settings, note=note)
