"""The segmentation network against pyannote.audio's own values, its clock, and files that it refuses."""

from __future__ import annotations

import io
import sys
import threading
import types
import zipfile
from concurrent.futures import ThreadPoolExecutor
from enum import Enum

import numpy as np
import pytest
import torch

from diarize import ModelError
from diarize.audio import read_audio
from diarize.networks import segmentation
from diarize.networks.campplus import CAMPPlus, CAMPPlusShape
from diarize.networks.powerset import (
    FIRST_CENTRE,
    MIN_SAMPLES,
    NUM_SPEAKERS,
    POWERSET,
    RECEPTIVE_FIELD,
    STEP,
    num_frames,
)
from diarize.networks.segmentation import TILE, Segmentation, sinc_filters

RECORDINGS = ["callhome_sample", "ami_trn08", "ami_dev01"]


@pytest.fixture(scope="module")
def real(weights):
    return Segmentation.load(weights("segmentation-3.0"))


@pytest.mark.parametrize("name", RECORDINGS)
def test_values_are_those_of_the_original(name, real, data):
    original = np.load(data / "golden" / "segmentation3.npz")[name]
    samples = read_audio(data / "conversations" / f"{name}.flac")[:TILE]
    ours = real(torch.from_numpy(samples)[None])[0].numpy()
    assert ours.shape == original.shape == (589, 7)
    assert np.abs(ours - original).max() < 1e-4
    assert np.array_equal(ours.argmax(-1), original.argmax(-1))


def test_frames_lie_where_the_voices_are(real, sample_wav):
    """Speech within the sample's reference, moved by as little as 0.2 s it fits less well."""
    samples = read_audio(sample_wav)
    lines = [line.split() for line in sample_wav.with_suffix(".rttm").read_text().splitlines()]
    speech = np.zeros(len(samples), bool)
    for turn in lines:
        start = round(float(turn[3]) * 16000)
        speech[start : start + round(float(turn[4]) * 16000)] = True
    shifts = [-3200, 0, 3200]
    agreement = dict.fromkeys(shifts, 0.0)
    tiles = range(0, len(samples) - TILE + 1, TILE)
    for start in tiles:
        found = real(torch.from_numpy(samples[start : start + TILE])[None])[0].argmax(-1).numpy() > 0
        centres = start + FIRST_CENTRE + STEP * np.arange(len(found))
        for shift in shifts:
            there = np.clip(centres + shift, 0, len(samples) - 1)
            agreement[shift] += float((found == speech[there]).mean()) / len(tiles)
    assert agreement[0] > 0.9
    assert agreement[0] > max(agreement[-3200], agreement[3200]) + 0.02


def test_silence_is_nobody(real):
    values = real(torch.zeros(1, TILE))
    assert values.isfinite().all()
    assert (values.argmax(-1) == 0).all()


# A network with random weights, in a file like the published one, serves for the rest.


class Problem(Enum):
    MONO_LABEL = 1


class Resolution(Enum):
    FRAME = 1


class Specifications:
    def __init__(self):
        self.problem, self.resolution, self.duration = Problem.MONO_LABEL, Resolution.FRAME, 10.0


