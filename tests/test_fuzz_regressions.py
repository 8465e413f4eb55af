"""What fuzzing found (`benchmarks/fuzz`), each by its smallest input, and the kept corpus once through."""

from __future__ import annotations

import contextlib
import io
import json
import signal
import struct
import sys
import tracemalloc
import warnings
import zipfile
from collections.abc import Iterator

import numpy as np
import pytest
from conftest import ROOT

from diarize import AudioError, ConfigError, DiarizeError, FormatError, ModelError, Turn
from diarize._saving import TREE, unpack
from diarize._stream_state import SavedStream
from diarize.batch import read_manifest
from diarize.config import Config
from diarize.formats.elan import read_elan
from diarize.formats.registry import FORMATS, Recording, format_recordings, read_recordings
from diarize.formats.subtitles import Cue, format_srt, format_vtt, parse_srt, parse_vtt
from diarize.formats.trials import read_trials
from diarize.formats.uem import read_uem
from diarize.sources import open_pipe

FUZZ = ROOT / "benchmarks" / "fuzz"
sys.path.insert(0, str(FUZZ))
TARGETS = {}
if FUZZ.is_dir():  # in a checkout
    from seeds import seeds_of
    from targets import TARGETS


@pytest.mark.parametrize(
    "encoding", ["no-such-encoding", "utf-16-le", "rot13", "idna", "punycode", "undefined", "hex"]
)
def test_elan_of_an_encoding_that_xml_does_not_have(tmp_path, encoding):
    path = tmp_path / "a.eaf"
    path.write_text(f'<?xml version="1.0" encoding="{encoding}"?><ANNOTATION_DOCUMENT/>')
    with pytest.raises(FormatError, match=r"a\.eaf:1: must be XML"):
        read_elan(path)


@pytest.mark.parametrize("name", ["a" * 300 + ".wav", "a\0b.wav", "/" * 5000])
def test_trials_with_a_name_that_no_file_can_have(tmp_path, name):
    path = tmp_path / "trials.txt"
    path.write_text(f"target {name} b.wav\n")
    with pytest.raises(FormatError, match=r"trials\.txt:1: no such file"):
        read_trials(path)


@pytest.mark.parametrize(
    "text", ["x = " + "[" * 3000, "x = " + "9" * 5000, "a." * 3000 + "a = 1", "x = " + "{a=" * 3000]
)
def test_toml_that_python_cannot_hold(tmp_path, text):
    path = tmp_path / "a.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"a\.toml"):
        Config.load(path)


@pytest.mark.parametrize("name", ["~nobody-of-this-name/a.toml", "a" * 300, "a\0b"])
def test_a_configuration_whose_name_cannot_be(name):
    with pytest.raises(ConfigError, match="no configuration"):
        Config.load(name)


@pytest.mark.parametrize("name", [".", "..", "./", "a/..", "/"])
@pytest.mark.parametrize("ending", ["txt", "csv", "jsonl"])
def test_a_list_that_names_no_file(tmp_path, name, ending):
    lines = {"txt": name, "csv": f"audio\n{name}", "jsonl": json.dumps({"audio": name})}
    path = tmp_path / f"list.{ending}"
    path.write_text(lines[ending] + "\n")
    with pytest.raises(FormatError, match=rf"list\.{ending}:\d: must be the path of a recording, got "):
        read_manifest([path])


def test_a_list_of_names_that_no_file_system_has(tmp_path):
    path = tmp_path / "list.jsonl"
    for more in ({}, {"uri": "a"}):
        path.write_text(json.dumps({"audio": "\ud800.wav", **more}) + "\n")
        with pytest.raises(FormatError, match=r"list\.jsonl:1: must be the path of a recording, got "):
            read_manifest([path])


@pytest.mark.parametrize("line", ["9" * 5000, '{"audio": "a.wav", "channel": ' + "9" * 5000 + "}"])
def test_a_list_with_a_number_that_python_cannot_hold(tmp_path, line):
    path = tmp_path / "list.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(FormatError, match=r"list\.jsonl:1: not JSON"):
        read_manifest([path])
    table = tmp_path / "list.csv"
    table.write_text("audio,channel\na.wav," + "9" * 5000 + "\n")
    with pytest.raises(FormatError, match=r"list\.csv:2: channel must be a whole number"):
        read_manifest([table])


