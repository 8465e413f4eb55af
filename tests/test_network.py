"""CAM++ against the original implementation, and the engine's promises about its rows."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest
import torch

from diarize import ModelError
from diarize.audio import read_audio
from diarize.engine import open_engine, unit
from diarize.engine.pytorch import BATCH, TorchEngine, find_device, num_calls, take_call
from diarize.errors import ConfigError
from diarize.features import FRAME_LENGTH, FRAME_SHIFT, filterbank, log_mel, log_mel_moving, num_frames
from diarize.networks.campplus import (
    CAMPPlus,
    CAMPPlusShape,
    MovingContextMask,
    in_images,
    moving_context,
    segment_means,
)
from diarize.stages.embedding import CAMPPlusEmbedder

GOLDEN = {"campplus-zh-cn": "zh-cn_16k-common", "campplus-zh-en": "zh_en_16k-common_advanced"}


@pytest.fixture(scope="module")
def golden(data):
    return np.load(data / "golden" / "campplus.npz")


@pytest.mark.parametrize("name", GOLDEN)
def test_embeddings_are_those_of_the_original(name, golden, data, weights):
    embedder = CAMPPlusEmbedder(open_engine(weights(name), engine="torch", device="cpu"))
    keys = [key for key in golden.files if key.startswith(GOLDEN[name])]
    assert len(keys) >= 10
    for key in keys:
        _, folder, file = key.split("/")
        samples = read_audio(data / "speakers" / "zh_campplus" / folder / file)
        cosine = float(embedder([samples])[0] @ unit(golden[key]))
        assert cosine >= 0.9999, (key, cosine)


def test_the_model_cards_pairs(data, weights):
    embedder = CAMPPlusEmbedder(open_engine(weights("campplus-zh-cn"), engine="torch", device="cpu"))
    folder = data / "speakers" / "zh_campplus"
    files = ["3dspk_cn_speaker1/speaker1_a", "3dspk_cn_speaker1/speaker1_b", "3dspk_cn_speaker2/speaker2_a"]
    a, b, other = embedder([read_audio(folder / f"{file}_cn_16k.flac") for file in files])
    assert round(float(a @ b), 3) == 0.694
    assert round(float(a @ other), 3) == -0.084


def test_the_filterbank_is_the_originals(golden, data):
    (key,) = [key for key in golden.files if key.startswith("fbank/")]
    samples = read_audio(data / "speakers" / "zh_campplus" / key.removeprefix("fbank/"))
    ours, original = log_mel(samples)[: len(golden[key])], golden[key]
    offset = (ours - original).mean(0)  # the original's mean is over the whole file, or not removed
    off = np.abs(ours - original - offset)
    assert off.max() < 1e-3  # float32 itself: torchaudio's differs from its own float64 by 5e-4
    assert off.mean() < 2e-5


@pytest.mark.parametrize("bins", [40, 80])
def test_the_filterbank_is_torchaudios(bins, sample_wav):
    from torchaudio.compliance import kaldi

    noise = np.random.default_rng(0).standard_normal(50_003).astype(np.float32) * 0.05
    for samples in (read_audio(sample_wav), noise, np.zeros(8000, np.float32)):
        wave = torch.from_numpy(samples).unsqueeze(0)
        theirs = kaldi.fbank(wave, num_mel_bins=bins, sample_frequency=16000, dither=0.0).numpy()
        off = np.abs(filterbank(samples, bins) - theirs)
        assert off.max() < 1e-3
        assert off.mean() < 2e-5


def test_the_moving_mean_is_that_of_the_frames_around():
    samples = np.random.default_rng(1).standard_normal(16000 * 8).astype(np.float32) * 0.1
    plain, moving = filterbank(samples, 80), log_mel_moving(samples)
    for i in (0, 1, 149, 150, 151, 400, len(plain) - 151, len(plain) - 1):
        around = plain[max(0, i - 150) : i + 151]
        assert np.abs(moving[i] - (plain[i] - around.mean(0, dtype=np.float64))).max() < 1e-5
    short = samples[:8000]
    assert np.abs(log_mel_moving(short) - log_mel(short)).max() < 1e-5


def test_feature_frames_lie_inside_the_samples():
    rng = np.random.default_rng(0)
    for count in (
        0,
        FRAME_LENGTH - 1,
        FRAME_LENGTH,
        FRAME_LENGTH + FRAME_SHIFT - 1,
        FRAME_LENGTH + FRAME_SHIFT,
        16000,
    ):
        features = log_mel(rng.standard_normal(count).astype(np.float32) * 0.1)
        assert features.shape == (num_frames(count), 80)
        if len(features):
            assert np.abs(features.mean(0)).max() < 1e-4


# A small network with random weights serves the engine's laws as well as the large one.


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    network = CAMPPlus(CAMPPlusShape(layers=(2, 2, 2), embedding_size=24))
    path = tmp_path_factory.mktemp("weights") / "small.pt"
    torch.save(network.state_dict(), path)
    return path


def features(count: int, frames: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return list(rng.standard_normal((count, frames, 80)).astype(np.float32))


@pytest.mark.parametrize("frames", [53, 148, 200, 201, 390])
def test_a_row_does_not_depend_on_its_batch(checkpoint, frames):
    engine = TorchEngine(checkpoint, device="cpu", threads=2)
    inputs = features(11, frames)
    alone = np.stack([engine.embed([one])[0] for one in inputs])
    assert np.array_equal(engine.embed(inputs), alone)
    order = np.random.default_rng(1).permutation(11)
    assert np.array_equal(engine.embed([inputs[i] for i in order]), alone[order])
    mixed = features(7, 148, seed=3) + inputs + features(2, 60, seed=4)
    assert np.array_equal(engine.embed(mixed)[7:18], alone)


def test_the_real_network_too(weights):
    inputs = features(2 * BATCH + 1, 148)
    rows = [TorchEngine(weights("campplus-zh-en"), device="cpu", threads=n).embed(inputs) for n in (1, 2, 3)]
    assert np.array_equal(rows[0], rows[1])
    assert np.array_equal(rows[0], rows[2])
    engine = TorchEngine(weights("campplus-zh-en"), device="cpu")
    assert np.array_equal(np.stack([engine.embed([one])[0] for one in inputs]), rows[0])


def test_the_callers_number_of_threads_is_left_alone(checkpoint):
    before = torch.get_num_threads()
    rows = []
    for count in (1, 2):
        torch.set_num_threads(count)
        try:
            rows.append(TorchEngine(checkpoint, device="cpu", threads=2).embed(features(9, 148)))
            assert torch.get_num_threads() == count
        finally:
            torch.set_num_threads(before)
    assert np.array_equal(*rows)


def test_only_equal_lengths_share_a_call():
    lengths = [148, 60, 148, 148, 300, 148, 60, 148, 300]
    waiting = deque((np.zeros((n, 80), np.float32), Future()) for n in lengths)
    everything, calls = list(waiting), []
    while call := take_call(waiting):
        calls.append(call)
    assert sorted(id(f) for call in calls for _, f in call) == sorted(id(f) for _, f in everything)
    assert len(calls) == num_calls(lengths)
    for call in calls:
        assert len({len(features) for features, _ in call}) == 1
        assert len(call) <= (BATCH if len(call[0][0]) < 200 else 1)


def test_inputs_of_several_threads_share_calls_and_keep_their_rows(checkpoint):
    engine = TorchEngine(checkpoint, device="cpu", threads=1)
    inputs = features(12, 60)
    alone = np.stack([engine.embed([one])[0] for one in inputs])
    sizes, inner = [], engine._call
    gate = threading.Event()

    def call(taken):
        gate.wait(10)  # until every thread has handed its input over
        sizes.append(len(taken))
        return inner(taken)

    engine._call = call
    with ThreadPoolExecutor(12) as pool:
        futures = [pool.submit(engine.embed, [one]) for one in inputs]
        while sum(future.running() for future in futures) < 12 or len(engine._waiting) < 12 - BATCH:
            time.sleep(0.001)
        gate.set()
        rows = [future.result()[0] for future in futures]
    assert np.array_equal(np.stack(rows), alone)
    assert sum(sizes) == 12
    assert len(sizes) < 12


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_computes_too(checkpoint):
    """Threads do not survive a fork; a child that waited for its parent's would wait for ever."""
    code = f"""
import os, signal, numpy as np
from diarize.engine.pytorch import TorchEngine
engine = TorchEngine({str(checkpoint)!r}, device="cpu", threads=2)
inputs = [np.random.default_rng(k).normal(size=(60, 80)).astype(np.float32) for k in range(9)]
rows = engine.embed(inputs)
child = os.fork()
if child == 0:
    signal.alarm(60)
    os._exit(0 if np.array_equal(engine.embed(inputs), rows) else 3)
raise SystemExit(os.waitpid(child, 0)[1])
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_what_fails_in_a_shared_call_is_raised_to_the_caller(checkpoint):
    engine = TorchEngine(checkpoint, device="cpu")
    with pytest.raises(Exception, match=r"shape|size|broadcast"):
        engine.embed([np.zeros((60, 7), np.float32)])
    assert engine.embed(features(1, 60)).shape == (1, engine.embedding_size)


def test_the_sizes_are_read_off_the_file(tmp_path):
    shape = CAMPPlusShape(init_channels=64, growth=16, bottleneck=64, layers=(2, 3, 2), embedding_size=512)
    torch.save(CAMPPlus(shape).state_dict(), tmp_path / "other.bin")
    assert CAMPPlus.load(tmp_path / "other.bin").shape == shape
    assert TorchEngine(tmp_path / "other.bin", device="cpu").embed(features(1, 100)).shape == (1, 512)


def test_what_is_no_checkpoint_is_refused(tmp_path, checkpoint):
    (tmp_path / "text.pt").write_text("not a checkpoint")
    with pytest.raises(ModelError, match=r"text\.pt: not a PyTorch checkpoint"):
        CAMPPlus.load(tmp_path / "text.pt")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(ModelError, match="not the checkpoint of a CAM"):
        CAMPPlus.load(tmp_path / "other.pt")
    state = torch.load(checkpoint, weights_only=True)
    del state["xvector.block2.tdnnd1.linear1.weight"]
    torch.save(state, tmp_path / "hole.pt")
    with pytest.raises(ModelError, match="not the checkpoint of a CAM"):
        CAMPPlus.load(tmp_path / "hole.pt")


class Payload:
    def __reduce__(self):
        return (pytest.fail, ("a checkpoint was executed",))


def test_a_checkpoint_is_never_executed(tmp_path):
    torch.save({"head.conv1.weight": Payload()}, tmp_path / "evil.pt")
    with pytest.raises(ModelError, match="not a PyTorch checkpoint"):
        CAMPPlus.load(tmp_path / "evil.pt")


@pytest.mark.parametrize(
    "name", ["tpu", "mps:9", "cuda" if not torch.cuda.is_available() else "meta", "no device"]
)
def test_a_device_that_is_not_here_is_said(name):
    with pytest.raises(ConfigError, match="device"):
        find_device(name)


@pytest.mark.parametrize("frames", [1, 99, 100, 101, 250, 300])
def test_segment_means_are_the_means_of_segments(frames):
    x = torch.randn(2, 3, frames, generator=torch.Generator().manual_seed(0))
    means = segment_means(x)
    assert means.shape == x.shape
    for first in range(0, frames, 100):
        part = x[..., first : first + 100]
        expected = part.mean(-1, keepdim=True).expand_as(part)
        assert torch.allclose(means[..., first : first + 100], expected, atol=1e-6)


def test_moving_context_is_twice_the_mean_of_a_second():
    x = torch.randn(1, 2, 1, 120, generator=torch.Generator().manual_seed(0))
    context = moving_context(x)
    for i in (0, 10, 25, 26, 60, 119):
        assert torch.allclose(context[..., i], 2 * x[..., max(0, i - 25) : i + 26].mean(-1), atol=1e-6)


def test_the_dense_network_shares_the_weights(checkpoint):
    network = CAMPPlus.load(checkpoint)
    dense = network.dense()
    pairs = zip(network.parameters(), dense.parameters(), strict=True)
    assert all(one.data_ptr() == other.data_ptr() for one, other in pairs)
    x = torch.randn(1, 40, 80)  # 20 strided frames: each one's second is all there is
    maps = dense.frames(x)
    assert maps.shape == (1, 20, network.num_statistics // 2)
    assert torch.allclose(maps, network.frames(x), atol=1e-4)


@pytest.mark.parametrize("frames", [1, 30, 51, 200])
def test_the_moving_mask_is_the_projection_of_the_moving_mean(frames):
    mask = in_images(MovingContextMask(16, 4, dilation=2))
    x = torch.randn(2, 16, 1, frames)
    expected = mask.linear1(moving_context(x))
    assert torch.allclose(mask.surroundings(x), expected, atol=1e-5)
    assert expected.std() > 0.01
