"""Names that options take of runtimes and of test-time augmentation, before either is imported."""

BACKENDS = ("auto", "torch", "onnxruntime", "torchscript", "pt2", "openvino", "mnn", "ncnn")
"""What `--backend` accepts: any runtime, or the one that must run a file."""

FLIP = "flip"
SCALES = "scales"
AUGMENTATIONS = (FLIP, SCALES)
"""What may be added to an image itself: its mirror image, and smaller and larger copies."""

SCALE_FACTORS = (0.75, 1.25)
"""Sizes of the copies, relative to the size that the network is given."""
