"""What fuzzing begins with: small good inputs of every reader, and near misses, made here and now."""

from __future__ import annotations

import io
import json
import struct
import wave
import zipfile
from collections.abc import Iterator

import numpy as np
from targets import SEPARATOR, fakes, npy

Seeds = list[bytes]

BINARY = ("audio", "pipe", "saved", "kept", "checkpoint")

CONTAINERS = (
    ("wav", "pcm_s16le"), ("wav", "pcm_f32le"), ("wav", "adpcm_ms"), ("w64", "pcm_s24le"),
    ("aiff", "pcm_s16be"), ("au", "pcm_mulaw"), ("caf", "alac"), ("flac", "flac"), ("ogg", "libvorbis"),
    ("ogg", "libopus"), ("ogg", "flac"), ("mp3", "libmp3lame"), ("mp4", "aac"), ("mp4", "alac"),
    ("mov", "pcm_s16le"),
    ("matroska", "libopus"), ("webm", "libvorbis"), ("adts", "aac"), ("mpegts", "mp2"), ("avi", "pcm_s16le"),
    ("asf", "wmav2"), ("amr", "libopencore_amrnb"), ("tta", "tta"), ("wv", "wavpack"), ("ac3", "ac3"),
    ("voc", "pcm_u8"), ("flv", "libmp3lame"), ("nut", "pcm_s16le"), ("mxf", "pcm_s16le"), ("dv", "pcm_s16le"),
)  # fmt: skip
"""What can be written here; those that this PyAV cannot write are left out."""


def turn_files() -> dict[str, Seeds]:
    """Each format as it is written here, of a few turns with difficult names and of none."""
    from diarize.formats.registry import FORMATS, Recording, format_recordings
    from diarize.result import Turn

    some = (
        Turn(0.0, 1.5, "Anna", 0.98),
        Turn(1.25, 2.0, 'Li "x" Lei, <&>', None),
        Turn(1.5, 2.0, "Anna", 0.5),
        Turn(3600.0, 3601.0625, "名 前", 1.0),
    )
    found: dict[str, Seeds] = {}
    for name in FORMATS:
        recordings = [Recording("talk", turns, 4000.0) for turns in (some, ())]
        found[name] = [format_recordings([recording], name).encode() for recording in recordings]
    found["rttm"] += [
        b"SPKR-INFO talk 1 <NA> <NA> <NA> unknown Anna <NA>\n;; said\nSPEAKER talk 2 .5 1e1 <NA> <NA> A\n"
    ]
    found["uem"] += [b"a 1 0 10\na 1 5 12.5\n;; x\nb 1 0.1 1e3\n"]
    found["csv"] += [
        b"start;duration;speaker\n0;1.5;A\n1;2;B\n",
        b'uri,start,end,speaker\n"a\nb",0,1,"x""y"\n',
    ]
    found["jsonl"] += [
        b'{"start":0,"end":1,"speaker":"A","final":false}\n{"start":0,"end":1,"speaker":"A"}\n'
    ]
    found["srt"] += [
        b"1\n00:00:00,000 --> 00:00:01,000\n[A]: <i>hi</i>\n\n2\n0:01.5 --> 00:00:02.0 X1:1\n{\\an8}b\n"
    ]
    found["vtt"] += [
        b"WEBVTT - x\n\nNOTE n\n\nid\n00:00.000 --> 00:01.000 line:0\n<v.loud A>a&amp;b<00:00.5>c</v>\n"
    ]
    short = (
        b'"ooTextFile"\n"TextGrid"\n0\n2\n<exists>\n2\n"IntervalTier"\n"A"\n0\n2\n2\n0\n1\n"x"\n1\n2\n""\n'
    )
    found["textgrid"] += [
        short + b'"TextTier"\n"p"\n0\n2\n1\n1\n"y"\n',
        found["textgrid"][0].decode().encode("utf-16"),
    ]
    found["elan"] += [
        b'<ANNOTATION_DOCUMENT><TIME_ORDER><TIME_SLOT TIME_SLOT_ID="a" TIME_VALUE="1"/><TIME_SLOT '
        b'TIME_SLOT_ID="b" TIME_VALUE="9"/></TIME_ORDER><TIER TIER_ID="A"><ANNOTATION><ALIGNABLE_ANNOTATION '
        b'TIME_SLOT_REF1="a" TIME_SLOT_REF2="b"/></ANNOTATION></TIER></ANNOTATION_DOCUMENT>'
    ]
    found["audacity"] += [b"0.5\t1.5\tA\n\\\t100\t200\n2\t2\tmark\n"]
    found["stm"] += [b"a 1 A 0 1 <o,f0> said this\na 1 inter_segment_gap 1 2\n"]
    found["seglst"] += [b'[{"session_id":1,"speaker":2,"start_time":"0.5","end_time":"1","words":"x"}]']
    found["json"] += found["seglst"]
    return found