def described(network: Segmentation) -> dict[str, torch.Tensor]:
    """The state of a network as a checkpoint holds it: sinc filters by their frequencies."""
    state = dict(network.state_dict())
    del state["sincnet.conv1d.0.weight"]
    centre = 125
    at = {
        "low_hz_": torch.linspace(-30, 7000, 40)[:, None],
        "band_hz_": torch.linspace(2000, -50, 40)[:, None],
        "window_": torch.hamming_window(2 * centre + 1, periodic=False)[:centre],
        "n_": 2 * torch.pi * torch.arange(-centre, 0.0)[None] / 16000,
    }
    return state | {f"sincnet.conv1d.0.filterbank.{name}": value for name, value in at.items()}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A file that names the classes of pyannote.audio, which need not be installed."""
    torch.manual_seed(0)
    network = Segmentation().requires_grad_(False)
    for value in network.lstm.parameters():
        value.mul_(4)  # what comes out depends more on what goes in
    content = {
        "pytorch-lightning_version": "2.0.2",
        "state_dict": described(network),
        "pyannote.audio": {
            "versions": {"torch": torch.torch_version.TorchVersion("2.0.1+cu117")},
            "specifications": Specifications(),
        },
    }
    path = tmp_path_factory.mktemp("weights") / "small.bin"
    with pytest.MonkeyPatch.context() as patch:
        for name in ("pyannote.audio", "pyannote.audio.core", "pyannote.audio.core.task"):
            patch.setitem(sys.modules, name, types.ModuleType(name))
        for kind in (Problem, Resolution, Specifications):
            patch.setattr(kind, "__module__", "pyannote.audio.core.task")
            setattr(sys.modules["pyannote.audio.core.task"], kind.__name__, kind)
        torch.save(content, path)
    return path


@pytest.fixture(scope="module")
def network(checkpoint):
    return Segmentation.load(checkpoint)


def test_loading_executes_and_leaves_nothing(checkpoint):
    before = set(torch.serialization.get_safe_globals())
    named = torch.serialization.get_unsafe_globals_in_checkpoint(checkpoint)
    assert set(named) == set(segmentation.PLACEHOLDERS)
    network = Segmentation.load(str(checkpoint))
    assert set(torch.serialization.get_safe_globals()) == before
    assert "pyannote.audio" not in sys.modules
    assert not network.training
    assert not any(value.requires_grad for value in network.parameters())


def test_threads_may_load_at_once(checkpoint):
    gate = threading.Barrier(4)

    def load(_):
        gate.wait(30)
        return Segmentation.load(checkpoint)

    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(load, range(4)))) == 4


@pytest.mark.parametrize("num_samples", [MIN_SAMPLES, MIN_SAMPLES + STEP - 1, 16_000, 48_017, TILE])
def test_frames_are_as_many_as_said(network, num_samples):
    values = network(torch.randn(2, num_samples, generator=torch.Generator().manual_seed(0)))
    assert values.shape == (2, num_frames(num_samples), len(POWERSET))
    assert torch.allclose(values.exp().sum(-1), torch.ones(()), atol=1e-5)


def test_the_clock():
    assert num_frames(TILE) == 589
    assert [num_frames(count) for count in (0, 990, 991, 1260, 1261)] == [0, 0, 1, 1, 2]
    assert (STEP, RECEPTIVE_FIELD, FIRST_CENTRE, MIN_SAMPLES) == (270, 991, 495, 1261)


@pytest.mark.parametrize("frame", [0, 1, 10])
def test_the_convolutions_of_a_frame_reach_so_far(frame, network, monkeypatch):
    """With means for maxima and without norms, a frame depends on all that it hears and on no more."""
    monkeypatch.setattr(torch.nn.functional, "max_pool1d", torch.nn.functional.avg_pool1d)
    monkeypatch.setattr(torch.nn.InstanceNorm1d, "forward", lambda self, x: x)
    samples = torch.randn(1, 8000, requires_grad=True)
    network.sincnet(samples)[0, :, frame].sum().backward()
    heard = samples.grad[0].nonzero().flatten()
    assert (int(heard[0]), int(heard[-1])) == (frame * STEP, frame * STEP + RECEPTIVE_FIELD - 1)


def test_a_row_is_that_of_its_own_recording(network):
    rows = torch.randn(5, 20_000, generator=torch.Generator().manual_seed(1))
    rows[3] *= 1e-3
    together = network(rows)
    for i in range(5):
        assert torch.allclose(together[i], network(rows[i : i + 1])[0], atol=1e-5)
    assert (together[0] - together[1]).abs().max() > 0.03


def test_the_classes_are_all_sets_of_at_most_two_of_three():
    sets = [tuple(i for i in range(NUM_SPEAKERS) if row[i]) for row in POWERSET]
    assert sets == [(), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2)]


def test_sinc_filters_pass_their_band():
    centre, rate = 125, 16000
    low, band = torch.tensor([[-950.0], [2950.0]]), torch.tensor([[950.0], [-1950.0]])  # less 50 Hz each
    window = torch.hamming_window(2 * centre + 1, periodic=False)[:centre]
    angles = 2 * torch.pi * torch.arange(-centre, 0.0)[None] / rate
    filters = sinc_filters(low, band, window, angles)
    assert filters.shape == (4, 1, 2 * centre + 1)
    hz = np.fft.rfftfreq(4096, 1 / rate)
    for i, response in enumerate(filters[:, 0].numpy()):
        sign = 1 if i < 2 else -1
        assert np.allclose(response, sign * response[::-1], atol=1e-6)
        start, end = ((1000, 2000), (3000, 5000))[i % 2]
        gain = np.abs(np.fft.rfft(response, 4096)) * 2 * (end - start) / rate
        assert np.allclose(gain[(hz > start + 150) & (hz < end - 150)], 1, atol=0.01)
        assert gain[(hz < start - 150) | (hz > end + 150)].max() < 0.01


# What is refused.


def rewritten(checkpoint, cut: int) -> bytes:
    """A whole zip file, whose pickle breaks off."""
    made = io.BytesIO()
    with zipfile.ZipFile(checkpoint) as source, zipfile.ZipFile(made, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(name, content[:cut] if name.endswith("data.pkl") else content)
    return made.getvalue()


def test_what_is_no_checkpoint_is_refused(tmp_path, checkpoint):
    whole = checkpoint.read_bytes()
    broken = {
        "empty": b"",
        "text": b"not a checkpoint",
        "half": whole[: len(whole) // 2],
        "start": whole[:100],
        "pickle cut at once": rewritten(checkpoint, 2),
        "pickle cut": rewritten(checkpoint, 300),
    }
    for name, content in broken.items():
        path = tmp_path / f"{name}.bin"
        path.write_bytes(content)
        with pytest.raises(ModelError, match=rf"{name}\.bin: not a PyTorch checkpoint \(.+\)$"):
            Segmentation.load(path)
    with pytest.raises(ModelError, match="No such file"):
        Segmentation.load(tmp_path / "absent.bin")


def test_the_checkpoint_of_something_else_is_refused(tmp_path, network):
    state = described(network)
    cases = {
        "list": [1, 2],
        "tensor": torch.zeros(3),
        "nothing": {},
        "no state": {"state_dict": [1]},
        "names alone": {"state_dict": dict.fromkeys(state, "text")},
        "bare state": state,
        "empty state": {"state_dict": {}},
        "hole": {"state_dict": {k: v for k, v in state.items() if k != "classifier.bias"}},
        "one more": {"state_dict": state | {"more": torch.zeros(1)}},
        "four speakers": {"state_dict": state | {"classifier.weight": torch.zeros(11, 128)}},
        "other filters": {"state_dict": state | {"sincnet.conv1d.0.filterbank.n_": torch.zeros(1, 60)}},
        "CAM++": CAMPPlus(CAMPPlusShape(layers=(1, 1, 1), embedding_size=8)).state_dict(),
    }
    for name, content in cases.items():
        path = tmp_path / f"{name}.bin"
        torch.save(content, path)
        with pytest.raises(ModelError, match=r"not the checkpoint of a segmentation network \(.+\)$"):
            Segmentation.load(path)


class Payload:
    def __reduce__(self):
        return (pytest.fail, ("a checkpoint was executed",))


@pytest.mark.parametrize("key", ["state_dict", "pyannote.audio"])
def test_a_checkpoint_is_never_executed(tmp_path, network, key):
    torch.save({"state_dict": described(network), key: Payload()}, tmp_path / "evil.bin")
    with pytest.raises(ModelError, match=r"not a PyTorch checkpoint \(Unsupported global"):
        Segmentation.load(tmp_path / "evil.bin")
