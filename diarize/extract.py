"""What each speaker said, as sound, and how long: one pass over the recording, in bounded memory.

extract("meeting.wav", meeting.turns, "voices")     voices/meeting_SPEAKER_00.wav, ...
talk_time(meeting.turns)                            seconds, share, turns, ... of each speaker
"""

from __future__ import annotations

import logging
import os
import secrets
import unicodedata
import wave
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from diarize.errors import AudioError, ConfigError
from diarize.formats import distinct
from diarize.formats.rows import Recording, checked_turns

if TYPE_CHECKING:
    from diarize._reader import File
    from diarize.formats.rows import SpeakerTurn
    from diarize.resampling import Samples

logger = logging.getLogger("diarize")

Progress = Callable[[float, float | None], object]
"""Called with the seconds that are done, and those there are, if they are known."""

LATE_S = 0.1
"""Turns may end this much after the sound without a warning."""

_MOST_SAMPLES = (2**32 - 100) // 2  # of 16 bits, in a WAV file: its sizes have 32 bits
_MOST_BYTES = 100  # of a speaker's or recording's name in a file's


@dataclass(frozen=True, slots=True)
class TalkTime:
    """How long a speaker spoke.

    seconds : in which this speaker speaks; those of turns that overlap count once
    share : of the speaking time of all speakers, in [0, 1]; the shares sum to 1
    turns : how many
    longest : seconds of the longest turn
    overlapped : of the seconds, those in which someone else speaks as well
    """

    speaker: str
    seconds: float
    share: float
    turns: int
    longest: float
    overlapped: float


def talk_time(turns: Iterable[SpeakerTurn]) -> list[TalkTime]:
    """How long each speaker spoke, who spoke longest first.

    Raises
    ------
    FormatError
        for impossible times.
    """
    spans: dict[str, list[tuple[float, float]]] = {}
    for turn in checked_turns(Recording("the turns", tuple(turns))):
        spans.setdefault(turn.speaker, []).append((turn.start, turn.end))
    edges = [(end, -1, name) for name, own in spans.items() for _, end in own]
    edges += [(start, 1, name) for name, own in spans.items() for start, _ in own]
    seconds, overlapped = dict.fromkeys(spans, 0.0), dict.fromkeys(spans, 0.0)
    running: dict[str, int] = {}  # turns of each speaker that have begun and not ended
    before = 0.0
    for time, step, name in sorted(edges):
        for other in running:
            seconds[other] += time - before
            overlapped[other] += time - before if len(running) > 1 else 0.0
        running[name] = running.get(name, 0) + step
        if not running[name]:
            del running[name]
        before = time
    total = sum(seconds.values())
    found = [
        TalkTime(
            name,
            seconds[name],
            seconds[name] / total if total else 0.0,
            len(own),
            max(end - start for start, end in own),
            overlapped[name],
        )
        for name, own in spans.items()
    ]
    return sorted(found, key=lambda one: (-one.seconds, one.speaker))


@dataclass(slots=True)
class _Voice:
    """One file that is written: the spans of samples that go into it, and how far it is."""

    path: Path
    spans: list[tuple[int, int]] = field(default_factory=list)
    written: int = 0
    temporary: Path | None = None
    _file: wave.Wave_write | None = None

    def write(self, samples: Samples, rate: int) -> None:
        """Samples (n,) in [-1, 1], after those before."""
        import numpy as np

        if self._file is None:
            self.temporary = self.path.with_name(f".{secrets.token_hex(8)}.tmp")
            self._file = wave.open(str(self.temporary), "wb")  # noqa: SIM115 - closed by close()
            self._file.setparams((1, 2, rate, 0, "NONE", ""))
        whole = np.clip(np.rint(samples * np.float32(32768)), -32768, 32767).astype("<i2")
        self._file.writeframesraw(whole.tobytes())
        self.written += len(samples)

    def silence(self, until: int, rate: int) -> None:
        """Zeros up to a sample of the recording."""
        import numpy as np

        while self.written < until:
            self.write(np.zeros(min(rate, until - self.written), np.float32), rate)

    def close(self) -> None:
        """The header is completed; closing twice is harmless."""
        if self._file is not None:
            self._file.close()
            self._file = None


