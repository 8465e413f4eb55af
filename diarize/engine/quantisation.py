"""The dense network in int8: which tensors, over what ranges, and how the graph is told.

Processors multiply bytes faster than anything else, if both factors of a convolution are bytes. Weights are
known: each output channel is scaled by its own largest magnitude. What the network computes is not: every
tensor needs a range that was measured on speech beforehand. Those in `campplus-zh-en.int8.json` are means
over pieces of 12 s of each one's least and largest value (`benchmarks/calibrate_int8.py` writes the file);
they hold for that checkpoint alone.

A converted graph is changed in two ways, and OpenVINO's low-precision transformations make it int8 when it
is compiled: a FakeQuantize node, which rounds to 256 levels, follows each tensor that a convolution, an
average, a sum, a product or a concatenation reads; and weights are stored as int8 times their scales. The
first convolution stays as it is: it reads one channel, so that it is cheap, and the features' range is wide.

Only the program "dense" is quantised. Exact rows, and with them verification, are computed as otherwise.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarize._assets import ASSETS, file_sha256
from diarize.errors import ConfigError, ModelError

MODEL = "campplus-zh-en"
"""The model that ranges were measured for."""

RANGES = Path(__file__).with_name(f"{MODEL}.int8.json")
"""{module's path in the network: [[low, high], ...] of its quantised tensors, in the order of data flow}."""

EXEMPT = "head.conv1"
"""The convolution that is not quantised."""

READERS = ("Convolution", "AvgPool", "Add", "Multiply", "Concat")
"""Operations that read bytes; sums and products only of two computed tensors."""

RESHAPING = ("Reshape", "Unsqueeze", "Squeeze")
"""Operations that hand values on as they are."""

Ranges = dict[str, list[tuple[float, float]]]


def check(path: Path) -> None:
    """ConfigError unless a file is the checkpoint that ranges were measured for, ModelError without them."""
    if file_sha256(path) != ASSETS[MODEL].files[0].sha256:
        raise ConfigError(
            f"precision 'int8' was asked for, but {path.name} is not {MODEL}, the only model whose ranges "
            "were measured; use 'bf16' or 'f32'"
        )
    read_ranges()


def read_ranges() -> Ranges:
    """The measured ranges; ModelError if the file is not what `benchmarks/calibrate_int8.py` writes."""
    path = RANGES
    try:
        ranges: Ranges = {
            module: [(float(low), float(high)) for low, high in pairs]
            for module, pairs in json.loads(path.read_text(encoding="utf-8")).items()
        }
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: not readable as ranges for int8 ({error}); install diarize anew") from None
    for module, pairs in ranges.items():
        for low, high in pairs:
            if not (math.isfinite(low) and math.isfinite(high) and low <= 0 < high):
                raise ModelError(f"{path}: {module}: a range must hold zero, got {low} to {high}")
    return ranges


def measured_ranges(model: Any, inputs: Sequence[NDArray[np.float32]]) -> Ranges:
    """The ranges of a dense graph's tensors: means of the ends that each input (1, T, F) gives."""
    import openvino
    from openvino import opset13 as ops

    tensors = quantised_tensors(model)
    nodes = [tensor.get_node() for found in tensors.values() for tensor in found]
    ends = [end(node, [0, 1, 2, 3]) for node in nodes for end in (ops.reduce_min, ops.reduce_max)]
    watched = openvino.Model(ends, model.get_parameters())
    run = openvino.Core().compile_model(watched, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    values = [[float(end) for end in run(features).to_tuple()] for features in inputs]
    means = iter(np.mean(values, axis=0).reshape(-1, 2).tolist())
    pairs = {module: [next(means) for _ in found] for module, found in tensors.items()}
    return {module: [(min(low, 0.0), high) for low, high in found] for module, found in pairs.items()}


def quantise(model: Any, ranges: Ranges) -> None:
    """Make a dense graph (`openvino.Model`) compute in int8, in place.

    Raises ModelError unless the ranges are those of exactly the tensors that are to be quantised.
    """
    tensors = quantised_tensors(model)
    modules = sorted(tensors.keys() | ranges.keys())
    unlike = [name for name in modules if len(tensors.get(name, ())) != len(ranges.get(name, ()))]
    if unlike:
        raise ModelError(
            f"the ranges for int8 are not those of this network: {len(unlike)} modules differ, "
            f"the first is {unlike[0]}"
        )
    for convolution in convolutions(model):
        quantise_weights(convolution.input(1))
    for module, found in tensors.items():
        for tensor, (low, high) in zip(found, ranges[module], strict=True):
            quantise_tensor(tensor, low, high)


def quantised_tensors(model: Any) -> dict[str, list[Any]]:
    """The outputs (`openvino.Output`) that are to be quantised, by the module that computes them.

    Modules are named by their path in the traced network, "xvector.block1.tdnnd1.cam_layer"; one's tensors
    depend on one another, so that the order of data flow is one and the same in every version of OpenVINO.
    """
    read = {source(port) for node in model.get_ordered_ops() for port in read_ports(node)}
    tensors: dict[str, list[Any]] = {}
    for node in model.get_ordered_ops():
        if node.get_friendly_name() in read:
            tensors.setdefault(module_of(node), []).append(node.output(0))
    return tensors


def read_ports(node: Any) -> Iterator[Any]:
    """The inputs of a node that read computed tensors as bytes."""
    if node.get_type_name() not in READERS or module_of(node) == EXEMPT:
        return
    if not node.output(0).get_element_type().is_real():
        return  # lengths
    ports = [port for port in node.inputs() if not is_constant(port.get_source_output().get_node())]
    if node.get_type_name() in ("Add", "Multiply") and len(ports) < 2:
        return  # a bias, or a BatchNorm
    yield from ports


def source(port: Any) -> str:
    """The name of the node whose values an input reads; "" where they are quantised before it."""
    node = port.get_source_output().get_node()
    while node.get_type_name() in RESHAPING:
        node = node.input_value(0).get_node()
    return "" if node.get_type_name() in ("Concat", "AvgPool") else str(node.get_friendly_name())


def convolutions(model: Any) -> list[Any]:
    """The convolutions that are to be quantised."""
    found = [node for node in model.get_ordered_ops() if node.get_type_name() == "Convolution"]
    return [node for node in found if module_of(node) != EXEMPT]


def module_of(node: Any) -> str:
    """The path of the module that a node was traced from: "__module.network.head/aten::relu/Relu": "head"."""
    return str(node.get_friendly_name()).partition("/")[0].removeprefix("__module.network.")


def is_constant(node: Any) -> bool:
    """Whether a node's values are weights."""
    return str(node.get_type_name()) == "Constant"


def quantise_tensor(tensor: Any, low: float, high: float) -> None:
    """Round a tensor to 256 levels between two values, moved so that zero is one of the levels."""
    from openvino import opset13 as ops

    step = (high - low) / 255
    below = round(-low / step)
    low, high = -below * step, (255 - below) * step
    readers = tensor.get_target_inputs()
    node = tensor.get_node()
    ends = [np.full((1, 1, 1, 1), end, np.float32) for end in (low, high)]
    rounded = ops.fake_quantize(node, *ends, *ends, 256)
    rounded.set_friendly_name(f"{node.get_friendly_name()}/int8")
    for reader in readers:
        reader.replace_source_output(rounded.output(0))


def quantise_weights(port: Any) -> None:
    """Replace a convolution's weights (C', C, H, W) by int8 ones in -127 .. 127, times a scale a channel."""
    from openvino import opset13 as ops

    constant = port.get_source_output().get_node()
    if not is_constant(constant):
        raise ModelError(f"{constant.get_friendly_name()}: weights are not constant, so not quantised")
    weights = constant.data
    scales = np.abs(weights).max(axis=(1, 2, 3), keepdims=True) / np.float32(127)
    scales[scales == 0] = 1
    whole = np.rint(weights / scales).astype(np.int8)
    product = ops.multiply(ops.convert(ops.constant(whole), "f32"), ops.constant(scales))
    product.set_friendly_name(f"{constant.get_friendly_name()}/int8")
    port.replace_source_output(product.output(0))