def transcripts() -> Seeds:
    """One of each recogniser."""
    said = [
        {"word": " Hello,", "start": 0.0, "end": 0.5, "probability": 0.9},
        {"word": " you.", "start": 0.6, "end": 1.2},
    ]
    whisper = {"text": "x", "segments": [{"start": 0.0, "end": 1.2, "text": " Hello, you.", "words": said}]}
    documents = [
        whisper,
        whisper["segments"],
        {"words": said, "segments": [{"start": 0, "end": 1.2, "text": "a b"}]},
        {"segments": [{"start": 1.0, "end": 4.0, "text": "It 42", "words": [
            {"word": "It"}, {"word": "42", "score": 1}]}]},
        {"segments": [{"start": 0, "end": 2, "text": "你", "words": [[0, 1, "你", 0.5], [1, 2, "好"]]}]},
        {"transcription": [{"offsets": {"from": 0, "to": 900}, "text": " And so", "tokens": [
            {"text": "[_BEG_]", "offsets": {"from": 0, "to": 0}, "p": 0.9},
            {"text": " And", "offsets": {"from": 10, "to": 500}, "p": 0.9},
            {"text": "so", "offsets": {"from": 500, "to": 900}, "p": 0.1}]}]},
        [{"text": "<|zh|>你好 you", "timestamp": [[0, 500], [500, 900], [900, 1500]]}],
        {"sentence_info": [{"text": "你好。", "timestamp": [[0, 500]], "start": 0, "end": 900}]},
        {"schema": "diarize.words/1", "words": [
            {"start": 0, "end": 1, "text": "a", "score": None, "last": True}]},
    ]  # fmt: skip
    lines = [
        b"talk 1 0.5 0.25 hello 0.9 lex A\ntalk 1 0.9 0.1 you NA\n;; x\n",
        b"1\n00:00:00,000 --> 00:00:01,000\n[Ann]: Shall we begin?\n",
        b"WEBVTT\n\n00:00.000 --> 00:01.000\n<v Ann>Shall &lt; we</v>\n",
    ]
    return [json.dumps(one, ensure_ascii=False).encode() for one in documents] + lines


def lists() -> dict[str, Seeds]:
    """Lists of recordings."""
    return {
        "list-txt": [b"a.wav\n# x\nb/c.flac\n../d.mp3\n/e f.wav\n", b"a.wav\na.mp3\nA.wav\nx/a.wav\n"],
        "list-scp": [b"one a.wav\ntwo\tb c.wav\nd/three sox a.wav -t wav - |\n", b"one a.ark:12\ntwo -\n"],
        "list-csv": [b"audio,uri,channel,num_speakers\na.wav,,0,2\nb.wav,x/y,,\n", b'audio\n"a,b.wav"\n..\n'],
        "list-jsonl": [
            b'{"audio": "a.wav", "min_speakers": 1, "max_speakers": 3}\n{"audio": "b.wav", "uri": null}\n',
            b'{"audio": "\\ud800.wav", "channel": "1"}\n{"audio": "../../x", "uri": "..a"}\n',
        ],
    }


def recordings() -> Iterator[bytes]:
    """A fifth of a second in every container and codec that can be written, and a few headers."""
    import av

    sound = (np.sin(np.arange(3200) / 8) * 8000).astype(np.int16)
    for container, codec in CONTAINERS:
        file = io.BytesIO()
        rate = 8000 if container == "amr" else 48000 if codec == "libopus" or container == "dv" else 16000
        try:
            with av.open(file, "w", format=container) as out:
                stream = out.add_stream(codec, rate=rate, layout="mono")
                frame = av.AudioFrame.from_ndarray(sound[None], format="s16", layout="mono")
                frame.sample_rate = rate
                resampler = av.AudioResampler(stream.format, stream.layout, rate, stream.frame_size or None)
                for part in [*resampler.resample(frame), *resampler.resample(None)]:
                    out.mux(stream.encode(part))
                out.mux(stream.encode(None))
        except (av.FFmpegError, ValueError, LookupError):
            continue
        yield file.getvalue()
    for width, channels, rate in ((1, 1, 1000), (2, 2, 44100), (3, 3, 8000), (4, 64, 768000)):
        file = io.BytesIO()
        with wave.open(file, "wb") as out:
            out.setnchannels(channels)
            out.setsampwidth(width)
            out.setframerate(rate)
            out.writeframes(bytes(width * channels * 20))
        yield file.getvalue()
    yield (
        b"RIFF"
        + struct.pack("<I", 0xFFFFFFFF)
        + b"WAVEfmt "
        + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
    )
    yield b"#EXTM3U\n/etc/passwd\n"
    yield b"ffconcat version 1.0\nfile a.wav\n"


