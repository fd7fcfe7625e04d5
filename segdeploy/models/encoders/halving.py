"""Where an encoder halves, and where it dilates instead: Chen et al., "Rethinking Atrous Convolution", arXiv 1706.05587."""

from dataclasses import dataclass

from torch import nn

from segdeploy.models.encoders.encoder import HALVINGS


@dataclass(frozen=True, kw_only=True)
class Halving:
    """One stage of an encoder, from before to after the place where it halves.

    Attributes:
        stride: 2 where it halves, 1 where it must not.
        before: Dilation up to the place, and in it.
        after: Dilation from there on.
    """

    stride: int
    before: int
    after: int


def halvings(output_stride: int) -> list[Halving]:
    """Give the five stages of an encoder whose coarsest features have this stride: each that must not halve doubles the dilation."""
    stages = []
    for number in range(HALVINGS):
        before = max(1, 2**number // output_stride)
        after = max(1, 2 ** (number + 1) // output_stride)
        stages.append(Halving(stride=2 if after == 1 else 1, before=before, after=after))
    return stages


def dilate(stage: nn.Module, halving: Halving) -> None:
    """Change the convolutions of a stage that halves once, so that it does what the halving says."""
    dilation = halving.before
    for module in stage.modules():
        if isinstance(module, nn.Conv2d):
            here = module.stride == (2, 2)
            module.dilation = (dilation, dilation)
            module.padding = (module.kernel_size[0] // 2 * dilation, module.kernel_size[1] // 2 * dilation)
            if here:
                module.stride = (halving.stride, halving.stride)
                dilation = halving.after
