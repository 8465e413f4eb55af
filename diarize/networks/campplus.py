"""CAM++: a speaker embedding network, loaded from 3D-Speaker's checkpoints as they are.

Wang, Zheng, Chen, Cheng, Chen, "CAM++: A Fast and Efficient Network for Speaker Verification
Using Context-Aware Masking", Interspeech 2023 (arXiv:2303.00332).

Data flow, for a batch of B feature matrices of T frames (10 ms) and F mel bins:

    (B, T, F)  -> Head                      (B, 320, T)    2-D convolutions, frequency / 8
               -> tdnn, stride 2            (B, 128, T/2)
               -> 3 x (Block -> Transit)    (B, 512, T/2)  densely connected, context-masked
               -> mean and std over time    (B, 1024)
               -> dense                     (B, E)         not normalised

Attribute names are those of the checkpoints, so `load_state_dict(strict=True)` checks every tensor.

**Dense.** Windows overlap, so embedding each by itself computes every frame several times over. All of
the network up to the statistics is convolutions but for the context masks, whose means run over the
whole input; `CAMPPlus.dense` replaces them by a centred moving average of a second, and what is left
can be run once over any length (`frames`), then pooled over as many windows as wanted (`embed`). That
is sound because a mask only asks what the surroundings sound like: over a window of 1.5 s its mean and
its segment's mean are one and the same number, the mean over that much speech, and a moving average is
its counterpart for a frame. It is not the same function, so rows of the two kinds differ (cosine about
.9 on windows), and how well they tell voices apart was measured (docs/decisions/0005). The dense
network holds time in images of height one, (B, C, 1, T): OpenVINO computes those in int8 too, which it
does not for (B, C, T), and gives the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diarize.errors import ModelError
from diarize.networks.checkpoint import check_archive, check_sizes

SEGMENT_FRAMES = 100
"""Length of the context mask's local average, in strided frames (2 s)."""

CONTEXT_FRAMES = 51
"""Length of the moving average that stands for both means where the network runs densely (1 s)."""


