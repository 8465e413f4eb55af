"""The engines behind the embedder: the same rows, whatever computes them, and what of it is kept on disk."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from diarize import ConfigError, ModelError
from diarize.audio import read_audio
from diarize.engine import conversion, machine, open_engine, quantisation, unit
from diarize.engine.openvino import OpenVinoEngine
from diarize.engine.pytorch import TorchEngine
from diarize.networks.campplus import CAMPPlus, CAMPPlusShape
from diarize.stages.embedding import CAMPPlusEmbedder, pooled

GOLDEN = {"campplus-zh-cn": "zh-cn_16k-common", "campplus-zh-en": "zh_en_16k-common_advanced"}
BF16 = pytest.mark.skipif(not machine.has_bf16(), reason="this processor does not compute in bf16")
PRECISIONS = [("f32", 0.9999), pytest.param("bf16", 0.999, marks=BF16)]
DENSE_PRECISIONS = [*PRECISIONS, ("int8", 0.98)]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A small network with random weights: quick to convert, and the same graph as the real one."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "small.pt"
    torch.save(CAMPPlus(CAMPPlusShape(layers=(2, 2, 2), embedding_size=24)).state_dict(), path)
    return path


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """Graphs of the small network are kept apart from the user's; the real one's are in its cache."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        real = conversion.cache_dir
        patch.setattr(conversion, "cache_dir", lambda: real() if REAL.is_set() else folder)
        yield folder


REAL = threading.Event()


@pytest.fixture
def real_cache():
    REAL.set()
    yield
    REAL.clear()


