"""Options of an adoption, and its result."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from segdeploy.card import Fit, ModelCard
from segdeploy.errors import ConfigError

from .answers import Kind
from .convention import Finding, Told

if TYPE_CHECKING:
    from ..writer import Artifact

DEFAULT_PROOF_IMAGES = 20


@dataclass(frozen=True, kw_only=True)
class AdoptConfig:
    """Options of an adoption.

    Attributes:
        classes: "auto" for what the file says, a known set such as "camvid", a file, or names with
            commas between them; in the order of the channels.
        background: Name of a background that has no channel; None for none.
        answers: What the network returns; "auto" to look at it.
        threshold: Probability from which on a pixel is no background; None for 0.5.
        output_name: Which of several outputs of an ONNX file is used.
        architecture: Network of weights; None where the file names it.
        code: "FILE.py:CLASS", a class of the user's own instead; its file is executed.
        arguments: Arguments of that network.
        told: What is known of the convention.
        imgsz: Height and width of the input; None for the file's.
        dynamic: Whether the new file accepts any multiple of the stride.
        stride: Number of which height and width are multiples; None for the file's, or 1.
        fit: How images are fitted to the input; None for the file's, or "stretch".
        dataset: Dataset whose labels tell the convention, and of the proof; None for synthetic
            streets.
        data: Folder of the dataset.
        files: Images, or folders of them, to use for the proof instead of a dataset.
        proof_images: Largest number of images of the proof.
        output_file: Name of the new file; None for one beside the old.
    """

    classes: str = "auto"
    background: str | None = None
    answers: Kind | Literal["auto"] = "auto"
    threshold: float | None = None
    output_name: str | None = None
    architecture: str | None = None
    code: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    told: Told = field(default_factory=Told)
    imgsz: tuple[int, int] | None = None
    dynamic: bool = False
    stride: int | None = None
    fit: Fit | None = None
    dataset: str | None = None
    data: Path | None = None
    files: tuple[Path, ...] = ()
    proof_images: int = DEFAULT_PROOF_IMAGES
    output_file: Path | None = None

    def target(self, path: Path, ending: str) -> Path:
        """Return the name of the new file.

        Args:
            path: What is adopted.
            ending: Ending of the new file.

        Raises:
            ConfigError: `--output-file` has another ending, or is what is adopted.
        """
        target = self.output_file or path.with_name(f"{path.stem}-adopted{ending}")
        if target.suffix != ending:
            msg = f"--output-file is {target}; the adopted file must end with {ending}"
            raise ConfigError(msg)
        if target.resolve() == path.resolve():
            msg = f"{target} is the file to be adopted itself; choose another name with -o"
            raise ConfigError(msg)
        return target


@dataclass(frozen=True, kw_only=True)
class Adoption:
    """An adopted network.

    Attributes:
        path: The new file.
        card: Its card.
        finding: How the network wants its images, and what says so.
        warnings: What looks wrong on real images.
        artifact: The proof of a file for another runtime; None for a checkpoint, which is proven
            when it is exported.
    """

    path: Path
    card: ModelCard
    finding: Finding
    warnings: tuple[str, ...]
    artifact: "Artifact | None" = None

    def to_dict(self) -> dict[str, Any]:
        """Return the values for JSON."""
        proof = {} if self.artifact is None else self.artifact.to_dict()
        spec = self.card.input
        return {
            **proof,
            "path": str(self.path),
            "classes": [entry.name for entry in self.card.classes],
            "input": {
                "convention": self.finding.convention.title,
                "source": self.finding.source,
                "reason": self.finding.reason,
                "mean": list(spec.mean),
                "std": list(spec.std),
                "bgr": spec.bgr,
                "tried": [
                    {"convention": one.title, self.finding.measure.replace(" ", "_"): value}
                    for one, value in self.finding.table
                ],
            },
            "warnings": list(self.warnings),
        }
