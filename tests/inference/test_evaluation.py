"""A dataset's score is that of its images at their own size."""

import numpy as np
import pytest

from segdeploy.card import InputSpec, LabelClass, ModelCard
from segdeploy.datasets.dataset import Sample
from segdeploy.errors import DataError
from segdeploy.inference.evaluation import evaluate, other_name
from segdeploy.inference.predictor import Predictor

CLASSES = (LabelClass(name="dark", color=(0, 0, 0)), LabelClass(name="red", color=(255, 0, 0)))


class AllRed:
    """A backend that sees class 1 everywhere."""

    def __init__(self, classes=CLASSES):
        self.card = ModelCard(
            architecture="fake",
            classes=classes,
            input=InputSpec(height=8, width=8, mean=(0, 0, 0), std=(1, 1, 1)),
        )
        self.device = "fake"
        self.batches = []

    def run(self, batch):
        self.batches.append(len(batch))
        logits = np.zeros((len(batch), len(self.card.classes), 8, 8), np.float32)
        logits[:, -1] = 1
        return logits


class Pictures:
    """A dataset in memory: truths of any sizes, black images."""

    def __init__(self, *truths):
        self.classes = CLASSES
        self.truths = [np.asarray(truth, np.uint8) for truth in truths]
        self.names = [f"image {index}" for index in range(len(truths))]

    def __len__(self):
        return len(self.truths)

    def __getitem__(self, index):
        truth = self.truths[index]
        return Sample(
            image=np.zeros((*truth.shape, 3), np.uint8), mask=truth, name=self.names[index]
        )


@pytest.mark.parametrize(("batch", "batches"), [(1, [1, 1, 1]), (2, [2, 1]), (5, [3])])
def test_every_picture_counts_once(batch, batches):
    """By hand: 3 of 4 labeled pixels are red.

    Of class 0 none is found. The batch changes nothing but the calls.
    """
    data = Pictures([[1, 1]], [[0], [255]], [[1, 255, 255]])
    backend = AllRed()
    seen = []

    scores = evaluate(Predictor(backend), data, batch=batch, on_step=seen.append)

    assert scores.iou == (0.0, 0.75)
    assert scores.pixels == 4
    assert backend.batches == batches
    assert seen == ["image 0", "image 1", "image 2"]


def test_other_classes_are_refused():
    """A score over classes that mean something else is worse than none."""
    backend = AllRed((*CLASSES, LabelClass(name="blue", color=(0, 0, 255))))

    with pytest.raises(DataError, match="the network knows 3 classes and the dataset has 2"):
        evaluate(Predictor(backend), Pictures([[1]]), on_step=str)

    assert backend.batches == []


def test_class_of_another_name_is_told():
    """Two sets of two classes each fit by number, and may mean anything."""
    known = (CLASSES[0], LabelClass(name="rouge", color=(255, 0, 0)))

    assert "the network's 'rouge' is compared with the data's 'red'" in other_name(known, CLASSES)
    assert other_name(CLASSES, CLASSES) == other_name(CLASSES[1:], CLASSES) == ""


def test_an_empty_set_is_refused():
    """A score of 0 would look like a bad network."""
    with pytest.raises(DataError, match="holds no image"):
        evaluate(Predictor(AllRed()), Pictures(), on_step=str)


def test_a_truth_beyond_the_classes_is_refused_by_the_pictures_name():
    """With hundreds of images, which one matters."""
    with pytest.raises(DataError, match="image 1: the truth holds class 2"):
        evaluate(Predictor(AllRed()), Pictures([[1]], [[2]]), on_step=str)
