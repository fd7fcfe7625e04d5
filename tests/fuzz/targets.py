"""What is given mutated files: the readers, and the commands."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz import commands, readers

Use = Callable[[Path], None]
"""Reads a mutated file, or folder, in the current folder; an error of ours says that it cannot."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A reader or a command.

    Attributes:
        use: Gives it a mutated file.
        seeds: Patterns of the files that are mutated, below the folder of seeds.
        share: How many of 1000 cases it gets.
        whole: Folder of the seeds that is copied as a whole, "" for the file alone.
    """

    use: Use
    seeds: Sequence[str]
    share: float
    whole: str = ""

    def find(self, folder: Path) -> list[Path]:
        """Return the seeds, sorted, so that a number chooses the same one everywhere."""
        found = {path for pattern in self.seeds for path in folder.glob(pattern)}
        return sorted(path for path in found if path.is_file())


TARGETS = {
    "image": Target(use=readers.read_image, seeds=("images/*", "hostile/*", "tiles/*"), share=120),
    "mask": Target(
        use=readers.read_mask,
        seeds=tuple(f"images/{name}.*" for name in ("bits", "fax", "gray", "palette")),
        share=60,
    ),
    "large image": Target(
        use=readers.read_large, seeds=("tiles/*", "images/*", "hostile/*"), share=40
    ),
    "run": Target(use=commands.run_image, seeds=("images/*", "hostile/*"), share=20),
    "run in tiles": Target(use=commands.run_tiles, seeds=("tiles/*", "images/*"), share=10),
    "card": Target(
        use=readers.read_card, seeds=("texts/card.json", "texts/trained.json"), share=90
    ),
    "class map": Target(use=readers.read_class_map, seeds=("texts/c*s.toml",), share=90),
    "recipe": Target(use=readers.read_recipe, seeds=("texts/recipe.toml",), share=90),
    "palette": Target(use=readers.read_palette, seeds=("texts/palette.toml",), share=30),
    "zones": Target(use=readers.read_zones, seeds=("texts/zones.json",), share=40),
    "report": Target(use=readers.read_report, seeds=("texts/report.json",), share=6),
    "history": Target(use=commands.draw_history, seeds=("texts/report.json",), share=3),
    "baseline": Target(use=readers.gate, seeds=("texts/report.json",), share=60),
    "coco": Target(
        use=readers.check_dataset,
        seeds=("coco/annotations/*", "coco/*/a.png"),
        share=25,
        whole="coco",
    ),
    "labelme": Target(
        use=readers.check_dataset,
        seeds=("labelme/**/*.json", "labelme/*.toml"),
        share=25,
        whole="labelme",
    ),
    "folder": Target(
        use=readers.check_dataset, seeds=("folder/*/*/*", "folder/*.toml"), share=15, whole="folder"
    ),
    "camvid": Target(use=readers.check_dataset, seeds=("camvid/*/*",), share=10, whole="camvid"),
    "data": Target(
        use=commands.describe_dataset,
        seeds=("folder/masks/*/*", "folder/*.toml"),
        share=2,
        whole="folder",
    ),
    "checkpoint": Target(use=readers.load_network, seeds=("models/best.pt",), share=50),
    "onnx": Target(use=readers.load_network, seeds=("models/*.onnx",), share=50),
    "torchscript": Target(use=readers.load_network, seeds=("models/best.torchscript",), share=16),
    "pt2": Target(use=readers.load_network, seeds=("models/best.pt2",), share=16),
    "openvino": Target(
        use=readers.load_network,
        seeds=("openvino/best.xml", "openvino/best.bin"),
        share=1.5,
        whole="openvino",
    ),
    "inspect openvino": Target(
        use=commands.inspect, seeds=("openvino/best.xml",), share=15, whole="openvino"
    ),
    "inspect": Target(use=commands.inspect, seeds=("models/best.*",), share=30),
    "verify": Target(
        use=commands.verify, seeds=("models/*.onnx", "models/best.torchscript"), share=5
    ),
    "weights": Target(
        use=readers.read_weights, seeds=("models/weights.*", "models/*.pt"), share=40
    ),
    "adopt": Target(use=commands.adopt, seeds=("models/weights.*",), share=3),
    "eval": Target(use=commands.evaluate, seeds=("camvid/val*/*",), share=4, whole="camvid"),
    "compare": Target(use=commands.compare, seeds=("images/[bgp]*",), share=4),
    "export": Target(use=commands.export, seeds=("models/best.pt",), share=1),
    "resumed training": Target(
        use=commands.resume_training, seeds=("training/last.pt",), share=4, whole="training"
    ),
    "film": Target(use=readers.read_film, seeds=("films/*",), share=70),
    "pipe": Target(use=readers.read_pipe, seeds=("films/*",), share=20),
    "list": Target(use=readers.read_list, seeds=("texts/list.txt",), share=10),
    "run of a film": Target(use=commands.run_film, seeds=("films/*",), share=5),
    "resumed run": Target(
        use=commands.resume_run, seeds=("stopped/out/*.mp4",), share=6, whole="stopped"
    ),
    "killed run": Target(
        use=commands.resume_run, seeds=("killed/out/*.part",), share=6, whole="killed"
    ),
    "names": Target(use=commands.run_named, seeds=("texts/name.txt",), share=4),
    "options": Target(use=commands.run_with_options, seeds=("texts/options.txt",), share=4),
    "process of images": Target(use=commands.process_images, seeds=("images/plain.*",), share=0.4),
    "process of a film": Target(use=commands.process_film, seeds=("films/*",), share=0.4),
    "process of a model": Target(use=commands.process_model, seeds=("models/best.*",), share=0.4),
    "training by a recipe": Target(
        use=commands.process_training, seeds=("texts/recipe.toml",), share=0.2
    ),
    "training on a dataset": Target(
        use=commands.process_training,
        seeds=("folder/*/train/0.png", "folder/*.toml"),
        share=0.2,
        whole="folder",
    ),
}
"""Readers and commands by the names that `--only` takes."""
