"""The diarizer, and the one path that every recording takes: a stream of pushes and a finish.

    samples -> resampling -> VAD -> regions -> windows -> embeddings -> clustering -> turns

A file is a stream with unlimited latency: nothing is decided before `finish()`.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from diarize import calibration, models, verification
from diarize.audio import SAMPLE_RATE, AudioFile, File, Source, as_samples, open_audio, read_audio
from diarize.clustering import cluster
from diarize.clustering.affinity import centroids
from diarize.clustering.representatives import Representatives
from diarize.config import Bounds, Config
from diarize.errors import AudioError, ConfigError, DiarizeError, SpeakerCountWarning, StreamFinished
from diarize.resampling import Resampler
from diarize.result import Diarization, Turn, Verdict, Voice
from diarize.stages.boundaries import turns
from diarize.stages.embedding import CAMPPlusEmbedder, Embedder, Embedding
from diarize.stages.items import FRAME, Region, Span, Window
from diarize.stages.regions import Regions
from diarize.stages.vad import SileroVad, Vad
from diarize.stages.windows import Windows

BLOCK = 512 * FRAME
"""Samples that pass through the stages at once (16 s): bounds memory, and lets progress be shown."""

Progress = Callable[[float, float | None], None]
"""Called with the seconds of audio done, and those that the recording declares, if it does."""


class Diarizer:
    """The loaded models and the options; threads may share one.

    config : a `Config`, the path of a TOML file, or the name of a shipped one ("meeting")
    model, device, threads : replace those of the configuration
    embedder, vad : networks to use instead of CAM++ and Silero
    on_fetch : called with what is being fetched, the bytes here and all bytes, while weights arrive

    Raises ConfigError for options, ModelError for weights that cannot be had.
    """

    def __init__(
        self,
        config: Config | str | Path | None = None,
        *,
        model: str | Path | None = None,
        device: str | None = None,
        threads: int | None = None,
        embedder: Embedder | None = None,
        vad: SileroVad | Any | None = None,
        on_fetch: models.Progress | None = None,
    ) -> None:
        config = config if isinstance(config, Config) else Config.load(config) if config else Config()
        model = str(model) if isinstance(model, Path) else model
        given = {"model": model, "device": device, "threads": threads}
        given = {name: value for name, value in given.items() if value is not None}
        self.config = Config.from_dict(dataclasses.asdict(config) | given)
        self.vad = vad or SileroVad()
        self.embedder: Embedder = embedder or CAMPPlusEmbedder(
            models.resolve(self.config.model, progress=on_fetch),
            device=self.config.device,
            threads=self.config.threads,
        )

    def __call__(
        self,
        source: Source,
        *,
        sample_rate: int | None = None,
        channel: int | None = None,
        num_speakers: int | None = None,
        min_speakers: int | None = None,
        max_speakers: int | None = None,
        uri: str | None = None,
        progress: Progress | None = None,
    ) -> Diarization:
        """Diarize a whole recording.

        source : a file's path, a binary file object, or samples (n,) of any float or integer type
        sample_rate : of samples, in Hz; a file knows its own
        channel : 0-based; by default all channels are averaged
        num_speakers, min_speakers, max_speakers : held exactly, whatever the voices suggest
        uri : the recording's name; by default the file's
        progress : called as the recording passes, see `Progress`

        Raises AudioError for audio that cannot be used, ConfigError for impossible counts.
        """
        counts = {"num_speakers": num_speakers, "min_speakers": min_speakers, "max_speakers": max_speakers}
        if is_file(source):
            if sample_rate is not None:
                raise AudioError("sample_rate= is for samples; a file knows its own rate")
            with open_audio(source, channel=channel) as audio:
                total_s = audio.duration_s
                return self._run(audio, audio.sample_rate, total_s, uri or name_of(source), counts, progress)
        if sample_rate is None:
            raise AudioError(
                f"a recording must be a path or a binary file, or samples with sample_rate=; "
                f"got {type(source).__name__} without a rate"
            )
        if channel is not None:
            raise AudioError("channel= is for files; of samples pass one channel: samples[channel]")
        return self._run([source], sample_rate, None, uri or "recording", counts, progress)

    def _run(
        self,
        pieces: AudioFile | list[Any],
        sample_rate: int,
        total_s: float | None,
        uri: str,
        counts: dict[str, int | None],
        progress: Progress | None,
    ) -> Diarization:
        with self.stream(sample_rate=sample_rate, uri=uri, **counts) as stream:
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
        sample_rate: int = SAMPLE_RATE,
        num_speakers: int | None = None,
        min_speakers: int | None = None,
        max_speakers: int | None = None,
        uri: str = "recording",
    ) -> Stream:
        """Begin a stream; see `Stream`. Only unlimited latency (None) exists so far."""
        if latency_s is not None:
            raise ConfigError("a finite latency_s does not exist yet; leave it out to decide at finish()")
        if num_speakers is min_speakers is max_speakers is None:
            bounds = self.config.clustering.bounds
        else:
            bounds = Bounds.of(num_speakers, min_speakers, max_speakers)
        return Stream(self, sample_rate=sample_rate, bounds=bounds, uri=uri)

    def embed(
        self, source: Source, *, sample_rate: int | None = None, channel: int | None = None, vad: bool = False
    ) -> NDArray[np.float32]:
        """The voice of a recording: (E,) float32, unit norm.

        All samples up to 60 s are embedded at once, longer recordings as the weighted mean of equal
        pieces, shorter ones than a window repeated to fill it; `vad=True` leaves out what is not
        speech. Raises AudioError for under 0.1 s.
        """
        return self.voice(source, sample_rate=sample_rate, channel=channel, vad=vad).embedding

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
            model and these durations (`diarize.calibration`)
        """
        voice_a = self.voice(a, sample_rate=sample_rate, channel=channel, vad=vad)
        voice_b = self.voice(b, sample_rate=sample_rate, channel=channel, vad=vad)
        return self.compare(voice_a, voice_b, threshold=threshold)

    def compare(self, a: Voice, b: Voice, *, threshold: float | None = None) -> Verdict:
        """The verdict on two voices embedded before; see `verify`."""
        if threshold is None:
            threshold = self.threshold(a.seconds, b.seconds)
        elif not -1 <= threshold <= 1:
            raise ConfigError(f"threshold is a cosine, between -1 and 1, got {threshold}")
        return verification.verdict(a.embedding, b.embedding, threshold)

    def threshold(self, seconds_a: float, seconds_b: float) -> float:
        """The score from which pieces of speech of these lengths are one speaker."""
        if self.config.clustering.threshold is not None:
            return self.config.clustering.threshold
        return calibration.threshold(self.config.model, seconds_a, seconds_b)

    def voice(
        self, source: Source, *, sample_rate: int | None = None, channel: int | None = None, vad: bool = False
    ) -> Voice:
        """The embedding of a recording, as `embed` gives it, with the seconds that went into it."""
        name = str(source) if isinstance(source, (str, Path)) else "audio"
        samples = read_audio(source, sample_rate=sample_rate, channel=channel)
        if vad:
            samples = self.speech(samples)
            if not len(samples):
                raise AudioError(f"{name}: no speech was found in it")
        row = verification.embed(self.embedder, samples, self.config.windows.length, name)
        return Voice(row, len(samples) / SAMPLE_RATE)

    def speech(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """The samples (n,) at 16 kHz that lie in speech regions, joined."""
        stage, regions = Vad(self.vad), Regions(self.config.vad)
        found = regions.push(stage.push(samples)) + regions.finish(len(samples), stage.finish())
        pieces = [samples[region.start : region.end] for region in found if region.closed]
        return np.concatenate([samples[:0], *pieces])


class Stream:
    """One recording on its way through the pipeline; made by `Diarizer.stream`.

    `push` samples in pieces of any size, then `finish`; `result()` is the whole. What comes out depends
    on the samples alone, never on the pieces. Leaving a ``with`` block closes the stream and decides
    nothing. One thread at a time.
    """

    def __init__(self, diarizer: Diarizer, *, sample_rate: int, bounds: Bounds, uri: str) -> None:
        config = diarizer.config
        self.diarizer = diarizer
        self.bounds = bounds
        self.uri = uri
        self.resampler = Resampler(sample_rate)
        self.vad = Vad(diarizer.vad)
        self.regions = Regions(config.vad)
        self.windows = Windows(config.windows)
        self.embedding = Embedding(diarizer.embedder, config.windows.length)
        self.pending: list[NDArray[np.float32]] = []
        self.num_pending = 0
        self.num_samples = 0
        self.found_regions: list[Region] = []
        self.found_windows: list[Window] = []
        self.rows = Representatives(max(config.clustering.max_rows, 2 * bounds.low))  # law 7
        self._result: Diarization | None = None
        self._finished = False

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finished = True

    @property
    def duration(self) -> float:
        """Seconds of audio that passed the stages."""
        return self.num_samples / SAMPLE_RATE

    def push(self, samples: Any) -> list[Turn]:
        """Take the next samples (n,), of any float or integer type, at the stream's rate.

        Returns the turns that became final: none before `finish()`, as long as latency is unlimited.
        Raises AudioError for samples that cannot be used, StreamFinished after the end.
        """
        if self._finished:
            raise StreamFinished
        self._hear(self.resampler.push(as_samples(samples)))
        return []

    def finish(self) -> list[Turn]:
        """Decide everything that is left; returns the final turns."""
        if self._finished:
            raise StreamFinished
        self._hear(self.resampler.finish())
        self._pass(self.num_pending)
        self._take(self.regions.finish(self.num_samples, self.vad.finish()))
        self._keep(self.embedding.finish())
        self._finished = True
        self._result = self._decide()
        return list(self._result.turns)

    def result(self) -> Diarization:
        """The diarization of all samples; DiarizeError before `finish()`."""
        if self._result is None:
            raise DiarizeError("there is no result before finish(); call stream.finish() first")
        return self._result

    def _hear(self, samples: NDArray[np.float32]) -> None:
        """Hold samples until they fill VAD frames, so that small pushes cost little."""
        self.pending.append(samples)
        self.num_pending += len(samples)
        if self.num_pending >= FRAME:
            self._pass(self.num_pending // FRAME * FRAME)

    def _pass(self, count: int) -> None:
        """Send the first `count` pending samples through the stages."""
        samples = np.concatenate([np.zeros(0, np.float32), *self.pending])
        self.pending = [samples[count:]]
        self.num_pending -= count
        for first in range(0, count, BLOCK):
            block = samples[first : min(first + BLOCK, count)]
            self.num_samples += len(block)
            self.embedding.hear(block)
            self._take(self.regions.push(self.vad.push(block)))
            horizon = self.windows.horizon
            self.embedding.forget(self.regions.horizon if horizon is None else horizon)

    def _take(self, regions: list[Region]) -> None:
        self.found_regions += [region for region in regions if region.closed]
        self._keep(self.embedding.push(self.windows.push(regions)))

    def _keep(self, embedded: list[tuple[Window, NDArray[np.float32]]]) -> None:
        for window, row in embedded:
            self.found_windows.append(window)
            self.rows.add(row)

    def _decide(self) -> Diarization:
        """Cluster all rows and place the turns."""
        spans: list[Span] = []
        names: dict[int, str] = {}
        embeddings: dict[str, NDArray[np.float32]] = {}
        if self.found_windows:
            rows, weights = self.rows.arrays()
            labels = cluster(rows, weights, self.diarizer.config.clustering, self._threshold(), self.bounds)
            spans = turns(self.found_regions, self.found_windows, labels[self.rows.index].tolist())
            names = {
                label: f"SPEAKER_{i:02d}" for i, label in enumerate(dict.fromkeys(s.label for s in spans))
            }
            means = centroids(rows, labels, weights)
            embeddings = {name: means[label] for label, name in names.items()}
        if 0 < len(self.found_windows) < self.bounds.low:
            warnings.warn(
                f"{self.bounds.low} speakers were asked for, but {self.uri} has speech for "
                f"{len(self.found_windows)} windows only: that many were found",
                SpeakerCountWarning,
                stacklevel=3,
            )
        return Diarization(
            turns=tuple(Turn(s.start / SAMPLE_RATE, s.end / SAMPLE_RATE, names[s.label]) for s in spans),
            duration=self.duration,
            uri=self.uri,
            embeddings=embeddings,
        )

    def _threshold(self) -> float:
        """For two windows exactly what `verify` uses; for more, that of two whole windows."""
        seconds = [self.diarizer.config.windows.length_s] * 2
        if len(self.found_windows) == 2:
            seconds = [(window.end - window.start) / SAMPLE_RATE for window in self.found_windows]
        return self.diarizer.threshold(*seconds)


def is_file(source: Source) -> TypeGuard[File]:
    """Whether a source is a path or a file object, rather than samples."""
    return isinstance(source, (str, Path)) or hasattr(source, "read")


def name_of(source: Any) -> str:
    """A recording's name: its file's, without the ending."""
    if isinstance(source, (str, Path)):
        return Path(source).stem
    name = getattr(source, "name", None)
    return Path(name).stem if isinstance(name, str) else "recording"
