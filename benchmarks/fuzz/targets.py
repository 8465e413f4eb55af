"""What is fuzzed: one function a reader, of the path of a file with the bytes in it.

A function returns, or raises a `DiarizeError`; anything else is a finding. What was read is used as well:
turns and words are written in another format and read back, a recording is decoded for a while.
"""

from __future__ import annotations

import io
import itertools
import os
import sys
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

from diarize.errors import DiarizeError, FormatError

HEARD_S = 20.0
"""Seconds of a recording that are decoded; the reader gives it piece by piece, and whoever asks may stop."""

SEPARATOR = b"\n--8<--\n"
"""Between the parts of a saved stream or a checkpoint, which are put together to a zip file."""


def turns(name: str) -> Callable[[Path], None]:
    """Reading turns of one format, writing them in another, and reading that."""

    def read(path: Path) -> None:
        from diarize.formats.registry import FORMATS, format_recordings, read_recordings
        from diarize.formats.rows import rows_of

        found = read_recordings(path, name)
        forms = [form for form in FORMATS.values() if form.read]
        form = forms[zlib.crc32(path.read_bytes()) % len(forms)]
        written = path.with_name("again")
        for some in [found] if form.many else [[recording] for recording in found]:
            written.write_bytes(format_recordings(some, form.name).encode())
            again = read_recordings(written, form.name)
            if form.name not in ("textgrid", "elan", "json", "jsonl"):  # tiers join turns; JSON keeps all
                rows = sum(len(rows_of(recording)) for recording in some)
                if (kept := sum(len(recording.turns) for recording in again)) != rows:
                    raise AssertionError(f"{rows} turns became {kept} in {form.name}")

    return read


def rttm(path: Path) -> None:
    from diarize.formats.rttm import read_rttm
    from diarize.scoring import score

    found = list(read_rttm(path).values())
    if found and len(found[0]) < 50 and zlib.crc32(path.read_bytes()) % 8 == 0:  # slower than all the rest
        score(found[0], found[-1])
    turns("rttm")(path)


def uem(path: Path) -> None:
    from diarize.formats.uem import format_uem, read_uem

    written = path.with_name("again")
    written.write_text(format_uem(read_uem(path)), encoding="utf-8")
    read_uem(written)


def subtitles(path: Path) -> None:
    from diarize.formats.subtitles import format_srt, format_vtt, parse_srt, parse_vtt

    text = path.read_bytes().decode(errors="replace")
    for parse in (parse_srt, parse_vtt):
        try:
            cues = parse(text)
        except FormatError:
            continue
        for write, again in ((format_srt, parse_srt), (format_vtt, parse_vtt)):
            if len(again(write(cues))) != len(cues):
                raise AssertionError("a cue was lost")


def transcripts(path: Path) -> None:
    from diarize.formats.transcripts import FORMS, read_transcript
    from diarize.formats.words import WRITERS

    forms = [None, *FORMS]
    found = read_transcript(path, forms[zlib.crc32(path.read_bytes()) % (2 * len(forms)) % len(forms)])
    written = path.with_name("again")
    for name, write in WRITERS.items():
        written.write_bytes(write(found.words, "talk").encode(errors="replace"))
        if name == "json" and len(read_transcript(written).words) != len(found.words):
            raise AssertionError("a word was lost")


def words(path: Path) -> None:
    """A transcript whose words are given speakers."""
    from diarize.formats.transcripts import read_transcript
    from diarize.result import Turn
    from diarize.words import assign

    who = [Turn(0.0, 1.0, "A"), Turn(0.5, 2.0, "B"), Turn(3.0, 1000.0, "A")]
    found = read_transcript(path)
    if len(assign(found.words, who)) != len(found.words):
        raise AssertionError("a word was lost")


def trials(path: Path) -> None:
    from diarize.formats.trials import read_trials

    read_trials(path)


def config(path: Path) -> None:
    import tomllib

    from diarize.config import Config

    found = Config.load(path)
    if Config.from_dict(tomllib.loads(found.to_toml())) != found:
        raise AssertionError("a configuration changed on its way through TOML")


def manifest(ending: str) -> Callable[[Path], None]:
    """A list of recordings; names must be unique and stay below a folder."""

    def read(path: Path) -> None:
        from diarize.batch.manifest import read_manifest

        named = path.with_name(f"list.{ending}")
        os.replace(path, named)
        folder = os.path.abspath("results")
        found = read_manifest([named])
        if any(recording.pipe for recording in found):
            raise AssertionError("a command was accepted unasked")
        if len({recording.uri for recording in found}) != len(found):
            raise AssertionError("two recordings of one name")
        for recording in found:
            if not os.path.abspath(os.path.join(folder, f"{recording.uri}.rttm")).startswith(folder + os.sep):
                raise AssertionError(f"{recording.uri!r} leaves the folder")

    return read