@dataclass(frozen=True)
class CAMPPlusShape:
    """The sizes of one CAM++ network; all but the dilations are read off a checkpoint."""

    feature_bins: int = 80
    head_channels: int = 32
    init_channels: int = 128
    growth: int = 32
    bottleneck: int = 128
    layers: tuple[int, ...] = (12, 24, 16)
    embedding_size: int = 192
    dilations: tuple[int, ...] = (1, 2, 2)

    @classmethod
    def of(cls, state: dict[str, Tensor]) -> CAMPPlusShape:
        """The sizes of a checkpoint; KeyError where it is not a CAM++ one."""
        head = state["head.conv1.weight"].shape[0]
        layer = "xvector.block1.tdnnd1"
        blocks = sorted({k.split(".")[1] for k in state if k.startswith("xvector.block")})
        return cls(
            feature_bins=state["xvector.tdnn.linear.weight"].shape[1] // head * 8,
            head_channels=head,
            init_channels=state["xvector.tdnn.linear.weight"].shape[0],
            growth=state[f"{layer}.cam_layer.linear_local.weight"].shape[0],
            bottleneck=state[f"{layer}.linear1.weight"].shape[0],
            layers=tuple(
                sum(
                    k.startswith(f"xvector.{b}.") and k.endswith(".linear1.weight") and "cam" not in k
                    for k in state
                )
                for b in blocks
            ),
            embedding_size=state["xvector.dense.linear.weight"].shape[0],
        )


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; a stride shrinks frequency only."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, stride=(stride, 1), padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride != 1:
            self.shortcut.append(nn.Conv2d(channels, channels, 1, stride=(stride, 1), bias=False))
            self.shortcut.append(nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:  # (B, C, F, T) -> (B, C, F / stride, T)
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class Head(nn.Module):
    """The front-end convolution module (FCM): frequency structure before the 1-D network."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.layer1 = nn.Sequential(ResidualBlock(channels, 2), ResidualBlock(channels, 1))
        self.layer2 = nn.Sequential(ResidualBlock(channels, 2), ResidualBlock(channels, 1))
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=(2, 1), padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:  # (B, F, T) -> (B, C * F / 8, T)
        x = F.relu(self.bn1(self.conv1(x.unsqueeze(1))))
        x = F.relu(self.bn2(self.conv2(self.layer2(self.layer1(x)))))
        return x.flatten(1, 2)


def norm_relu(channels: int) -> nn.Sequential:
    """BatchNorm, then ReLU, under the checkpoints' names."""
    block = nn.Sequential()
    block.add_module("batchnorm", nn.BatchNorm1d(channels))
    block.add_module("relu", nn.ReLU())
    return block


class TDNN(nn.Module):
    """A time-delay layer: 1-D convolution, BatchNorm, ReLU; halves the frame rate."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(in_channels, out_channels, 5, stride=2, padding=2, bias=False)
        self.nonlinear = norm_relu(out_channels)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, T) -> (B, C', T / 2)
        return cast(Tensor, self.nonlinear(self.linear(x)))


class ContextMask(nn.Module):
    """Context-aware masking: a local convolution gated by what surrounds it."""

    def __init__(self, in_channels: int, out_channels: int, dilation: int) -> None:
        super().__init__()
        self.linear_local = nn.Conv1d(
            in_channels, out_channels, 3, padding=dilation, dilation=dilation, bias=False
        )
        self.linear1 = nn.Conv1d(in_channels, in_channels // 2, 1)
        self.linear2 = nn.Conv1d(in_channels // 2, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, T) -> (B, C', T)
        mask = torch.sigmoid(self.linear2(F.relu(self.surroundings(x))))
        return cast(Tensor, self.linear_local(x) * mask)

    def surroundings(self, x: Tensor) -> Tensor:
        """(B, C, T) to (B, C / 2, T), or to (B, C / 2, 1) where they are one for all frames."""
        return cast(Tensor, self.linear1(utterance_context(x)))


class MovingContextMask(ContextMask):
    """The same mask from a moving average, taken after the projection: of half as many channels."""

    def surroundings(self, x: Tensor) -> Tensor:
        """(B, C, 1, T) to (B, C / 2, 1, T)."""
        projected = moving_context(F.conv2d(x, self.linear1.weight))
        return projected + cast(Tensor, self.linear1.bias)[:, None, None]


def utterance_context(x: Tensor) -> Tensor:
    """The mean over time plus the mean of each 100-frame segment, of which the last may be shorter."""
    mean = x.mean(-1, keepdim=True)
    if x.shape[-1] <= SEGMENT_FRAMES:
        return 2 * mean
    return mean + segment_means(x)


def segment_means(x: Tensor) -> Tensor:
    """Replace each frame by the mean of its 100-frame segment; the last segment may be shorter.

    Written so that a graph traced from it holds for any length.
    """
    missing = (0, SEGMENT_FRAMES - 1)
    sums = F.avg_pool1d(F.pad(x, missing), SEGMENT_FRAMES)
    shares = F.avg_pool1d(F.pad(torch.ones_like(x[:1, :1]), missing), SEGMENT_FRAMES)
    means = (sums / shares).unsqueeze(-1).expand(-1, -1, -1, SEGMENT_FRAMES)
    return means.flatten(2)[..., : x.shape[-1]]


def moving_context(x: Tensor) -> Tensor:  # (B, C, 1, T) -> (B, C, 1, T)
    """Twice the mean of the second around each frame, of the frames that are there."""
    second, around = (1, CONTEXT_FRAMES), (0, CONTEXT_FRAMES // 2)
    return 2 * F.avg_pool2d(x, second, stride=1, padding=around, count_include_pad=False)


def in_images(module: nn.Module) -> nn.Module:
    """The module, its 1-D layers replaced by 2-D ones over (B, C, 1, T) that share their weights."""
    for name, layer in module.named_children():
        if isinstance(layer, nn.Conv1d):
            image: nn.Module = nn.Conv2d(
                layer.in_channels,
                layer.out_channels,
                (1, layer.kernel_size[0]),
                stride=(1, layer.stride[0]),
                padding=(0, int(layer.padding[0])),
                dilation=(1, layer.dilation[0]),
                bias=layer.bias is not None,
            )
            state = layer.state_dict()
            state["weight"] = state["weight"].unsqueeze(2)
        elif isinstance(layer, nn.BatchNorm1d):
            image = nn.BatchNorm2d(layer.num_features, affine=layer.affine)
            state = layer.state_dict()
        else:
            in_images(layer)
            continue
        image.load_state_dict(state, assign=True)
        module.add_module(name, image)
    return module


class DenseLayer(nn.Module):
    """Bottleneck, then the context-masked convolution that grows the block by a few channels."""

    def __init__(
        self, in_channels: int, shape: CAMPPlusShape, dilation: int, mask: type[ContextMask]
    ) -> None:
        super().__init__()
        self.nonlinear1 = norm_relu(in_channels)
        self.linear1 = nn.Conv1d(in_channels, shape.bottleneck, 1, bias=False)
        self.nonlinear2 = norm_relu(shape.bottleneck)
        self.cam_layer = mask(shape.bottleneck, shape.growth, dilation)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, T) -> (B, growth, T)
        return cast(Tensor, self.cam_layer(self.nonlinear2(self.linear1(self.nonlinear1(x)))))


class Block(nn.Module):
    """Densely connected layers: each one reads everything before it."""

    def __init__(
        self, layers: int, in_channels: int, shape: CAMPPlusShape, dilation: int, mask: type[ContextMask]
    ) -> None:
        super().__init__()
        for i in range(layers):
            layer = DenseLayer(in_channels + i * shape.growth, shape, dilation, mask)
            self.add_module(f"tdnnd{i + 1}", layer)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, T) -> (B, C + layers * growth, T)
        for layer in self.children():
            x = torch.cat([x, layer(x)], dim=1)
        return x


class Transit(nn.Module):
    """BatchNorm, ReLU and a 1x1 convolution that halves the channels after a block."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.nonlinear = norm_relu(in_channels)
        self.linear = nn.Conv1d(in_channels, in_channels // 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, T) -> (B, C / 2, T)
        return cast(Tensor, self.linear(self.nonlinear(x)))


class Dense(nn.Module):
    """Pooled statistics to the embedding; its BatchNorm has no affine part."""

    def __init__(self, in_channels: int, embedding_size: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(in_channels, embedding_size, 1, bias=False)
        self.nonlinear = nn.Sequential()
        self.nonlinear.add_module("batchnorm", nn.BatchNorm1d(embedding_size, affine=False))

    def forward(self, x: Tensor) -> Tensor:  # (B, C) -> (B, E)
        return cast(Tensor, self.nonlinear(self.linear(x.unsqueeze(-1)).squeeze(-1)))


class CAMPPlus(nn.Module):
    """The network: ``(B, T, F)`` log-mel features, mean over time removed, to ``(B, E)``."""

    def __init__(self, shape: CAMPPlusShape | None = None, mask: type[ContextMask] = ContextMask) -> None:
        super().__init__()
        self.shape = shape = shape or CAMPPlusShape()
        self.head = Head(shape.head_channels)
        self.xvector = nn.Sequential()
        self.xvector.add_module(
            "tdnn", TDNN(shape.head_channels * shape.feature_bins // 8, shape.init_channels)
        )
        channels = shape.init_channels
        for i, (layers, dilation) in enumerate(zip(shape.layers, shape.dilations, strict=True), start=1):
            self.xvector.add_module(f"block{i}", Block(layers, channels, shape, dilation, mask))
            channels += layers * shape.growth
            self.xvector.add_module(f"transit{i}", Transit(channels))
            channels //= 2
        self.xvector.add_module("out_nonlinear", norm_relu(channels))
        self.xvector.add_module("stats", StatisticsPooling())
        self.num_statistics = 2 * channels
        self.xvector.add_module("dense", Dense(self.num_statistics, shape.embedding_size))

    def forward(self, features: Tensor) -> Tensor:  # (B, T, F) -> (B, E)
        return cast(Tensor, self.xvector(self.head(features.transpose(1, 2))))

    def frames(self, features: Tensor) -> Tensor:  # (B, T, F) -> (B, T / 2, C)
        """What the statistics are taken of: 512 channels, a frame every 20 ms."""
        return self.layers(self.head(features.transpose(1, 2))).transpose(1, 2)

    def layers(self, x: Tensor) -> Tensor:  # (B, C, T) -> (B, C', T / 2)
        """The 1-D network up to the statistics."""
        for name, module in self.xvector.named_children():
            if name == "stats":
                break
            x = module(x)
        return x

    def embed(self, statistics: Tensor) -> Tensor:  # (B, 2 C) -> (B, E)
        """The embedding of a mean and a standard deviation over frames."""
        return cast(Tensor, self.xvector.get_submodule("dense")(statistics))

    def dense(self) -> DenseCAMPPlus:
        """The same weights with moving context: a network whose `frames` may run over any length."""
        network = DenseCAMPPlus(self.shape, MovingContextMask)
        network.load_state_dict(self.state_dict(), assign=True)
        for name, module in network.xvector.named_children():
            if name != "dense":
                in_images(module)
        return network.eval().requires_grad_(False)

    @classmethod
    def load(cls, path: str | Path) -> CAMPPlus:
        """Read a published checkpoint; its sizes are taken from its tensors.

        Raises ModelError if the file is not a checkpoint, or not one of a CAM++ network. Nothing
        in the file is executed.
        """
        try:
            check_archive(path)
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises half a dozen unrelated types here
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ModelError(f"{path}: not a PyTorch checkpoint ({reason})") from None
        try:
            check_sizes(state, path)
            shape = CAMPPlusShape.of(state)
            with torch.device("meta"):  # whether they fit, before they take memory
                cls(shape).load_state_dict(state, assign=True)
            network = cls(shape)
            network.load_state_dict(state)
        except (KeyError, TypeError, AttributeError, ValueError, RuntimeError, ZeroDivisionError) as error:
            reason = str(error).splitlines()[0]
            raise ModelError(f"{path}: not the checkpoint of a CAM++ network ({reason})") from None
        return network.eval().requires_grad_(False)


class DenseCAMPPlus(CAMPPlus):
    """What `CAMPPlus.dense` makes; only its `frames` is meant to be called."""

    def layers(self, x: Tensor) -> Tensor:  # (B, C, T) -> (B, C', T / 2)
        """The same, over images of height one."""
        return super().layers(x.unsqueeze(2)).squeeze(2)


class StatisticsPooling(nn.Module):
    """Mean and unbiased standard deviation over time."""

    def forward(self, x: Tensor) -> Tensor:  # (B, C, T) -> (B, 2 C)
        return torch.cat([x.mean(-1), x.std(-1, unbiased=True)], dim=-1)