def extract(
    audio: File,
    turns: Iterable[SpeakerTurn],
    folder: str | os.PathLike[str],
    *,
    name: str = "recording",
    pieces: bool = False,
    keep_times: bool = False,
    channel: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> list[Path]:
    """Write what each speaker said: 16-bit mono WAV files at the recording's own sample rate.

    Where speakers overlap, the sound of both is in the files of both. The recording is read once, piece by
    piece. All files are there at the end, or none: they get their names when the last one is complete.

    Parameters
    ----------
    audio : path or binary file object
    turns : who spoke when, seconds
    folder : where the files go; made if it is not there
    name : what their names begin with: ``NAME_SPEAKER.wav``
    pieces : a file each turn, ``NAME_0001_SPEAKER.wav``, numbered in order of time
    keep_times : each file as long as the recording, with silence where its speaker does not speak
    channel : as for `diarize.audio.open_audio`; None averages them
    overwrite : replace files that exist

    Returns
    -------
    paths : of the files, in order of the speakers' first turns, or of time
        Turns after the end of the sound give none, and a warning.

    Raises
    ------
    AudioError
        for sound that cannot be read, and for more of it than a WAV file holds.
    ConfigError
        for a file that exists, and for `pieces` together with `keep_times`.
    FormatError
        for impossible times.
    OSError
        when a file cannot be written; none is left behind.
    """
    from diarize.audio import open_audio

    if pieces and keep_times:
        raise ConfigError("pieces begin with their turns; keep_times= is for whole files of speakers")
    order = checked_turns(Recording(name, tuple(turns)))
    paths = [Path(folder) / file for file in _names(order, name, pieces)]
    there = next((path for path in paths if path.exists()), None)
    if there and not overwrite:
        raise ConfigError(f"{there} exists already; add --overwrite (overwrite=True) to replace")
    voices = list({path: _Voice(path) for path in paths}.values())
    Path(folder).mkdir(parents=True, exist_ok=True)
    try:
        with open_audio(audio, channel=channel) as sound:
            rate, total_s = sound.sample_rate, sound.duration_s
            by_path = {voice.path: voice for voice in voices}
            for turn, path in zip(order, paths, strict=True):
                _add(by_path[path].spans, round(turn.start * rate), round(turn.end * rate))
            voices = [voice for voice in voices if voice.spans]
            _check_sizes(voices, total_s if keep_times else None, rate)
            heard = 0
            waiting = sorted(voices, key=lambda voice: voice.spans[0], reverse=True)
            speaking: list[_Voice] = []
            for samples in sound:
                end = heard + len(samples)
                while waiting and waiting[-1].spans[0][0] < end:
                    speaking.append(waiting.pop())
                speaking = [v for v in speaking if _hear(v, samples, heard, rate, keep_times)]
                heard = end
                if progress is not None:
                    progress(heard / rate, total_s)
                if not (waiting or speaking or keep_times):
                    break
            if waiting or speaking:
                _warn(order, heard / rate, name)
        for voice in voices:
            if keep_times and voice.written:
                voice.silence(heard, rate)
            voice.close()
        done = [voice for voice in voices if voice.temporary is not None]
        for voice in done:
            os.replace(voice.temporary or voice.path, voice.path)
    except BaseException:
        for voice in voices:
            voice.close()
            if voice.temporary is not None:
                voice.temporary.unlink(missing_ok=True)
        raise
    return [voice.path for voice in done]


def _hear(voice: _Voice, samples: Samples, heard: int, rate: int, keep_times: bool) -> bool:
    """Give a voice its part of samples that begin at sample `heard`; whether it has more to come."""
    end = heard + len(samples)
    while voice.spans and voice.spans[0][0] < end:
        start, stop = voice.spans[0]
        if keep_times:
            voice.silence(max(start, heard), rate)
        voice.write(samples[max(start - heard, 0) : min(stop, end) - heard], rate)
        if stop > end:
            return True
        voice.spans.pop(0)
    if not voice.spans and not keep_times:
        voice.close()
    return bool(voice.spans)


def _add(spans: list[tuple[int, int]], start: int, stop: int) -> None:
    """Add a span that starts no earlier than the others: what overlaps becomes one."""
    if spans and start < spans[-1][1]:
        spans[-1] = (spans[-1][0], max(spans[-1][1], stop))
    elif stop > start:
        spans.append((start, stop))


def _names(turns: Sequence[SpeakerTurn], name: str, pieces: bool) -> list[str]:
    """The name of the file that each turn goes into."""
    speakers = distinct((turn.speaker for turn in turns), file_part, str.casefold)
    begin, width = file_part(name), max(4, len(str(len(turns))))
    return [
        f"{begin}_{f'{number:0{width}}_' if pieces else ''}{speakers[turn.speaker]}.wav"
        for number, turn in enumerate(turns, start=1)
    ]


def file_part(name: str) -> str:
    """A name as a part of a file's name on any system: no separators, no control characters, not too long."""
    safe = "".join(
        "_" if ch in '/\\:*?"<>|' or unicodedata.category(ch) in {"Cc", "Cs"} else ch for ch in name
    )
    short = safe.encode()[:_MOST_BYTES].decode(errors="ignore").strip(" ").rstrip(". ")
    return "_" + short[1:] if short.startswith(".") else short or "_"


def _check_sizes(voices: Sequence[_Voice], whole_s: float | None, rate: int) -> None:
    for voice in voices:
        count = round((whole_s or 0) * rate) or sum(stop - start for start, stop in voice.spans)
        if count > _MOST_SAMPLES:
            raise AudioError(
                f"{voice.path}: {count / rate / 3600:.1f} h at {rate} Hz are more than a WAV file holds; "
                "write one file a turn (pieces=True)"
            )


def _warn(turns: Sequence[SpeakerTurn], end_s: float, name: str) -> None:
    last = max(turn.end for turn in turns)
    if last > end_s + LATE_S:
        logger.warning(
            "%s: the turns go on until %.1f s, the sound ends at %.1f s; are they of this recording?",
            name,
            last,
            end_s,
        )