def audio(path: Path) -> None:
    import numpy as np

    from diarize.audio import stream_audio

    heard = 0
    for piece in stream_audio(path):
        if piece.dtype != np.float32 or piece.ndim != 1 or not np.isfinite(piece).all():
            raise AssertionError("samples that are none")
        heard += len(piece)
        if heard > HEARD_S * 16_000:
            return


def pipe(path: Path) -> None:
    """The same bytes on a pipe: raw sound, a WAV of unknown length, or a container."""
    import numpy as np

    from diarize._pcm import FORMATS, looks_like_a_file
    from diarize.sources import open_pipe

    data = path.read_bytes()
    number = zlib.crc32(data)
    raw = {"sample_rate": 16_000, "format": FORMATS[number % len(FORMATS)], "channels": number // 97 % 3 + 1}
    with open_pipe(io.BytesIO(data), **({} if looks_like_a_file(data)[1] else raw)) as source:
        heard = 0.0
        for samples, _ in source:
            if samples.dtype != np.float32 or samples.ndim != 1:
                raise AssertionError("samples that are none")
            heard += len(samples) / source.sample_rate
            if heard > HEARD_S:
                return


@cache
def fakes() -> tuple[object, ...]:
    """A diarizer with the networks of the tests: exact and quick."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
    from fakes import ExactEmbedder, FakeVad

    from diarize import Diarizer

    return (Diarizer(embedder=ExactEmbedder(), vad=FakeVad()),)


def saved(path: Path) -> None:
    """A saved stream."""
    (diarizer,) = fakes()
    diarizer.stream(state=archive(path.read_bytes()))  # type: ignore[attr-defined]


def kept(path: Path) -> None:
    """A kept result: what it says, and that it can be corrected."""
    from diarize.corrections import merge
    from diarize.kept import Kept

    path.write_bytes(archive(path.read_bytes()))
    found = Kept.load(path)
    result = found.result()
    if len(result.speakers) > 1:
        merge(found, *list(result.speakers)[:2]).result()
    found.save(path)
    if Kept.load(path).result() != result:
        raise AssertionError("a kept result changed on its way through a file")


def voice(path: Path) -> None:
    from diarize.voiceprints import Voiceprint

    found = Voiceprint.load(path)
    again = path.with_name("again.voice")
    found.save(again)
    if Voiceprint.load(again).voice.total.tolist() != found.voice.total.tolist():
        raise AssertionError("a voice changed on its way through a file")


def archive(data: bytes) -> bytes:
    """Bytes as they are, or an archive put together from its parts, so that its sums are right."""
    import numpy as np

    if data.startswith(b"PK"):
        return data
    tree, *arrays = data.split(SEPARATOR)
    return joined({"tree.npy": npy(np.frombuffer(tree, np.uint8))} | named(arrays))


def checkpoint(path: Path) -> None:
    """A checkpoint of either network: as it is, or the pickle in it put into an archive of its own."""
    from diarize.networks.campplus import CAMPPlus
    from diarize.networks.segmentation import Segmentation

    data = path.read_bytes()
    if data.startswith(b"\x80\x02"):
        pickled, _, storage = data.partition(SEPARATOR)
        members = {"a/data.pkl": pickled, "a/version": b"3\n", "a/byteorder": b"little", "a/data/0": storage}
        path.write_bytes(joined(members))
    refused = []
    for network in (CAMPPlus, Segmentation):
        try:
            network.load(path)
        except DiarizeError as error:
            refused.append(error)
    if refused:
        raise refused[0]


def joined(members: dict[str, bytes]) -> bytes:
    """A zip file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def npy(array: object) -> bytes:
    import numpy as np

    file = io.BytesIO()
    np.save(file, array)  # type: ignore[arg-type]
    return file.getvalue()


def named(arrays: list[bytes]) -> dict[str, bytes]:
    return {f"{number}.npy": content for number, content in zip(itertools.count(), arrays, strict=False)}


TARGETS: dict[str, Callable[[Path], None]] = {
    "rttm": rttm,
    "uem": uem,
    **{
        name: turns(name)
        for name in ("json", "jsonl", "csv", "srt", "vtt", "textgrid", "elan", "audacity", "stm", "seglst")
    },
    "subtitles": subtitles,
    "transcripts": transcripts,
    "words": words,
    "trials": trials,
    "config": config,
    **{f"list-{ending}": manifest(ending) for ending in ("txt", "scp", "csv", "jsonl")},
    "voice": voice,
    "saved": saved,
    "kept": kept,
    "audio": audio,
    "pipe": pipe,
    "checkpoint": checkpoint,
}
