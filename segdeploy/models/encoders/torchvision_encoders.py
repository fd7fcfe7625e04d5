"""ResNet and MobileNetV3 of torchvision, built and loaded by its own code."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from segdeploy.errors import MissingExtraError, ModelError
from segdeploy.models.encoders.encoder import Encoder, apply_stride, feature_strides, stage_strides

try:
    from torchvision.models import get_model, get_model_weights
    from torchvision.ops import SqueezeExcitation
except ImportError as error:
    raise MissingExtraError(error.name or "torchvision", "train") from error

MOBILENET_STAGES = (0, 2, 4, 7, 13, 17)
"""Numbers of the layers at which the stages of MobileNetV3-Large begin and end; table 1 of its
paper."""


class TorchvisionEncoder(Encoder):
    """A classification network of torchvision, unchanged but for its classifier.

    Attributes:
        classifier: Name of the layers that only classify.
    """

    classifier: str

    def __init__(self, name: str) -> None:
        """Build the network with random weights.

        Args:
            name: Name in torchvision.
        """
        super().__init__()
        self._name = name
        self.body: Any = get_model(name, weights=None)
        setattr(self.body, self.classifier, nn.Identity())

    def published(self) -> Mapping[str, Tensor]:
        """Return the newest weights, downloaded by torchvision or from PyTorch's cache."""
        try:
            weights: Mapping[str, Tensor] = get_model_weights(self._name).DEFAULT.get_state_dict(
                progress=False, check_hash=True
            )
        except (OSError, RuntimeError) as error:
            msg = (
                f"torchvision cannot download its weights of {self._name} ({error}); give a file"
                " of them: --weights-backbone FILE"
            )
            raise ModelError(msg) from error
        return weights

    def renamed(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the weights under the prefix `body`, without the classifier."""
        return {
            f"body.{key}": value
            for key, value in weights.items()
            if not key.startswith(f"{self.classifier}.")
        }


class ResNet(TorchvisionEncoder):
    """ResNet: He et al., CVPR 2016; as in torchvision, the 3x3 convolution of a block halves."""

    channels = (64, 256, 512, 1024, 2048)
    classifier = "fc"

    def __init__(self, name: str, output_stride: int) -> None:
        """Build the network; see `build_encoder`."""
        super().__init__(name)
        self.strides = feature_strides(output_stride)
        for layers, stage in zip(
            (self.body.layer2, self.body.layer3, self.body.layer4),
            stage_strides(output_stride)[2:],
            strict=True,
        ):
            assert isinstance(layers, nn.Module)
            apply_stride(layers, stage)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the features after the first convolution and after each of the four stages."""
        body = self.body
        features = [body.relu(body.bn1(body.conv1(image)))]
        features.append(body.layer1(body.maxpool(features[-1])))
        features.append(body.layer2(features[-1]))
        features.append(body.layer3(features[-1]))
        features.append(body.layer4(features[-1]))
        return features


class GlobalMean(nn.Module):
    """Global average pooling, as an operator that every runtime has."""

    def forward(self, features: Tensor) -> Tensor:
        """Turn (N, C, H, W) into (N, C, 1, 1)."""
        return features.mean((2, 3), keepdim=True)


class MobileNet(TorchvisionEncoder):
    """MobileNetV3-Large: Howard et al., ICCV 2019."""

    channels = (16, 24, 40, 112, 960)
    classifier = "classifier"

    def __init__(self, name: str, output_stride: int) -> None:
        """Build the network; see `build_encoder`."""
        super().__init__(name)
        self.strides = feature_strides(output_stride)
        # Adaptive pooling to one value is exported as gathering every pixel by its index, then a
        # mean.
        for module in self.body.modules():
            if isinstance(module, SqueezeExcitation):
                module.avgpool = GlobalMean()
        for (start, end), stage in zip(
            pairwise(MOBILENET_STAGES), stage_strides(output_stride), strict=True
        ):
            apply_stride(self.body.features[start:end], stage)
        self._stage_ends = list(MOBILENET_STAGES[1:])

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the features at the end of each stage."""
        features, outputs = image, []
        for number, block in enumerate(self.body.features, start=1):
            features = block(features)
            if number in self._stage_ends:
                outputs.append(features)
        return outputs


def build(name: str, output_stride: int) -> Encoder:
    """Build an encoder; see `build_encoder`."""
    return (
        MobileNet(name, output_stride)
        if name.startswith("mobilenet")
        else ResNet(name, output_stride)
    )
