"""How networks fare in each weather of Streets: the streets stay the same, so that what differs is the light's doing alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from segdeploy.datasets.sample import Sample
from segdeploy.datasets.street.light import WEATHERS
from segdeploy.datasets.streets import Streets
from segdeploy.overlay import Painter, colorize, side_by_side
from segdeploy.pictures import Picture
from segdeploy.pixels import resize
from segdeploy.predictor import Predictor
from segdeploy.scores import ConfusionMatrix, Mask, Scores

HEIGHT, WIDTH = 360, 480
"""Of a scene, in pixels: CamVid's own."""

SHOWN = (180, 720)
"""Height and width of a drawing, in pixels."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Weather:
    """What was found in one weather.

    Attributes:
        name: Its name.
        scores: Scores of each network.
        worst: The scene with the least mIoU of the first network.
        answer: What that network made of it, (H, W) uint8.
    """

    name: str
    scores: tuple[Scores, ...]
    worst: Sample
    answer: Mask

    def draw(self) -> Picture:
        """Put the worst scene, its truth, and the answer laid over it beside each other, (180, 720, 3) uint8 blue-green-red."""
        classes = Streets(split="val", count=1).classes
        painted = Painter(classes, legend=False).paint(self.worst.image, self.answer)
        height, width = SHOWN
        return resize(side_by_side(self.worst.image, colorize(self.worst.mask, classes), painted), height, width=width)


def fare_in_all(networks: Sequence[Predictor], *, count: int, on_step: Callable[[str], None]) -> list[Weather]:
    """Show networks the same drawn streets in every weather.

    Args:
        networks: They know CamVid's classes.
        count: How many scenes of each weather.
        on_step: Called with the weather's name after each scene.
    """
    return [fare(networks, Streets(split="val", count=count, height=HEIGHT, width=WIDTH, weather=name), on_step) for name in WEATHERS]


def fare(networks: Sequence[Predictor], scenes: Streets, on_step: Callable[[str], None]) -> Weather:
    """Score networks on scenes of one weather, and keep the scene that the first of them understands least."""
    classes = len(scenes.classes)
    counts = [ConfusionMatrix(classes) for _ in networks]
    found: list[tuple[float, int, Mask]] = []
    for index in range(len(scenes)):
        sample = scenes[index]
        answers = [network.mask(sample.image) for network in networks]
        for total, answer in zip(counts, answers, strict=True):
            total.add(answer, sample.mask)
        alone = ConfusionMatrix(classes)
        alone.add(answers[0], sample.mask)
        found.append((alone.scores().miou, index, answers[0]))
        on_step(scenes.weather or "")
    _, worst, answer = min(found, key=lambda entry: entry[:2])
    return Weather(name=scenes.weather or "", scores=tuple(one.scores() for one in counts), worst=scenes[worst], answer=answer)
