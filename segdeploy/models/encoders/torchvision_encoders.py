"""Encoders of torchvision, which are built and loaded by its own code."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from segdeploy.errors import MissingExtraError, ModelError
from segdeploy.models.encoders.encoder import Encoder, dilate, halvings, strides_at

try:
    from torchvision.models import get_model, get_model_weights
    from torchvision.ops import SqueezeExcitation
except ImportError as error:
    raise MissingExtraError(error.name or "torchvision", "train") from error

MOBILENET_STAGES = (0, 2, 4, 7, 13, 17)
"""Where the blocks of MobileNetV3-Large begin that halve the image, and where they end; table 1
of its paper."""


class OfTorchvision(Encoder):
    """What all of them share: the network is kept as it is, less what only classifies."""

    classifier: str

    def __init__(self, name: str) -> None:
        """Build the network with fresh weights.

        Args:
            name: Name in torchvision.
        """
        super().__init__()
        self._name = name
        self.body: Any = get_model(name, weights=None)
        setattr(self.body, self.classifier, nn.Identity())

    def published(self) -> Mapping[str, Tensor]:
        """Fetch the newest weights from torchvision's server, or from where PyTorch keeps what it fetched before."""
        try:
            weights: Mapping[str, Tensor] = get_model_weights(self._name).DEFAULT.get_state_dict(
                progress=False, check_hash=True
            )
        except (OSError, RuntimeError) as error:
            msg = (
                f"torchvision cannot fetch its weights of {self._name} ({error}); give a file of"
                " them: --weights-backbone FILE"
            )
            raise ModelError(msg) from error
        return weights

    def renamed(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Put the names under `body`, and leave out the classifier."""
        return {
            f"body.{key}": value
            for key, value in weights.items()
            if not key.startswith(f"{self.classifier}.")
        }


class ResNet(OfTorchvision):
    """He et al., CVPR 2016, with the halving in the 3x3 convolution of a block, as torchvision has it."""

    channels = (64, 256, 512, 1024, 2048)
    classifier = "fc"

    def __init__(self, name: str, output_stride: int) -> None:
        """Build the network; see `build_encoder`."""
        super().__init__(name)
        self.strides = strides_at(output_stride)
        for stage, halving in zip(
            (self.body.layer2, self.body.layer3, self.body.layer4),
            halvings(output_stride)[2:],
            strict=True,
        ):
            assert isinstance(stage, nn.Module)
            dilate(stage, halving)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the features after the first convolution and after each of the four stages."""
        body = self.body
        features = [body.relu(body.bn1(body.conv1(image)))]
        features.append(body.layer1(body.maxpool(features[-1])))
        features.append(body.layer2(features[-1]))
        features.append(body.layer3(features[-1]))
        features.append(body.layer4(features[-1]))
        return features


class Whole(nn.Module):
    """The mean of everything, as an operation that every runtime has."""

    def forward(self, features: Tensor) -> Tensor:
        """Turn (N, C, H, W) into (N, C, 1, 1)."""
        return features.mean((2, 3), keepdim=True)


class MobileNet(OfTorchvision):
    """MobileNetV3-Large: Howard et al., ICCV 2019."""

    channels = (16, 24, 40, 112, 960)
    classifier = "classifier"

    def __init__(self, name: str, output_stride: int) -> None:
        """Build the network; see `build_encoder`."""
        super().__init__(name)
        self.strides = strides_at(output_stride)
        # Adaptive pooling to one value is exported as gathering every pixel by its index, and then
        # a mean.
        for module in self.body.modules():
            if isinstance(module, SqueezeExcitation):
                module.avgpool = Whole()
        for (start, end), halving in zip(
            pairwise(MOBILENET_STAGES), halvings(output_stride), strict=True
        ):
            dilate(self.body.features[start:end], halving)
        self._ends = list(MOBILENET_STAGES[1:])

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the features at the end of each stage."""
        features, given = image, []
        for number, block in enumerate(self.body.features, start=1):
            features = block(features)
            if number in self._ends:
                given.append(features)
        return given


def build(name: str, output_stride: int) -> Encoder:
    """Build an encoder; see `build_encoder`."""
    return (
        MobileNet(name, output_stride)
        if name.startswith("mobilenet")
        else ResNet(name, output_stride)
    )