def features(count: int, frames: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return list(rng.standard_normal((count, frames, 80)).astype(np.float32))


@pytest.mark.parametrize("name", GOLDEN)
@pytest.mark.parametrize(("precision", "least"), PRECISIONS)
def test_embeddings_are_those_of_the_original(name, precision, least, data, weights, real_cache):
    golden = np.load(data / "golden" / "campplus.npz")
    embedder = CAMPPlusEmbedder(open_engine(weights(name), engine="openvino", precision=precision))
    for key in [key for key in golden.files if key.startswith(GOLDEN[name])]:
        _, folder, file = key.split("/")
        samples = read_audio(data / "speakers" / "zh_campplus" / folder / file)
        assert float(embedder([samples])[0] @ unit(golden[key])) >= least, key


@pytest.mark.parametrize(("precision", "least"), DENSE_PRECISIONS)
def test_dense_rows_are_those_of_the_reference(precision, least, weights, sample_wav, real_cache):
    samples = read_audio(sample_wav)[7 * 16000 : 19 * 16000]  # speech
    spans = [(start, start + 19200) for start in range(0, 160_000, 12_800)]
    rows = [
        CAMPPlusEmbedder(engine).tile(samples, spans).result()
        for engine in (
            open_engine(weights("campplus-zh-en"), engine="torch", device="cpu"),
            open_engine(weights("campplus-zh-en"), engine="openvino", precision=precision),
        )
    ]
    assert (rows[0] * rows[1]).sum(1).min() >= least


@pytest.mark.parametrize("frames", [20, 53, 148, 200, 201, 390, 1234])
def test_both_engines_give_the_same_rows(checkpoint, frames):
    (one,) = features(1, frames)
    ours, reference = OpenVinoEngine(checkpoint), TorchEngine(checkpoint, device="cpu")
    assert np.allclose(ours.embed([one]), reference.embed([one]), atol=2e-4)
    maps = ours.frames(one)
    assert len(maps) == -(-frames // 2)
    assert np.allclose(maps, reference.frames(one), atol=2e-4)
    statistics = np.stack([pooled(maps, 0, frames * 160)])
    assert np.allclose(ours.project(statistics), reference.project(statistics), atol=2e-4)
    assert (ours.embedding_size, ours.feature_bins) == (24, 80)


@pytest.mark.parametrize("make", [OpenVinoEngine, lambda path, **kw: TorchEngine(path, device="cpu", **kw)])
def test_rows_do_not_depend_on_company_or_threads(checkpoint, make):
    inputs = [*features(5, 148), *features(3, 60, 1), *features(2, 333, 2), *features(4, 148, 3)]
    alone = [make(checkpoint, threads=1).embed([one])[0] for one in inputs]
    for threads in (1, 2, 3):
        engine = make(checkpoint, threads=threads)
        assert np.array_equal(engine.embed(inputs), np.stack(alone))
        maps = engine.frames(inputs[-1])
        again = list(ThreadPoolExecutor(4).map(engine.frames, [inputs[-1], inputs[8], inputs[-1]]))
        assert np.array_equal(again[0], maps)
        assert np.array_equal(again[2], maps)
        statistics = np.random.default_rng(0).random((7, 2 * maps.shape[1]), dtype=np.float32)
        rows = engine.project(statistics)
        assert np.array_equal(rows[3:5], engine.project(statistics[3:5]))


def test_many_threads_and_lengths_at_once(checkpoint):
    """Handing arrays of changing length over to OpenVINO from several threads hung it."""
    engine = OpenVinoEngine(checkpoint, threads=2)
    lengths = np.random.default_rng(0).integers(20, 400, 120).tolist()
    inputs = [features(1, n, n)[0] for n in lengths]
    expected = engine.embed(inputs)
    with ThreadPoolExecutor(6) as pool:
        rows = [pool.submit(engine.embed, [one]) for one in inputs]
        for row, right in zip(rows, expected, strict=True):
            assert np.array_equal(row.result(timeout=60)[0], right)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("anew", [False, True])
def test_a_forked_child_says_why_it_cannot_compute(checkpoint, cache, anew):
    """OpenVINO waits for ever in the child of a process that uses it."""
    code = f"""
import os, signal
import numpy as np
from diarize import DiarizeError
from diarize.engine.openvino import OpenVinoEngine
engine = OpenVinoEngine({str(checkpoint)!r}, threads=2)
child = os.fork()
if child == 0:
    signal.alarm(60)
    try:
        engine = OpenVinoEngine({str(checkpoint)!r}) if {anew} else engine
        engine.embed([np.zeros((60, 80), np.float32)])
    except DiarizeError as error:
        os._exit(0 if "'spawn'" in str(error) else 4)
    os._exit(3)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    environment = os.environ | {"DIARIZE_CACHE": str(cache)}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0


def test_pytorch_is_not_loaded_once_the_network_is_converted(weights, sample_wav):
    """It takes a second to load and half of the memory."""
    weights("campplus-zh-en")
    code = f"""
import sys
from diarize import Diarizer
diarizer = Diarizer(engine="openvino")
assert len(diarizer({str(sample_wav)!r})) > 3
diarizer.verify({str(sample_wav)!r}, {str(sample_wav)!r})
heavy = {{"torch", "torchaudio", "sklearn", "pandas"}} & set(sys.modules)
sys.exit(", ".join(heavy) or None)
"""
    for _ in range(2):  # the first may have to convert
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# The converted network on disk --------------------------------------------------------------------


def graphs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*.*") if path.suffix in (".xml", ".bin")}


def test_a_graph_is_converted_once(checkpoint, monkeypatch, tmp_path):
    monkeypatch.setattr(conversion, "cache_dir", lambda: tmp_path)
    told: list[str] = []
    first = OpenVinoEngine(checkpoint, note=told.append).embed(features(1, 60))
    assert len(told) == 2  # project, window
    assert all("small.pt" in line for line in told)
    monkeypatch.setattr(conversion, "convert", None)
    assert np.array_equal(OpenVinoEngine(checkpoint).embed(features(1, 60)), first)
    assert not [path for path in tmp_path.rglob(".*") if path.name != ".lock"]


@pytest.mark.parametrize("damage", ["cut", "other bytes", "no weights", "no note", "note of another"])
def test_a_damaged_graph_is_made_anew(checkpoint, monkeypatch, tmp_path, damage, caplog):
    monkeypatch.setattr(conversion, "cache_dir", lambda: tmp_path)
    first = OpenVinoEngine(checkpoint).embed(features(1, 60))
    (weights,) = tmp_path.rglob("window.bin")
    for made_of_it in tmp_path.rglob("window-*"):
        made_of_it.unlink()
    note = weights.with_suffix(".json")
    good = graphs(tmp_path)
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif damage == "other bytes":
        weights.write_bytes(bytes(len(weights.read_bytes())))
    elif damage == "no weights":
        weights.unlink()
    elif damage == "no note":
        note.unlink()
    else:
        note.write_text(json.dumps({"xml": "0" * 64}))
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(OpenVinoEngine(checkpoint).embed(features(1, 60)), first)
    assert ("damaged" in caplog.text) == (damage not in ("no weights", "no note"))
    assert graphs(tmp_path).keys() == good.keys()
    assert conversion.load(weights.parent, "window") is not None


def test_another_checkpoint_or_version_has_graphs_of_its_own(checkpoint, tmp_path, monkeypatch):
    torch.manual_seed(1)
    other = tmp_path / "other.pt"
    torch.save(CAMPPlus(CAMPPlusShape(layers=(2, 2, 2), embedding_size=24)).state_dict(), other)
    assert conversion.key(checkpoint, "dense") != conversion.key(other, "dense")
    before = conversion.key(checkpoint, "dense")
    assert conversion.key(checkpoint, "segmentation") != before
    changed = tmp_path / "changed.pt"
    changed.write_bytes(checkpoint.read_bytes())
    assert conversion.key(changed, "dense") == before
    changed.write_bytes(other.read_bytes())
    assert conversion.key(changed, "dense") == conversion.key(other, "dense")
    monkeypatch.setattr("openvino.__version__", "2031.7.0-1-x")
    assert conversion.key(checkpoint, "dense") != before


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs permissions that hold")
def test_a_cache_that_cannot_be_written_costs_time_only(checkpoint, monkeypatch, tmp_path):
    tmp_path.chmod(0o500)
    monkeypatch.setattr(conversion, "cache_dir", lambda: tmp_path)
    assert OpenVinoEngine(checkpoint).embed(features(1, 60)).shape == (1, 24)


def test_a_full_disk_costs_time_only(checkpoint, monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(conversion, "cache_dir", lambda: tmp_path)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(conversion, "store", full)
    assert OpenVinoEngine(checkpoint).embed(features(1, 60)).shape == (1, 24)
    assert "No space left on device" in caplog.text


def test_what_is_no_checkpoint_is_refused(tmp_path):
    (tmp_path / "text.pt").write_text("not a checkpoint")
    with pytest.raises(ModelError, match=r"text\.pt: not a PyTorch checkpoint"):
        open_engine(tmp_path / "text.pt", engine="openvino")


# Int8 ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small_dense(checkpoint):
    """The graph of the small dense network, not quantised."""
    return conversion.convert(checkpoint, "dense")


@pytest.fixture(scope="module")
def small_ranges(small_dense):
    """Ranges of the small network."""
    return quantisation.measured_ranges(small_dense, [features(1, 200)[0][None]])


@pytest.fixture
def int8(checkpoint, small_ranges, monkeypatch):
    """A function that opens the small network in int8, as if ranges had been measured for it."""
    monkeypatch.setattr(quantisation, "check", lambda path: None)
    monkeypatch.setattr(quantisation, "read_ranges", lambda: small_ranges)
    return lambda **options: OpenVinoEngine(checkpoint, precision="int8", **options)


def test_int8_rows_do_not_depend_on_company_or_threads(int8):
    (one,) = features(1, 333)
    alone = int8(threads=1).frames(one)
    for threads in (1, 2, 3):
        engine = int8(threads=threads)
        engine.frames(features(1, 60)[0])
        again = list(ThreadPoolExecutor(4).map(engine.frames, [one, features(1, 148, 3)[0], one]))
        assert np.array_equal(again[0], alone)
        assert np.array_equal(again[2], alone)


def test_int8_is_of_the_dense_network_alone(int8, checkpoint):
    quantised = int8()
    other = OpenVinoEngine(checkpoint, precision="bf16" if machine.has_bf16() else "f32")
    for frames in (148, 333):
        (one,) = features(1, frames)
        assert np.array_equal(quantised.embed([one]), other.embed([one]))
        ours, reference = quantised.frames(one), other.frames(one)
        assert not np.array_equal(ours, reference)
        assert np.corrcoef(ours.ravel(), reference.ravel())[0, 1] > 0.9
    assert quantised.precision == "int8"


def test_int8_computes_in_int8(int8):
    """Every convolution but the first; one that did not would be slow, not wrong."""
    engine = int8()
    engine.frames(features(1, 148)[0])
    graph = engine._programs["dense-int8"].compiled.get_runtime_model()
    kinds = [
        node.get_rt_info()["runtimePrecision"].value
        for node in graph.get_ops()
        if node.get_rt_info()["layerType"].value == "Convolution"
    ]
    assert len(kinds) == 40
    assert len([kind for kind in kinds if kind in ("i8", "u8")]) == len(kinds) - 1


def test_what_int8_compiles_to_is_kept(int8, monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(conversion, "cache_dir", lambda: tmp_path)
    (one,) = features(1, 148)
    first = int8().frames(one)
    (blob,) = tmp_path.rglob("*.blob")
    with monkeypatch.context() as patch:
        blob.with_name("dense-int8.json").unlink()
        patch.setattr(conversion, "convert", None)
        assert np.array_equal(int8(threads=3).frames(one), first)
    good = blob.read_bytes()
    for damaged in (good[:-1000], bytes(len(good)), b""):
        blob.write_bytes(damaged)
        caplog.clear()
        assert np.array_equal(int8().frames(one), first)
        assert "damaged" in caplog.text
        assert len(blob.read_bytes()) > 1000
    blob.write_bytes(b"another version's")
    blob.with_suffix(".json").write_text(json.dumps({"blob": conversion.file_sha256(blob)}))
    assert np.array_equal(int8().frames(one), first)
    assert "cannot be used" in caplog.text


def test_ranges_are_those_of_exactly_the_quantised_tensors(weights, real_cache):
    ranges = quantisation.read_ranges()
    tensors = quantisation.quantised_tensors(conversion.converted(weights("campplus-zh-en"), "dense"))
    assert {module: len(found) for module, found in tensors.items()} == {
        module: len(pairs) for module, pairs in ranges.items()
    }
    assert sum(map(len, ranges.values())) == 386
    for module, found in tensors.items():
        for tensor, (low, high) in zip(found, ranges[module], strict=True):
            never_negative = tensor.get_node().get_type_name() in ("Relu", "Sigmoid")
            assert (low == 0) == never_negative, module
            assert high > 0


@pytest.mark.parametrize("change", ["a module is missing", "a range is missing", "a module too many"])
def test_incomplete_ranges_are_an_error(small_dense, small_ranges, change):
    ranges = dict(small_ranges)
    if change == "a module is missing":
        del ranges["xvector.transit1.linear"]
    elif change == "a range is missing":
        ranges["head"] = ranges["head"][:1]
    else:
        ranges["head.layer3"] = [(0.0, 1.0)]
    with pytest.raises(ModelError, match=r"ranges for int8 are not .* 1 modules differ, the first is .+"):
        quantisation.quantise(small_dense, ranges)
    assert "FakeQuantize" not in {node.get_type_name() for node in small_dense.get_ops()}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not readable"),
        ('{"head": [[0, 1]', "not readable"),
        ("[1, 2]", "not readable"),
        ('{"head": 3}', "not readable"),
        ('{"head": [[0]]}', "not readable"),
        ('{"head": [[0, null]]}', "not readable"),
        ('{"head": [[0, NaN]]}', "head: a range must hold zero"),
        ('{"head": [[2, 1]]}', "head: a range must hold zero"),
    ],
)
def test_damaged_ranges_are_an_error(monkeypatch, tmp_path, weights, text, said):
    path = tmp_path / "ranges.json"
    path.write_text(text)
    monkeypatch.setattr(quantisation, "RANGES", path)
    with pytest.raises(ModelError, match=said):
        OpenVinoEngine(weights("campplus-zh-en"), precision="int8")


def test_int8_is_for_the_checkpoint_that_was_measured(checkpoint, weights):
    for path in (checkpoint, weights("campplus-zh-cn")):
        with pytest.raises(ConfigError, match="the only model whose ranges were measured; use 'bf16'"):
            open_engine(path, engine="openvino", precision="int8")
