"""What was read once is kept, within a bound."""

import numpy as np

from segdeploy.card import LabelClass
from segdeploy.datasets import Sample
from segdeploy.train.memory import Remembered


class Counting:
    """Samples of 4 bytes that count how often they are read."""

    classes = (LabelClass(name="all", color=(1, 2, 3)),)
    names = ("a", "b", "c")

    def __init__(self) -> None:
        self.reads = [0, 0, 0]

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Sample:
        self.reads[index] += 1
        return Sample(image=np.full((1, 1, 3), index, np.uint8), mask=np.zeros((1, 1), np.uint8), name=self.names[index])


def test_reads_again_only_what_had_no_room() -> None:
    """Room for two samples of 4 bytes."""
    source = Counting()
    remembered = Remembered(source, room=11)

    seen = [[int(remembered[index].image[0, 0, 0]) for index in range(3)] for _ in range(4)]

    assert seen == [[0, 1, 2]] * 4
    assert source.reads == [1, 1, 4]


def test_is_the_data_set_in_all_else() -> None:
    """Fingerprint, scores and legend must not notice."""
    remembered = Remembered(Counting(), room=0)

    assert (remembered.classes, remembered.names, len(remembered)) == (Counting.classes, Counting.names, 3)
