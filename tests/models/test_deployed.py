"""The order of the channels and the threshold of a card are part of the network."""

import torch
from torch import nn

from segdeploy.card import InputSpec, LabelClass, ModelCard
from segdeploy.models.deployed import Background, Deployed

IMAGE = torch.tensor([[[[255, 0, 51]]]], dtype=torch.uint8)


def card(*, bgr: bool, threshold: float | None, classes: int) -> ModelCard:
    spec = InputSpec(height=1, width=1, mean=(0.5, 0, 0), std=(0.5, 1, 2), bgr=bgr)
    labels = tuple(LabelClass(name=str(index), color=(0, 0, 0)) for index in range(classes))
    return ModelCard(architecture="own", classes=labels, input=spec, threshold=threshold)


def test_bgr_network_is_fed_blue_first() -> None:
    """Mean and deviation stay those of red, green and blue."""
    rgb = Deployed.of(nn.Identity(), card(bgr=False, threshold=None, classes=3))
    bgr = Deployed.of(nn.Identity(), card(bgr=True, threshold=None, classes=3))

    torch.testing.assert_close(rgb(IMAGE).flatten(), torch.tensor([1, 0, 0.1]))
    torch.testing.assert_close(bgr(IMAGE).flatten(), torch.tensor([0.1, 0, 1]))


def test_one_channel_becomes_two_classes_with_the_sigmoid_as_confidence() -> None:
    """A softmax of one channel is always 1."""
    logits = torch.tensor([-2.0, 0.5]).view(1, 1, 1, 2)

    both = Background(0.5)(logits)

    torch.testing.assert_close(both.softmax(1)[:, 1:], logits.sigmoid())


def test_pixel_belongs_to_a_class_from_the_threshold_on() -> None:
    """The sigmoid of 1 is 0.73, of 2 it is 0.88."""
    both = Background(0.8)(torch.tensor([1.0, 2.0]).view(1, 1, 1, 2))

    assert both.argmax(1).flatten().tolist() == [0, 1]


def test_auxiliary_heads_get_a_background_too() -> None:
    heads = Background(0.5)((torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 1, 1)))

    assert [tuple(head.shape) for head in heads] == [(1, 2, 2, 2), (1, 2, 1, 1)]
