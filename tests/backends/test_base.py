"""The parts of every backend: checks of batches and cards, and wrappers."""

import numpy as np
import pytest

from segdeploy.backends.base import (
    RuntimeOptions,
    WrappedBackend,
    at_size,
    card_from_metadata,
    check_batch,
)
from segdeploy.card import CARD_KEY
from segdeploy.errors import CardError, ConfigError
from tests.helpers.backends import ChannelBackend
from tests.helpers.cards import make_card


def test_dynamic_card_takes_multiples_of_the_stride_only() -> None:
    """Some networks would silently cut off half a stride."""
    card = make_card(64, 64, stride=32, dynamic=True)

    check_batch(np.zeros((1, 96, 32, 3), np.uint8), card)

    with pytest.raises(ConfigError, match="multiples of 32"):
        check_batch(np.zeros((1, 80, 32, 3), np.uint8), card)


@pytest.mark.parametrize("name", ["threads", "callers"])
@pytest.mark.parametrize("count", [0, -1, 1025, 2**63])
def test_threads_are_a_number_of_them(name: str, count: int) -> None:
    """A runtime would take what it can hold, or end with an error of its own."""
    with pytest.raises(ConfigError, match=f"{name} is {count}"):
        RuntimeOptions(**{name: count})


def test_wrapper_returns_what_the_inner_backend_returns() -> None:
    inner = ChannelBackend()
    batch = np.full((1, 4, 6, 3), 7, np.uint8)

    wrapper = WrappedBackend(inner)

    assert (wrapper.card, wrapper.device) == (inner.card, inner.device)
    np.testing.assert_array_equal(wrapper.run(batch), inner.run(batch))


def test_wrapper_may_show_another_card() -> None:
    """For example of another input size of a dynamic network."""
    inner, card = ChannelBackend(), make_card(8, 8)

    wrapper = WrappedBackend(inner, card=card)

    assert wrapper.card is card
    assert inner.card is not card


def test_card_is_read_from_metadata() -> None:
    card = make_card()

    assert card_from_metadata({CARD_KEY: card.to_json()}, source="best.onnx") == card
    with pytest.raises(CardError, match=r"best\.onnx has no card"):
        card_from_metadata({}, source="best.onnx")


def test_another_size_is_what_the_card_asks_for() -> None:
    """Images are then resized to it, and a file of one size says how it gets any."""
    dynamic = ChannelBackend(make_card(32, 48, stride=16, dynamic=True))

    spec = at_size(dynamic, (64, 96)).card.input

    assert (spec.height, spec.width, spec.stride) == (64, 96, 16)
    assert at_size(dynamic, None) is dynamic
    assert at_size(dynamic, (32, 48)) is dynamic
    with pytest.raises(ConfigError, match="64,100; each side must be a multiple of 16"):
        at_size(dynamic, (64, 100))
    with pytest.raises(ConfigError, match="32x48 only; export it with --dynamic"):
        at_size(ChannelBackend(make_card(32, 48)), (64, 96))
