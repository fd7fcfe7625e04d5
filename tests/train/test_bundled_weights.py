"""The bundled network can be trained on: its norms are put back behind its convolutions."""

import pytest
import torch

from segdeploy import assets, datasets, models
from segdeploy.backends.loading import load_backend
from segdeploy.datasets.formats.carvana import CLASSES
from segdeploy.errors import ModelError
from segdeploy.imaging.preprocess import to_batch
from segdeploy.train.bundled_weights import bundled_card, is_bundled, load_bundled


class TwoClasses:
    """Streets, as a dataset of other classes."""

    classes = CLASSES
    rule = ""

    def __init__(self) -> None:
        self._streets = datasets.load("streets", None, "train")
        self.names = self._streets.names[:2]

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> datasets.Sample:
        return self._streets[index]


def test_rebuilt_network_returns_what_the_file_does() -> None:
    """Also in training mode its features keep their scale: a norm is no stranger to its input."""
    card = bundled_card()
    network = models.build(card.architecture, len(card.classes), **card.arguments)
    streets = datasets.load("streets", None, "train")

    random = load_bundled(network, streets, card=card)

    batch = to_batch([streets[0].image], card.input)
    deployed = models.Deployed(network, card.input.mean, card.input.std).eval()
    with torch.no_grad():
        logits = deployed(torch.from_numpy(batch))
    expected = torch.from_numpy(load_backend(assets.locate("street")).run(batch))
    assert random
    assert all(name.startswith("auxiliary.") for name in random)
    torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-2)


def test_other_classes_have_a_random_last_layer() -> None:
    card = bundled_card()
    network = models.build(card.architecture, 2, **card.arguments)

    random = load_bundled(network, TwoClasses(), card=card)

    assert {"head.2.weight", "head.2.bias"} < set(random)
    assert all(name.startswith(("auxiliary.", "head.2.")) for name in random)


def test_quantized_weights_are_refused() -> None:
    assert is_bundled("street")
    assert not is_bundled("runs/train/mine/best.pt")
    with pytest.raises(ModelError, match="--weights street"):
        is_bundled("street-int8")
