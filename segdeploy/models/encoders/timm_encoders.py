"""Encoders of timm: any of its networks that returns features."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from segdeploy.errors import ConfigError, MissingExtraError, ModelError
from segdeploy.models.encoders.encoder import Encoder

try:
    import timm
except ImportError as error:
    raise MissingExtraError(error.name or "timm", "timm") from error


class TimmEncoder(Encoder):
    """A network of timm, created with `features_only`."""

    def __init__(self, name: str, output_stride: int) -> None:
        """Build the network with random weights.

        Args:
            name: Name in timm, for example "mobilenetv3_large_100".
            output_stride: Stride of the coarsest features.

        Raises:
            ConfigError: timm has none of that name, or it returns no features of that stride.
        """
        super().__init__()
        self._name = name
        self._output_stride = output_stride
        try:
            self.body = self._create(pretrained=False)
        # Networks of timm reject unsupported arguments with different errors.
        except (
            RuntimeError,
            TypeError,
            ValueError,
            NotImplementedError,
            AssertionError,
            AttributeError,
            KeyError,
        ) as error:
            reason = " ".join(str(error).split())[:200]
            msg = (
                f"timm builds no {name!r} with features of stride {output_stride} ({reason});"
                " choose another, or output_stride 32"
            )
            raise ConfigError(msg) from error
        # Networks of windows return (N, H, W, C).
        self._channels_last = str(getattr(self.body, "output_fmt", "")).endswith("NHWC")
        self.channels = tuple(self.body.feature_info.channels())
        self.strides = tuple(self.body.feature_info.reduction())
        published = self.body.pretrained_cfg
        self.mean, self.std = (
            tuple(published.get(key) or getattr(self, key)) for key in ("mean", "std")
        )
        # Many round down a side that does not fit.
        self.multiple = self.strides[-1]
        self._find_sizes()

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the feature maps, from fine to coarse."""
        features = self.body(image)
        if self._channels_last:
            return [feature.permute(0, 3, 1, 2) for feature in features]
        return list(features)

    def published(self) -> Mapping[str, Tensor]:
        """Return the weights that timm downloads."""
        try:
            weights: Mapping[str, Tensor] = self._create(pretrained=True).state_dict()
        # The exceptions of the hub's client without internet access are not public types.
        except (OSError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            msg = (
                f"timm cannot download its weights of {self._name} ({reason}); give a file of them:"
                " --weights-backbone FILE"
            )
            raise ModelError(msg) from error
        return weights

    def renamed(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the weights under the prefix `body`."""
        return {f"body.{key}": value for key, value in weights.items()}

    def _find_sizes(self) -> None:
        """Find which sizes a network takes that timm trained at one size only.

        Some take any other size, some take multiples of it, and some only this.
        """
        published = self.body.pretrained_cfg
        if not published.get("fixed_input_size"):
            return
        height, width = published["input_size"][1:]
        if not self._takes(height + self.multiple, width):
            if self._takes(2 * height, width):
                self.multiple = height
            else:
                self.fixed_size = height, width

    def _takes(self, height: int, width: int) -> bool:
        """Return whether the network takes images of a size, on the device that computes nothing.

        Otherwise it asserts its size, or matrices do not fit.
        """
        try:
            deepcopy(self.body).to("meta")(torch.empty(1, 3, height, width, device="meta"))
        except (AssertionError, RuntimeError, ValueError):
            return False
        return True

    def _create(self, *, pretrained: bool) -> Any:  # noqa: ANN401 - timm has no public type for it
        # Encoders that never apply_stride know no output_stride at all, not even their own 32.
        dilated: dict[str, Any] = (
            {} if self._output_stride == 32 else {"output_stride": self._output_stride}
        )
        return timm.create_model(self._name, pretrained=pretrained, features_only=True, **dilated)


def build(name: str, output_stride: int) -> Encoder:
    """Build an encoder; see `build_encoder`."""
    return TimmEncoder(name, output_stride)
