"""Speaker segmentation: which of up to three voices speak at each moment of some ten seconds.

The network of pyannote segmentation-3.0, loaded from its published checkpoint as it is:

- Bredin, Laurent, "End-to-end speaker segmentation for overlap-aware resegmentation", Interspeech
  2021 (arXiv:2104.04045): the network;
- Plaquet, Bredin, "Powerset multi-class cross entropy loss for neural speaker diarization",
  Interspeech 2023 (arXiv:2310.13025): its classes, which are sets of speakers;
- Ravanelli, Bengio, "Speaker Recognition from Raw Waveform with SincNet", SLT 2018
  (arXiv:1808.00158): the first layer.

Data flow, for a batch of B recordings of N samples (16 kHz, in [-1, 1]):

    (B, N) -> instance norm                                       (B, 1, N)
           -> 80 sinc filters, stride 10; |x|; pool; norm; relu   (B, 80, N / 30)
           -> 60 filters; pool; norm; relu                        (B, 60, N / 90)
           -> 60 filters; pool; norm; relu                        (B, 60, T)         T = N / 270
           -> 4 bidirectional LSTM layers                         (B, T, 256)
           -> 2 x linear, relu                                    (B, T, 128)
           -> classifier, log softmax                             (B, T, 7)

Nothing is padded: frame i has heard, by convolution, the samples [i STEP, i STEP + RECEPTIVE_FIELD);
`num_frames` counts the frames that fit (10 s: 589). What the norms and the LSTM add is the whole input,
so an input cut elsewhere gives other values, and the three speakers come in another order: speaker 1 of
one input has nothing to do with speaker 1 of the next.

Attribute names are those of the checkpoint, so `load_state_dict(strict=True)` checks every tensor. One
thing is rewritten on the way: the checkpoint holds the cut-off frequencies of the sinc filters, the
network the filters themselves, in an ordinary convolution.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.serialization import safe_globals

from diarize.errors import ModelError
from diarize.networks.checkpoint import check_archive, check_sizes
from diarize.networks.powerset import POWERSET

TILE = 160_000
"""Samples of the inputs that the network was trained on (10 s)."""

MIN_HZ = 50.0
"""The least cut-off frequency and the least bandwidth of a sinc filter."""

PLACEHOLDERS = (
    "torch.torch_version.TorchVersion",
    "pyannote.audio.core.task.Specifications",
    "pyannote.audio.core.task.Problem",
    "pyannote.audio.core.task.Resolution",
)
"""Classes that the published checkpoint names beside its tensors; what it says with them is not needed."""

_loading = threading.Lock()  # torch keeps the classes that a checkpoint may name for the whole process


def sinc_filters(low_hz: Tensor, band_hz: Tensor, window: Tensor, angles: Tensor) -> Tensor:
    """The impulse responses of band-pass filters, first the even ones, then the odd ones.

    The ideal filter from f to g Hz, cut off by a window and scaled to a gain that all have in common:
    ``(sin 2 pi g t - sin 2 pi f t) / (2 pi t (g - f))``, and its counterpart in quadrature with cosines.

    low_hz, band_hz : (n, 1), the learnt f and g - f, but for their signs and for `MIN_HZ`, which is added
    window : (k,), half of a Hamming window; angles : (1, k), 2 pi t for the times t < 0 in seconds

    Returns
    -------
    (2 n, 1, 2 k + 1)
    """
    nyquist = 8000.0
    low = MIN_HZ + low_hz.abs()
    high = (low + MIN_HZ + band_hz.abs()).clamp(MIN_HZ, nyquist)
    scale = window / (angles * (high - low))
    even = (torch.sin(high * angles) - torch.sin(low * angles)) * scale
    odd = (torch.cos(low * angles) - torch.cos(high * angles)) * scale
    peak = torch.ones_like(low)  # the limit at t = 0
    filters = [
        torch.cat([even, peak, even.flip(1)], dim=1),
        torch.cat([odd, 0 * peak, -odd.flip(1)], dim=1),
    ]
    return torch.cat(filters).unsqueeze(1)


class SincNet(nn.Module):
    """Three convolutions over the waveform, each one pooled by 3, normalised and rectified."""

    def __init__(self) -> None:
        super().__init__()
        self.wav_norm1d = nn.InstanceNorm1d(1, affine=True)
        self.conv1d = nn.ModuleList(
            [nn.Conv1d(1, 80, 251, stride=10, bias=False), nn.Conv1d(80, 60, 5), nn.Conv1d(60, 60, 5)]
        )
        self.norm1d = nn.ModuleList(nn.InstanceNorm1d(channels, affine=True) for channels in (80, 60, 60))

    def forward(self, x: Tensor) -> Tensor:  # (B, N) -> (B, 60, T)
        x = self.wav_norm1d(x.unsqueeze(1))
        for i, (conv, norm) in enumerate(zip(self.conv1d, self.norm1d, strict=True)):
            x = conv(x) if i else conv(x).abs()
            x = F.leaky_relu(norm(F.max_pool1d(x, 3)))
        return x


class Segmentation(nn.Module):
    """The network: ``(B, N)`` samples to ``(B, T, 7)`` natural logarithms of the classes' probabilities.

    N is at least `MIN_SAMPLES`, T is ``num_frames(N)``, and the classes are those of `POWERSET`, all three
    of `diarize.networks.powerset`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sincnet = SincNet()
        self.lstm = nn.LSTM(60, 128, num_layers=4, bidirectional=True, batch_first=True)
        self.linear = nn.ModuleList([nn.Linear(256, 128), nn.Linear(128, 128)])
        self.classifier = nn.Linear(128, len(POWERSET))

    def forward(self, samples: Tensor) -> Tensor:  # (B, N) -> (B, T, 7)
        x: Tensor = self.sincnet(samples).transpose(1, 2)
        x, _ = self.lstm(x)
        for linear in self.linear:
            x = F.leaky_relu(linear(x))
        return F.log_softmax(self.classifier(x), dim=-1)

    @classmethod
    def load(cls, path: str | Path) -> Segmentation:
        """Read the published checkpoint, a file of PyTorch Lightning's.

        Raises ModelError if the file is not a checkpoint, or not one of this network. Nothing in the
        file is executed.
        """
        try:
            check_archive(path)
            with _loading, safe_globals([(_Placeholder, name) for name in PLACEHOLDERS]):
                checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises half a dozen unrelated types here
            raise ModelError(f"{path}: not a PyTorch checkpoint ({_reason(error)})") from None
        try:
            if not isinstance(checkpoint, dict) or not isinstance(checkpoint["state_dict"], dict):
                raise TypeError("its tensors must be named in a dictionary, 'state_dict'")
            check_sizes(checkpoint["state_dict"], path)
            network = cls()
            network.load_state_dict(with_filters(checkpoint["state_dict"]))
        except (KeyError, TypeError, AttributeError, ValueError, RuntimeError, IndexError) as error:
            reason = _reason(error)
            raise ModelError(f"{path}: not the checkpoint of a segmentation network ({reason})") from None
        return network.eval().requires_grad_(False)


def with_filters(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A checkpoint's tensors, the sinc filters computed from what describes them there."""
    state = dict(state)
    names = ("low_hz_", "band_hz_", "window_", "n_")
    described = [state.pop(f"sincnet.conv1d.0.filterbank.{name}") for name in names]
    return {**state, "sincnet.conv1d.0.weight": sinc_filters(*described)}


class _Placeholder:
    """Stands for a class that a checkpoint names; takes whatever it is given, and keeps none of it."""

    def __init__(self, *ignored: Any) -> None: ...

    def __setstate__(self, ignored: Any) -> None: ...


def _reason(error: Exception) -> str:
    """What went wrong, in a line: torch advises at length to load the file all the same."""
    text = f"{error} is missing" if isinstance(error, KeyError) else str(error)
    text = text.partition("WeightsUnpickler error: ")[2] or text or type(error).__name__
    return " ".join(text.partition("Please use")[0].split())[:160]
