"""Adoption of anything: what lies at a path decides how it is read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from segdeploy.errors import ConfigError, ModelError

from ..plan import import_function
from .config import AdoptConfig, Adoption
from .convention import Told
from .found import read_config

CONFIG = "config.json"
"""What `save_pretrained` writes beside the weights."""

OPTIONS = frozenset(Told.__dataclass_fields__)


def adopt_path(path: Path, config: AdoptConfig) -> Adoption:
    """Adopt what lies at a path.

    Args:
        path: An ONNX file, weights of PyTorch, or a folder that `save_pretrained` wrote.
        config: The options.

    Raises:
        ConfigError: The options do not fit it.
        DataError: Images or classes cannot be used.
        ModelError: It is nothing that can be adopted.
        MissingExtraError: A library is not installed.
        ProofError: The output of the new file is different; no file is left.
    """
    if not path.exists():
        msg = f"there is no file {path}; name an ONNX file, weights, or a folder of a network"
        raise ModelError(msg)
    if path.is_dir() or path.suffix.lower() == ".onnx":
        _refuse_network(path, config)
    return _reader(path)(path, config)


def _refuse_network(path: Path, config: AdoptConfig) -> None:
    """Raise a ConfigError where a network is named for what is one already."""
    if config.architecture is not None or config.code is not None or config.arguments:
        what = "a folder names its network" if path.is_dir() else "an ONNX file is a whole network"
        msg = f"--model, --code and --argument cannot be used with {path}: {what}"
        raise ConfigError(msg)


def _reader(path: Path) -> Callable[[Path, AdoptConfig], Adoption]:
    """Return the function that adopts what lies at a path."""
    if path.suffix.lower() == ".onnx":
        return import_function("adopt.onnx_source:adopt_onnx")
    if path.is_dir():
        return _folder_reader(path)
    return import_function("adopt.weights_file:adopt_weights")


def _folder_reader(path: Path) -> Callable[[Path, AdoptConfig], Adoption]:
    """Return the function that adopts a folder, by what its config.json says."""
    file = path / CONFIG
    values = read_config(file) if file.is_file() else {}
    if "_model_class" in values:
        return import_function("adopt.smp_folder:adopt_smp")
    if "model_type" in values:
        return import_function("adopt.transformers_folder:adopt_transformers")
    msg = (
        f"{path} has no {CONFIG} of transformers or segmentation-models-pytorch; name a folder that"
        " save_pretrained wrote, or a file of weights"
    )
    raise ModelError(msg)


def adopt_model(path: Path | str, **options: Any) -> Adoption:  # noqa: ANN401 - of AdoptConfig
    """Adopt a network of another project: it gets a card, and is run, scored and exported here.

    Example::

        from segdeploy.export import adopt_model

        adoption = adopt_model("theirs.onnx", classes="cityscapes", bgr=False)
        print(adoption.path, adoption.finding.sentence, *adoption.warnings)

    Args:
        path: An ONNX file, weights of PyTorch, or a folder that `save_pretrained` wrote.
        options: Fields of `AdoptConfig`, and of `Told`: mean, std, white and bgr.

    Raises:
        SegdeployError: As `adopt_path`; an option is unknown.
    """
    told = {key: options.pop(key) for key in OPTIONS & options.keys()}
    unknown = options.keys() - AdoptConfig.__dataclass_fields__.keys()
    if unknown:
        msg = f"adopt_model has no option {min(unknown)!r}; see AdoptConfig"
        raise ConfigError(msg)
    return adopt_path(Path(path), AdoptConfig(told=Told(**told), **options))