FAR = {
    "rttm": "SPEAKER a 1 1e306 1e306 <NA> <NA> A\n",
    "csv": "start,end,speaker\n1,1e306,A\n",
    "json": '{"schema": "diarize/1", "uri": "a", "turns": [{"start": 0, "end": 1e299, "speaker": "A"}]}',
    "jsonl": '{"start": 0, "end": 1e299, "speaker": "A"}\n',
    "seglst": '[{"session_id": "a", "speaker": "A", "start_time": 0, "end_time": "1e306"}]',
    "audacity": "0\t1e306\tA\n",
    "stm": "a 1 A 0 1e306\n",
    "textgrid": '"ooTextFile" "TextGrid" 0 1e306 <exists> 1 "IntervalTier" "A" 0 1 1 0 1e306 "x"',
}


@pytest.mark.parametrize("name", FAR)
def test_times_beyond_all_recordings_are_refused(tmp_path, name):
    """They are finite, and in milliseconds they were not."""
    path = tmp_path / "a"
    path.write_text(FAR[name])
    with pytest.raises(FormatError, match=r"1000000000 s|must be a number, got '1e306'"):
        read_recordings(path, name)
    for form in FORMATS:
        with pytest.raises(FormatError):
            format_recordings([Recording("a", (Turn(0.0, 1e306, "A"),), 1e306)], form)


@pytest.mark.parametrize("name", FORMATS)
def test_one_turn_twice_with_a_confidence_and_without(tmp_path, name):
    """Numbers and None have no order."""
    twice = (Turn(0.0, 1.0, "A", 0.5), Turn(0.0, 1.0, "A"), Turn(0.0, 1.0, "A", 0.25))
    path = tmp_path / "a"
    path.write_text(format_recordings([Recording("a", twice, 1.0)], name))
    if FORMATS[name].read:
        (again,) = read_recordings(path, name)
        assert {(turn.start, turn.end, turn.speaker) for turn in again.turns} == {(0.0, 1.0, "A")}


@pytest.mark.parametrize("arrow", ["-->", "--->", "------>", "- -->", "-->-->", "--\x00>", "--\n>"])
def test_no_text_of_a_cue_becomes_another_cue(arrow):
    """What is left of a longer arrow was an arrow again."""
    text = f"so\n00:00:05,000 {arrow} 00:00:06,000\nhe said"
    for cue in (Cue(0.0, 1.0, text), Cue(0.0, 1.0, "x", speaker=text)):
        assert len(parse_srt(format_srt([cue]))) == 1
        assert len(parse_vtt(format_vtt([cue]))) == 1


def test_parts_to_score_beyond_all_recordings_are_refused(tmp_path):
    path = tmp_path / "a.uem"
    path.write_text("a 1 0 1e306\n")
    with pytest.raises(FormatError, match=r"a\.uem:1: end must be at most 1000000000 s"):
        read_uem(path)
    for write in (format_srt, format_vtt):
        with pytest.raises(FormatError, match="times must be finite"):
            write([Cue(0.0, 1e306, "x")])


@contextlib.contextmanager
def within(limit_s: int) -> Iterator[None]:
    """Fail, rather than hang, where something takes longer."""

    def late(*_: object) -> None:
        raise TimeoutError(f"took more than {limit_s} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(limit_s)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def saved(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    "member",
    [
        header("{'descr': '|u1', 'fortran_order': False, 'shape': ("),
        header("{'descr': '|u1', 'fortran_order': False, 'shape': (" + "(" * 300),
        header("{'descr': '|u1', 'fortran_order': False, 'shape': (4000000000000,), }\n"),
        header("{'descr': '|u1', 'fortran_order': False, 'shape': (-1,), }\n"),
        header("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n") + bytes(8),
        npy(np.frombuffer(b"[" * 100_000, np.uint8)),
        npy(np.frombuffer(b"9" * 5000, np.uint8)),
    ],
)
def test_a_saved_stream_with_a_broken_member(member):
    with pytest.raises(FormatError, match="not a saved stream, or a damaged one"):
        unpack(SavedStream, saved({TREE: member}))


def test_a_saved_stream_takes_no_more_memory_than_its_bytes():
    """A member that unzips to a hundred times its size, and one that says it were."""
    bomb = saved({TREE: npy(np.full(50_000_000, 32, np.uint8))}, zipfile.ZIP_DEFLATED)
    assert len(bomb) < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="not a saved stream, or a damaged one"):
            unpack(SavedStream, bomb)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [1 << 20, 0x7FFFFFFF, 0xFFFFFFFE])
