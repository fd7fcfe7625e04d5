"""Pooling and upsampling, against PyTorch's own, and in ONNX at any size."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from segdeploy.models.blocks import grid_means, upsample
from segdeploy.models.encoders.efficientnet import ConvNormReLU6


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (12, 15), (45, 60)])
@pytest.mark.parametrize("grid", [1, 2, 3, 6])
def test_grid_means_are_adaptive_average_pooling(size: tuple[int, int], grid: int) -> None:
    """Papers and their published weights use PyTorch's adaptive pooling."""
    features = torch.rand(2, 3, *size)

    torch.testing.assert_close(
        grid_means(features, grid), functional.adaptive_avg_pool2d(features, grid)
    )


def test_upsampling_moves_no_pixel_where_downsampling_rounded_up() -> None:
    """23 features of 45 are upsampled by 2 and cropped; feature i stays at 2i + 0.5."""
    coarse = torch.arange(23.0).expand(1, 1, 23, 23)

    fine = upsample(coarse, torch.empty(1, 1, 45, 45), factor=2)

    expected = (torch.arange(45.0) - 0.5) / 2
    assert fine.shape[2:] == (45, 45)
    torch.testing.assert_close(fine[0, 0, 0], expected.clamp(0, 22))


class SizeDependentLayers(nn.Module):
    """One of each kind of layer whose dependence on the size an export could freeze."""

    def __init__(self) -> None:
        super().__init__()
        self.halve = ConvNormReLU6(3, 4, kernel=5, stride=2)
        self.shrink = nn.AvgPool2d(2, 2, ceil_mode=True)
        self.window = nn.AvgPool2d(5, 2, 2)

    def forward(self, image: Tensor) -> Tensor:
        quarter = self.shrink(self.halve(image))
        grid = functional.interpolate(
            grid_means(quarter, 3), size=quarter.shape[2:], mode="bilinear", align_corners=False
        )
        local = upsample(self.window(quarter), quarter, factor=2)
        return upsample(grid + local + quarter.mean((2, 3), keepdim=True), image, factor=4)


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.usefixtures("one_thread")
def test_layers_give_the_same_output_in_onnx_at_any_size() -> None:
    """A size that an exporter froze gives wrong output at every other size, without any warning."""
    onnxruntime = pytest.importorskip("onnxruntime")
    from segdeploy.export.capture import quiet

    torch.manual_seed(0)
    layers = SizeDependentLayers().eval()
    free = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    with quiet():
        program = torch.onnx.export(
            layers, (torch.rand(2, 3, 44, 52),), dynamo=True, dynamic_shapes=(free,), verbose=False
        )
    session = onnxruntime.InferenceSession(
        program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )

    for size in ((1, 44, 52), (3, 45, 33), (2, 131, 70), (1, 7, 300)):
        images = torch.rand(size[0], 3, *size[1:])
        (output,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
        np.testing.assert_allclose(output, layers(images).numpy(), atol=1e-4)
