"""The diarizer: the loaded models and the options, and what can be asked of them.

A file is a stream with unlimited latency (`diarize.stream`): nothing is decided before its end.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from diarize import calibration, models, verification
from diarize._stream_state import Models, StreamOptions
from diarize.audio import SAMPLE_RATE, AudioFile, File, Source, open_audio, read_audio
from diarize.config import Bounds, Config
from diarize.engine import open_engine
from diarize.enrolment import KnownVoice, check_voices, enrol
from diarize.errors import AudioError, ConfigError, ModelError
from diarize.result import Diarization, Verdict, Voice
from diarize.stages.embedding import CAMPPlusEmbedder, Embedder
from diarize.stages.overlap import PowersetSegmenter, Segmenter
from diarize.stages.regions import Regions
from diarize.stages.vad import SileroVad, Vad
from diarize.stream import Stream, restore
from diarize.voiceprints import Voiceprint, Weights, is_voiceprint, recordings_in, weights_of

logger = logging.getLogger(__name__)

Enrolled = Mapping[str, Source | Sequence[Source]] | Sequence[KnownVoice | str | Path]
"""Known voices: names with a recording or several of each, or what `Diarizer.enrol` made of them, or the
files of voiceprints."""

LONGEST_LATENCY_S = 24 * 3600.0
"""Who can wait longer than a day can wait for the end."""

Progress = Callable[[float, float | None], None]
"""Called with the seconds of audio done, and those that the recording declares, if it does."""


class Diarizer:
    """The loaded models and the options; threads may share one.

    config : a `Config`, the path of a TOML file, or the name of a shipped one ("meeting")
    model, engine, precision, device, threads, overlap : replace those of the configuration
    embedder, vad, segmenter : networks to use instead of CAM++, Silero and pyannote's segmentation; with an
        embedder of one's own nothing listens for overlap unless there is a segmenter too
    on_fetch : called with what is being fetched, the bytes here and all bytes, while weights arrive

    Raises ConfigError for options, ModelError for weights that cannot be had.
    """

    def __init__(
        self,
        config: Config | str | Path | None = None,
        *,
        model: str | Path | None = None,
        engine: str | None = None,
        precision: str | None = None,
        device: str | None = None,
        threads: int | None = None,
        overlap: str | None = None,
        embedder: Embedder | None = None,
        vad: SileroVad | Any | None = None,
        segmenter: Segmenter | None = None,
        on_fetch: models.Progress | None = None,
    ) -> None:
        config = config if isinstance(config, Config) else Config.load(config) if config else Config()
        model = str(model) if isinstance(model, Path) else model
        given: dict[str, Any] = {"model": model, "engine": engine, "precision": precision}
        given |= {"device": device, "threads": threads, "overlap": overlap}
        given = {name: value for name, value in given.items() if value is not None}
        self.config = Config.from_dict(dataclasses.asdict(config) | given)
        self.vad = vad or SileroVad()
        listens = self.config.overlap != "off"
        self.segmenter = segmenter if listens else None
        self._own_embedder = embedder is not None
        if embedder is not None:
            self.embedder: Embedder = embedder
            return
        engine_ = open_engine(
            models.resolve(self.config.model, progress=on_fetch),
            engine=self.config.engine,
            device=self.config.device,
            precision=self.config.precision,
            threads=self.config.threads,
            segmentation=segmentation(on_fetch) if listens and segmenter is None else None,
            note=None if on_fetch is None else lambda what: on_fetch(what, 0, None),
        )
        self.embedder = CAMPPlusEmbedder(engine_)
        if listens and segmenter is None:
            self.segmenter = PowersetSegmenter(engine_)

    @property
    def models(self) -> Models:
        """What its streams share."""
        return Models(self.config, self.vad, self.embedder, self.segmenter, self.threshold)

    def __call__(
        self,
        source: Source,
        *,
        sample_rate: int | None = None,
        channel: int | None = None,
        num_speakers: int | None = None,
        min_speakers: int | None = None,
        max_speakers: int | None = None,
        enrolled: Enrolled | None = None,
        one_to_one: bool = True,
        uri: str | None = None,
        progress: Progress | None = None,
    ) -> Diarization:
        """Diarize a whole recording.

        source : a file's path, a binary file object, or samples (n,) of any float or integer type
        sample_rate : of samples, in Hz; a file knows its own
        channel : 0-based; by default all channels are averaged
        num_speakers, min_speakers, max_speakers : held exactly, whatever the voices suggest
        enrolled : known voices, ``{"Alice": "alice.wav"}`` or ``["alice.voice"]``; speakers who are one of
            them get their name, and `Diarization.matches` has the scores
        one_to_one : each known voice is one speaker at most. False: all speakers that are like enough become
            one, the likest first, unless fewer would be left than were asked for
        uri : the recording's name; by default the file's
        progress : called as the recording passes, see `Progress`

        Raises AudioError for audio that cannot be used, ConfigError for impossible counts.
        """
        asked: dict[str, Any] = {"num_speakers": num_speakers, "min_speakers": min_speakers}
        asked |= {"max_speakers": max_speakers, "enrolled": enrolled, "one_to_one": one_to_one}
        if is_file(source):
            if sample_rate is not None:
                raise AudioError("sample_rate= is for samples; a file knows its own rate")
            with open_audio(source, channel=channel) as audio:
                total_s = audio.duration_s
                return self._run(audio, audio.sample_rate, total_s, uri or name_of(source), asked, progress)
        if sample_rate is None:
            raise AudioError(
                f"a recording must be a path or a binary file, or samples with sample_rate=; "
                f"got {type(source).__name__} without a rate"
            )
        if channel is not None:
            raise AudioError("channel= is for files; of samples pass one channel: samples[channel]")
        return self._run([source], sample_rate, None, uri or "recording", asked, progress)

    def _run(
        self,
        pieces: AudioFile | list[Any],
        sample_rate: int,
        total_s: float | None,
        uri: str,
        asked: dict[str, Any],
        progress: Progress | None,
    ) -> Diarization:
        with self.stream(sample_rate=sample_rate, uri=uri, **asked) as stream:
            for piece in pieces:
                stream.push(piece)
                if progress:
                    progress(stream.duration, total_s)
            stream.finish()
            return stream.result()

    def stream(
        self,
        *,
        latency_s: float | None = None,
        sample_rate: int | None = None,
        num_speakers: int | None = None,
        min_speakers: int | None = None,
        max_speakers: int | None = None,
        enrolled: Enrolled | None = None,
        one_to_one: bool = True,
        uri: str | None = None,
        started: datetime | None = None,
        state: bytes | None = None,
    ) -> Stream:
        """Begin a stream; see `Stream`.

        latency_s : every sample is decided at most so long after it arrived, on the audio clock; from
            about 0.3 s on. None decides everything at `finish()`.
        sample_rate : of what will be pushed, Hz; 16000 by default
        num_speakers, min_speakers, max_speakers : as for a file; final turns never hold more than the most
        enrolled : known voices, ``{"Alice": "alice.wav"}``, recognised from their first words on
        one_to_one : as for a file, in the result; final turns go to whom they sound like
        started : the time of day of the first sample, for `Stream.time_of`
        state : bytes of `Stream.state`, to go on where that stream was, all its options included

        Raises ConfigError for options that cannot be, FormatError for bytes that are no saved stream.
        """
        if state is not None:
            counts = (num_speakers, min_speakers, max_speakers)
            given = (latency_s, sample_rate, *counts, enrolled, uri, started)
            if not one_to_one or any(value is not None for value in given):
                raise ConfigError("a saved stream brings its own options; pass state= alone")
            return restore(state, self.models)
        if latency_s is not None and not (
            isinstance(latency_s, Real)
            and not isinstance(latency_s, bool)
            and (0 < latency_s <= LONGEST_LATENCY_S or latency_s == math.inf)
        ):
            raise ConfigError(
                f"latency_s must be seconds > 0 and <= {LONGEST_LATENCY_S:g}, or None to decide at finish(), "
                f"got {latency_s!r}"
            )
        if num_speakers is min_speakers is max_speakers is None:
            bounds = self.config.clustering.bounds
        else:
            bounds = Bounds.of(num_speakers, min_speakers, max_speakers)
        known = tuple(
            self.enrol(enrolled)
            if isinstance(enrolled, Mapping)
            else (voice if isinstance(voice, KnownVoice) else self.known(voice) for voice in enrolled or ())
        )
        check_voices(known, self.embedder.embedding_size)
        when = started.isoformat() if started else None
        latency_s = None if latency_s == math.inf else latency_s
        options = StreamOptions(
            latency_s, sample_rate or SAMPLE_RATE, bounds, uri or "recording", known, when, one_to_one
        )
        return Stream(self.models, options)

    def enrol(
        self, voices: Mapping[str, Source | Sequence[Source]], *, channel: int | None = None
    ) -> list[KnownVoice]:
        """Known voices from recordings of them, one or several a name; for many streams, do it once.

        voices : by name; a recording, a folder of them, a voiceprint's file (``.voice``), or several of these
        channel : of the recordings, 0-based; by default all are averaged

        Raises AudioError for a recording that cannot be read, or without speech, FormatError for what is no
        voiceprint, ModelError for one of another model. Of little speech a warning is logged.
        """
        return [self._enrol(name, sources, channel) for name, sources in voices.items()]

    def _enrol(self, name: str, sources: Any, channel: int | None) -> KnownVoice:
        several: list[Any] = []
        for source in sources if isinstance(sources, (list, tuple)) else [sources]:
            folder = isinstance(source, (str, Path)) and Path(source).is_dir()
            several += recordings_in(Path(source)) if folder else [source]
        prints = [source for source in several if is_voiceprint(source)]
        recordings = []
        for source in several:
            if is_voiceprint(source):
                continue
            recordings.append(self.speech(read_audio(source, channel=channel)))
            if len(several) > 1 and not len(recordings[-1]):
                logger.warning("%s: no speech was found in %s, which is left out", name, name_of(source))
        return enrol(
            name,
            recordings,
            self.embedder,
            self.config.windows.length,
            round(self.config.windows.step_s * SAMPLE_RATE),
            [self.known(path) for path in prints],
        )

    def known(self, path: str | Path) -> KnownVoice:
        """The voice of a voiceprint's file; FormatError for any other, ModelError for another model's."""
        return Voiceprint.load(path).voice_for(self.weights, path)

    def voiceprint(self, voice: KnownVoice) -> Voiceprint:
        """A known voice with what heard it, to be saved; ModelError for an embedder of one's own."""
        if self.weights is None:
            raise ModelError("a voiceprint names the model that heard it; an embedder= of one's own is none")
        return Voiceprint(voice, self.weights, self.config.windows.length_s, self.config.windows.step_s)

    @cached_property
    def weights(self) -> Weights | None:
        """The name and the sha256 of the model that hears voices; None of an embedder of one's own."""
        return None if self._own_embedder else weights_of(self.config.model)

    def embed(
        self, source: Source, *, sample_rate: int | None = None, channel: int | None = None, vad: bool = False
    ) -> NDArray[np.float32]:
        """The voice of a recording: (E,) float32, unit norm.

        All samples up to 60 s are embedded at once, longer recordings as the weighted mean of equal
        pieces, shorter ones than a window repeated to fill it; `vad=True` leaves out what is not
        speech. Raises AudioError for under 0.1 s.
        """
        return self._voice(source, sample_rate, channel, vad, count=False).embedding

    def verify(
        self,
        a: Source,
        b: Source,
        *,
        threshold: float | None = None,
        sample_rate: int | None = None,
        channel: int | None = None,
        vad: bool = False,
    ) -> Verdict:
        """Whether two recordings are the same voice.

        threshold : for this call only; by default the configuration's, else what was measured for the
            model and the seconds of speech in both (`diarize.calibration`)

        With under 1 s of speech in one of them the verdict is not `enough`, and has no probability.
        """
        voice_a = self.voice(a, sample_rate=sample_rate, channel=channel, vad=vad)
        voice_b = self.voice(b, sample_rate=sample_rate, channel=channel, vad=vad)
        return self.compare(voice_a, voice_b, threshold=threshold)

    def compare(self, a: Voice, b: Voice, *, threshold: float | None = None) -> Verdict:
        """The verdict on two voices embedded before; see `verify`."""
        if threshold is None:
            threshold = self.threshold(a.speech_s, b.speech_s)
        elif not -1 <= threshold <= 1:
            raise ConfigError(f"threshold is a cosine, between -1 and 1, got {threshold}")
        return verification.verdict(a, b, threshold, self.config.model, self.config.verification)

    def threshold(self, seconds_a: float, seconds_b: float) -> float:
        """The score from which pieces of speech of these lengths are one speaker."""
        if self.config.clustering.threshold is not None:
            return self.config.clustering.threshold
        measured = calibration.threshold(self.config.model, seconds_a, seconds_b)
        return measured + self.config.verification.shift

    def voice(
        self, source: Source, *, sample_rate: int | None = None, channel: int | None = None, vad: bool = False
    ) -> Voice:
        """The embedding of a recording, as `embed` gives it, with the seconds of audio and speech in it."""
        return self._voice(source, sample_rate, channel, vad, count=True)

    def _voice(
        self, source: Source, sample_rate: int | None, channel: int | None, vad: bool, count: bool
    ) -> Voice:
        name = str(source) if isinstance(source, (str, Path)) else "audio"
        samples = read_audio(source, sample_rate=sample_rate, channel=channel)
        if vad:
            samples = self.speech(samples)
            if not len(samples):
                raise AudioError(f"{name}: no speech was found in it")
        row = verification.embed(self.embedder, samples, self.config.windows.length, name)
        spoken = len(self.speech(samples)) if count and not vad else len(samples)
        return Voice(row, len(samples) / SAMPLE_RATE, spoken / SAMPLE_RATE)

    def speech(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """The samples (n,) at 16 kHz that lie in speech regions, joined."""
        stage, regions = Vad(self.vad), Regions(self.config.vad)
        found = regions.push(stage.push(samples)) + regions.finish(len(samples), stage.finish())
        pieces = [samples[region.start : region.end] for region in found if region.closed]
        return np.concatenate([samples[:0], *pieces])


def segmentation(progress: models.Progress | None) -> Path:
    """The checkpoint of the segmentation network; ModelError says how to do without."""
    try:
        return models.resolve(models.SEGMENTATION, progress=progress)
    except ModelError as error:
        raise ModelError(f"{error}\nor do without it: overlap='off' (--overlap off)") from None


def is_file(source: Source) -> TypeGuard[File]:
    """Whether a source is a path or a file object, rather than samples."""
    return isinstance(source, (str, Path)) or hasattr(source, "read")


def name_of(source: Any) -> str:
    """A recording's name: its file's, without the ending."""
    if isinstance(source, (str, Path)):
        return Path(source).stem
    name = getattr(source, "name", None)
    return Path(name).stem if isinstance(name, str) else "recording"
