"""The operators that a TorchScript or .pt2 file may hold without the user's trust.

PyTorch runs whatever operator a graph names, and some write files (`aten::save`,
`aten::from_file`) or look into memory. A list of those that are dangerous would be out of date with
the next version, so this is the list of those that are not: tensors in, tensors out. It has the
operators of our exported networks, and those of the usual layers of other networks.
"""

import re

_OPERATORS = """
_convolution conv1d conv2d conv_transpose2d convolution
batch_norm _native_batch_norm_legit_no_training group_norm instance_norm layer_norm
native_group_norm native_layer_norm rms_norm
celu elu gelu glu hardsigmoid hardswish hardtanh leaky_relu log_sigmoid mish prelu relu relu6
selu sigmoid silu softplus tanh threshold
_log_softmax _softmax log_softmax softmax
adaptive_avg_pool2d adaptive_max_pool2d _adaptive_avg_pool2d avg_pool2d max_pool2d
max_pool2d_with_indices
upsample_bicubic2d upsample_bilinear2d upsample_nearest2d _upsample_bilinear2d_aa
_upsample_bicubic2d_aa grid_sampler grid_sampler_2d affine_grid_generator
pixel_shuffle pixel_unshuffle channel_shuffle
constant_pad_nd pad reflection_pad2d replication_pad2d
dropout feature_dropout alpha_dropout
addmm addbmm baddbmm bmm einsum linear matmul mm scaled_dot_product_attention
abs acos add addcdiv addcmul asin atan atan2 ceil clamp clamp_max clamp_min clip cos div erf exp
expm1 floor floor_divide floordiv fmod frac lerp log log10 log1p log2 maximum minimum mul neg
pow reciprocal remainder round rsqrt rsub sign sin sqrt square sub tan trunc
__and__ __or__ __xor__ bitwise_and bitwise_not bitwise_or bitwise_xor eq ge gt le logical_and
logical_not logical_or
logical_xor lt ne isfinite isinf isnan where masked_fill
all amax amin any argmax argmin argsort cumsum max mean median min norm linalg_vector_norm
prod sort std std_mean sum topk var var_mean
alias cat chunk clone concat contiguous copy detach diagonal expand expand_as flatten flip
fill gather index index_select meshgrid movedim narrow numpy_T one_hot permute repeat
repeat_interleave reshape roll rot90 scatter select slice split split_with_sizes squeeze stack
swapaxes t take_along_dim tile transpose tril triu unbind unflatten unfold im2col col2im
unsqueeze view view_as
arange eye full full_like linspace new_full new_ones new_zeros ones ones_like scalar_tensor
zeros zeros_like lift_fresh_copy lift_fresh
to _to_copy type_as
_assert_scalar _assert_tensor_metadata sym_constrain_range_for_size dim numel size sym_numel
sym_size
Bool Float FloatImplicit Int IntImplicit ScalarImplicit __getitem__ item len
"""

OPERATORS = frozenset(_OPERATORS.split())
"""Names of the namespace `aten`, of any overload; `relu_` writes into its input and is `relu`."""

PRIMITIVES = frozenset({"NumToTensor", "ListConstruct", "TupleConstruct", "ListUnpack"})
"""Names of TorchScript's namespace `prim`."""

FUNCTION = re.compile(
    r"_operator\.(add|and_|eq|floordiv|ge|getitem|gt|le|lt|mod|mul|ne|neg|not_|or_|pos|pow|sub"
    r"|truediv)|torch\.sym_(float|int|ite|max|min|not|sum)|math\.(ceil|floor|trunc)"
)
"""Functions of sizes in a .pt2 file."""

TARGET = re.compile(r"torch\.ops\.aten\.(\w+)\.\w+")


def is_allowed(name: str) -> bool:
    """Return whether an operator of the namespace `aten` may run, by its name."""
    return name in OPERATORS or (name.endswith("_") and name[:-1] in OPERATORS)


def is_allowed_target(target: str) -> bool:
    """Return whether a function of a .pt2 file may run, such as "torch.ops.aten.relu.default"."""
    if FUNCTION.fullmatch(target):
        return True
    match = TARGET.fullmatch(target)
    return match is not None and is_allowed(match[1])
