"""Encoders of timm: any of its networks that returns features."""

from collections.abc import Mapping
from typing import Any

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
        self.channels = tuple(self.body.feature_info.channels())
        self.strides = tuple(self.body.feature_info.reduction())
        published = self.body.pretrained_cfg
        self.mean, self.std = (
            tuple(published.get(key) or getattr(self, key)) for key in ("mean", "std")
        )
        # Many round down a side that does not fit.
        self.multiple = self.strides[-1]

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the feature maps, from fine to coarse."""
        return list(self.body(image))

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

    def _create(self, *, pretrained: bool) -> Any:  # noqa: ANN401 - timm has no public type for it
        # Encoders that never apply_stride know no output_stride at all, not even their own 32.
        dilated: dict[str, Any] = (
            {} if self._output_stride == 32 else {"output_stride": self._output_stride}
        )
        return timm.create_model(self._name, pretrained=pretrained, features_only=True, **dilated)


def build(name: str, output_stride: int) -> Encoder:
    """Build an encoder; see `build_encoder`."""
    return TimmEncoder(name, output_stride)