def streams() -> Seeds:
    """Saved streams, whole and in their parts."""
    (diarizer,) = fakes()  # it finds the folder of the next line
    from fakes import speech

    found: Seeds = []
    for options in ({}, {"latency_s": 1.0}, {"latency_s": 0.5, "sample_rate": 8000, "max_speakers": 2}):
        with diarizer.stream(**options) as stream:  # type: ignore[attr-defined]
            stream.push(speech(0.2, 1.1, np.random.default_rng(0)))
            found += both(stream.state())
    return found


def results() -> Seeds:
    """Kept results, whole and in their parts."""
    (diarizer,) = fakes()  # it finds the folder of the next line
    from fakes import conversation

    samples = conversation(3, turns=4)
    asked = ({}, {"num_speakers": 2})
    made = [diarizer(samples, sample_rate=16_000, **options) for options in asked]  # type: ignore[operator]
    return [one for result in made for one in both(result.kept.to_bytes())]


def both(data: bytes) -> Seeds:
    """A saved archive, and its parts."""
    with np.load(io.BytesIO(data)) as file:
        arrays = [npy(file[str(number)]) for number in range(len(file.files) - 1)]
        return [data, SEPARATOR.join([file["tree"].tobytes(), *arrays])]


def voices() -> Seeds:
    """A voiceprint."""
    fields = {
        "format": "diarize voice/1", "name": "Alice", "model": "campplus-zh-en", "sha256": "92f2",
        "embedding_size": 3, "length_s": 1.5, "step_s": 0.25, "seconds": 12.4, "windows": 44,
        "total": [-0.75, 1, 3e-5],
    }  # fmt: skip
    return [json.dumps(fields).encode()]


def checkpoints() -> Seeds:
    """Small ones of both kinds of archive, and one that would run code."""
    import torch

    state = {"head.conv1.weight": torch.zeros(2, 1, 3, 3), "xvector.dense.linear.weight": torch.ones(4, 2, 1)}
    found = []
    for content in (state, {"state_dict": state}, [1, "a", None]):
        for zipped in (True, False):
            file = io.BytesIO()
            torch.save(content, file, _use_new_zipfile_serialization=zipped)
            found.append(file.getvalue())
        with zipfile.ZipFile(io.BytesIO(found[-2])) as archive:
            names = {name.partition("/")[2]: name for name in archive.namelist()}
            parts = [archive.read(names[name]) for name in ("data.pkl", "data/0") if name in names]
            found.append(SEPARATOR.join(parts))
    return [*found, b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00trueq\x00\x85R."]


def seeds_of(target: str) -> Seeds:
    """The seeds of a target: good ones, and some that nobody meant well."""
    deep = [mark * 1500 for mark in (b"[", b'{"a":', b"<a>", b"a.")]
    many = [b"9" * 5000, b"a = " + b"9" * 5000 + b"\n", b"x = " + deep[0]]
    return _good(target) + (deep + many if target not in BINARY else [])


def _good(target: str) -> Seeds:
    from diarize.config import Config, shipped

    if target in lists():
        return lists()[target]
    if target == "subtitles":
        return [*turn_files()["srt"], *turn_files()["vtt"]]
    if target in ("transcripts", "words"):
        return transcripts()
    if target == "trials":
        return [b"target /dev/null ./a.wav\n", b"0 a.wav b.wav\n# x\n", b"a.wav b.wav nontarget\n"]
    if target == "config":
        files = [path.read_bytes() for path in shipped().values()]
        return [
            Config().to_toml().encode(),
            *files,
            b'model = "x"\n[vad]\nonset = 1\n[clustering]\nnum_speakers = 2\n',
        ]
    if target in ("audio", "pipe"):
        return list(recordings())
    if target == "saved":
        return streams()
    if target == "kept":
        return results()
    if target == "voice":
        return voices()
    if target == "checkpoint":
        return checkpoints()
    return turn_files()[target]