def test_a_wav_on_a_pipe_whose_header_never_ends(size):
    """It waited for ever for bytes that never came; where they do come, it held gigabytes of them."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 8000, 16000, 2, 16)
    data = b"RIFF\xd8\0\0\0WAVE" + form + b"fata" + struct.pack("<I", size) + bytes(1000)
    with within(10), pytest.raises(AudioError), open_pipe(io.BytesIO(data)) as source:
        list(source)


@pytest.mark.parametrize("network", ["campplus.CAMPPlus", "segmentation.Segmentation"])
@pytest.mark.parametrize("content", [b"", b"\x80", b"\x80\x02.", b"\x80\x02}.", b"PK\x05\x06" + bytes(18)])
def test_a_checkpoint_that_torch_refuses_without_a_word(tmp_path, network, content):
    import importlib

    module, _, name = network.partition(".")
    path = tmp_path / "a.bin"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"a\.bin: not a PyTorch checkpoint \(.+\)"):
        getattr(importlib.import_module(f"diarize.networks.{module}"), name).load(path)


def bomb(kind: str) -> dict[str, object]:
    """Tensors that say they are larger than the file, or that ask for a network that is."""
    import torch

    from diarize.networks.campplus import CAMPPlus, CAMPPlusShape

    with torch.device("meta"):
        network = CAMPPlus(CAMPPlusShape(embedding_size=10**9 if kind == "views" else 192))
    if kind == "views":
        return {name: torch.zeros(()).expand(one.shape) for name, one in network.state_dict().items()}
    state = {
        name: torch.zeros(1).expand(one.shape[:1]) for name, one in network.state_dict().items() if one.ndim
    }
    three = {name: state[name].reshape(-1, 1, 1) for name in state if name.endswith(".weight")}
    for layer in ("cam_layer.linear_local", "linear1"):
        three[f"xvector.block1.tdnnd1.{layer}.weight"] = torch.zeros(10**5, 1, 1)
    return {**state, **three}


@pytest.mark.parametrize("kind", ["views", "tall"])
def test_a_checkpoint_that_asks_for_more_memory_than_its_file(tmp_path, kind):
    """In a process that may have 3 GB more; a network of that size would take 40 GB and more."""
    import subprocess

    import torch

    path = tmp_path / "a.bin"
    torch.save(bomb(kind), path)
    assert path.stat().st_size < 3_000_000
    program = (
        "import resource, sys\n"
        "from diarize import ModelError; from diarize.networks.campplus import CAMPPlus\n"
        "taken = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize() + 3 * 2**30\n"
        "resource.setrlimit(resource.RLIMIT_AS, (taken, taken))\n"
        "try:\n    CAMPPlus.load(sys.argv[1])\nexcept ModelError as error:\n    print(error)\n"
        "peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "print(int(peak.split()[1]) // 1024)"  # ru_maxrss would be that of the process that started this one
    )
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
    said, peak_mb = done.stdout.splitlines()
    assert "not the checkpoint of a CAM++ network" in said
    assert "memory" not in said  # not even asked for
    assert int(peak_mb) < 1024


@pytest.mark.parametrize("network", ["campplus.CAMPPlus", "segmentation.Segmentation"])
def test_a_checkpoint_that_unpacks_to_more_is_not_unpacked(tmp_path, network):
    import importlib

    import torch

    plain, packed = tmp_path / "plain.bin", tmp_path / "packed.bin"
    torch.save({"a": torch.zeros(10_000_000)}, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    assert packed.stat().st_size < 100_000
    module, _, name = network.partition(".")
    with pytest.raises(ModelError, match="its members must not be compressed"):
        getattr(importlib.import_module(f"diarize.networks.{module}"), name).load(packed)


@pytest.mark.parametrize("target", TARGETS)
def test_the_kept_corpus(tmp_path, monkeypatch, target):
    """Every seed, and every input that reached something new: a result, or an error of ours."""
    path = FUZZ / "corpus" / f"{target}.zip"
    assert path.exists(), f"python benchmarks/fuzz/run.py {target} --keep makes it"
    with zipfile.ZipFile(path) as archive:
        inputs = [archive.read(name) for name in archive.namelist()]
    monkeypatch.chdir(tmp_path)
    warnings.simplefilter("ignore")
    assert inputs
    for data in [*seeds_of(target), *inputs]:
        file = tmp_path / "input"
        file.write_bytes(data)
        try:
            TARGETS[target](file)
        except DiarizeError as error:
            assert str(error)  # noqa: PT017 - many are good
