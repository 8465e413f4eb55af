r"""One recording on its way from samples to turns: the one path that files and live sound take.

    samples -> resampling -> VAD -> regions -> windows -> embeddings -> rows      settled: the result
                              |\-> voices, how many at once ------------------/
                               \-> regions -> windows -> deadlines -> labelling   live: final turns

The settled side waits for all the look-ahead it can use and does not know the latency, so its result is
that of the file. The live side (`diarize.live`) decides in time. A file is a stream without a live side.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diarize import _saving
from diarize._stream_state import Models, SavedStream, StreamOptions, StreamState, fingerprint
from diarize.audio import as_samples
from diarize.errors import AudioError, ConfigError, DiarizeError, SpeakerCountWarning, StreamFinished
from diarize.kept import as_turns
from diarize.live import Live, LiveState, Look
from diarize.resampling import SAMPLE_RATE, Resampler
from diarize.result import Diarization, Turn, joined
from diarize.settled import Settled, SettledState
from diarize.stages.embedding import Embedding
from diarize.stages.items import FRAME, Decision, Span, Window
from diarize.stages.labelling import Speaker
from diarize.stages.overlap import Overlap, look
from diarize.stages.vad import Vad

if TYPE_CHECKING:
    from pyannote.core import Annotation

BLOCK = 512 * FRAME
"""Samples that pass through the stages at once (16 s): bounds memory, and lets progress be shown."""

UNHURRIED = 32 * FRAME
"""Samples that are held until they pass, while nobody waits for turns: the VAD is faster on many frames."""

LONGEST_GAP_S = 24 * 3600
"""A longer gap in the audio is a broken clock."""


class Stream:
    """One recording, pushed as it arrives; made by `Diarizer.stream`.

    `push` samples in pieces of any size, then `finish`; both return turns that are final: never changed,
    moved or renamed, in order of time. A turn may go on in the next one of the same speaker.
    `hypothesis` is the best guess for what is not final yet, `result()` after the end is what the file
    would have given. What comes out depends on the samples alone, never on the pieces. Leaving a
    ``with`` block closes the stream and decides nothing. One thread at a time.
    """

    def __init__(self, models: Models, options: StreamOptions, state: StreamState | None = None) -> None:
        config = models.config
        self.models = models
        self.options = options
        self.resampler = Resampler(options.sample_rate)
        if state is None:
            state = StreamState(SettledState.new(config, options.bounds), self.resampler.state)
            if options.latency_s is not None:
                state.live = LiveState()
                state.live.labeller.speakers = [
                    Speaker(voice.name, voice.total, voice.windows, enrolled=True) for voice in options.known
                ]
        self._state = state
        self.resampler.state = state.resampler
        self.vad = Vad(models.vad, state.vad)
        self.held = state.held
        voices = models.segmenter is not None
        self.settled = Settled(config, models.threshold, options.bounds, voices, state.settled)
        self.embedding = Embedding(models.embedder, config.windows, self.held, state.embedding)
        self.overlap = Overlap(models.segmenter, config.vad.onset, self.held, state.overlap)
        self.live = self._live(state.live) if state.live else None
        self._look: Look | None = None
        if models.segmenter is not None and config.overlap == "assign":
            self._look = partial(look, models.segmenter, self.held)
        self.num_pending = sum(len(samples) for samples in state.pending)
        self._guess: tuple[int, tuple[Turn, ...]] | None = None
        self._result: Diarization | None = None

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._state.finished = True

    # What is pushed ------------------------------------------------------------------------------

    def push(self, samples: Any, *, at: float | None = None) -> list[Turn]:
        """Take the next samples (n,), of any float or integer type, at the stream's rate.

        at : where the first of them lies, in seconds from the start of the stream; what was lost before
            it counts as silence, so that the clock stays true. Without it they follow the last ones.

        Returns the turns that became final. Raises AudioError for samples that cannot be used or that
        lie before samples pushed earlier, StreamFinished after the end.
        """
        if self._state.finished:
            raise StreamFinished
        samples = as_samples(samples)
        first = len(self._state.finals)
        if at is not None:
            self._silence(self._missing(at))
        self._hear(self.resampler.push(samples))
        return self._final_turns(first)

    def finish(self) -> list[Turn]:
        """Decide everything that is left; returns the last final turns."""
        if self._state.finished:
            raise StreamFinished
        first = len(self._state.finals)
        self._hear(self.resampler.finish())
        self._pass(self.num_pending)
        last = self.vad.finish().tolist()
        decisions, placed = self.live.finish(self._state.num_samples, last) if self.live else ([], [])
        self._embed(self.settled.finish(self._state.num_samples, last), decisions, placed)
        self.settled.hear(self.overlap.finish(last))
        self.settled.keep(self.embedding.finish())
        self._state.finished = True
        return self._final_turns(first) if self.live else list(self.result().turns)

    def _missing(self, at: float) -> int:
        """Samples between those pushed so far and a time; AudioError for a time that cannot be."""
        rate, received = self.options.sample_rate, self._state.resampler.received
        gap = round(at * rate) - received if np.isfinite(at) else -1
        if gap < 0:
            raise AudioError(
                f"at must not lie before the end of what was pushed, {received / rate:.3f} s, got {at}; "
                "leave out the samples that came twice"
            )
        if gap > LONGEST_GAP_S * rate:
            raise AudioError(
                f"at is {gap / rate:.0f} s after the last sample, more than a day; a wrong clock?"
            )
        return gap

    def _silence(self, count: int) -> None:
        rate = self.options.sample_rate
        for start in range(0, count, rate):
            self._hear(self.resampler.push(np.zeros(min(rate, count - start), np.float32)))

    # What is known -------------------------------------------------------------------------------

    @property
    def duration(self) -> float:
        """Seconds of audio heard, in whole VAD frames until the end."""
        return (self._state.num_samples + self.num_pending // FRAME * FRAME) / SAMPLE_RATE

    @property
    def decided(self) -> float:
        """Seconds from the start that are surely final; 0 while latency is unlimited.

        Final turns may reach further, by up to a window's share: a window is decided as a whole.
        """
        if self._state.finished:
            return self.duration
        return self.live.decided / SAMPLE_RATE if self.live else 0.0

    @property
    def finals(self) -> tuple[Turn, ...]:
        """All final turns so far, in order, pieces of one turn joined."""
        if self.live is None:
            return self._result.turns if self._result else ()
        return tuple(joined(self._final_turns(0)))

    @property
    def hypothesis(self) -> tuple[Turn, ...]:
        """The best guess for what is not final yet: the turns that `finish()` would return now.

        It reaches up to the last whole VAD frame (32 ms). Names of speakers who have no final turn yet
        may still change hands. It costs about two windows' embeddings; without a latency, a clustering
        of everything.
        """
        if self._state.finished:
            return ()
        self._pass(self.num_pending // FRAME * FRAME)
        if self._guess is None or self._guess[0] != self._state.num_samples:
            guess = self._guess_live(self.live) if self.live else self._guess_settled()
            self._guess = (self._state.num_samples, guess)
        return self._guess[1]

    def annotation(self) -> Annotation:
        """Final turns and hypothesis as a `pyannote.core.Annotation`; built anew at each call."""
        return Diarization(
            tuple(joined([*self.finals, *self.hypothesis])), self.duration, self.uri
        ).annotation

    def result(self) -> Diarization:
        """The diarization of all samples, as of a file; DiarizeError before `finish()`."""
        if not self._state.embedding.finished:
            raise DiarizeError("there is no result before finish(); call stream.finish() first")
        if self._result is None:
            low, windows = self.options.bounds.low, len(self._state.settled.windows_found)
            if 0 < windows < low:
                warnings.warn(
                    f"{low} speakers were asked for, but {self.uri} has speech for {windows} windows only: "
                    "that many were found",
                    SpeakerCountWarning,
                    stacklevel=2,
                )
            self._result = self._settled_result(self.settled)
        return self._result

    def final_names(self) -> dict[str, str]:
        """For each speaker of the final turns, who it is in `result()`: the speaker it shares most time with.

        Two may turn out to be one. Who shares no time with anybody is left out.
        """
        shared: dict[str, dict[str, float]] = {}
        settled = self.result().turns
        i = 0
        for turn in self.finals:
            while i < len(settled) and settled[i].end <= turn.start:
                i += 1
            for other in settled[i:]:
                if other.start >= turn.end:
                    break
                times = shared.setdefault(turn.speaker, {})
                common = min(turn.end, other.end) - max(turn.start, other.start)
                times[other.speaker] = times.get(other.speaker, 0.0) + max(0.0, common)
        return {name: max(times, key=lambda other: times[other]) for name, times in shared.items()}

    @property
    def uri(self) -> str:
        """The recording's name."""
        return self.options.uri

    def time_of(self, seconds: float) -> datetime:
        """The time of day of a moment of the stream; ConfigError unless it was told when it started."""
        if self.options.started is None:
            raise ConfigError("the stream does not know when it started; pass started= to diarizer.stream")
        return datetime.fromisoformat(self.options.started) + timedelta(seconds=seconds)

    def state(self) -> bytes:
        """Everything needed to go on elsewhere with ``diarizer.stream(state=...)``: a few MB at most."""
        if self._state.finished:
            raise StreamFinished
        self.settled.keep(self.embedding.landed())
        self.settled.hear(self.overlap.landed())
        return _saving.pack(SavedStream(fingerprint(self.models.config), self.options, self._state))

    # How it passes the stages --------------------------------------------------------------------

    def _hear(self, samples: NDArray[np.float32]) -> None:
        """Hold samples until they fill a VAD frame, or many where nobody waits: small pushes cost little."""
        self._state.pending.append(samples)
        self.num_pending += len(samples)
        if self.num_pending >= (FRAME if self.live else UNHURRIED):
            self._pass(self.num_pending // FRAME * FRAME)

    def _pass(self, count: int) -> None:
        """Send the first `count` pending samples through the stages."""
        state = self._state
        samples = np.concatenate([np.zeros(0, np.float32), *state.pending])
        state.pending = [samples[count:]]
        self.num_pending -= count
        for first in range(0, count, BLOCK):
            block = samples[first : min(first + BLOCK, count)]
            state.num_samples += len(block)
            self.held.hear(block)
            speech = self.vad.push(block).tolist()
            decisions, placed = self.live.place(speech) if self.live else ([], [])
            self.settled.hear(self.overlap.push(speech))
            self._embed(self.settled.push(speech), decisions, placed)
            horizon = min(self.settled.horizon, self.live.horizon) if self.live else self.settled.horizon
            horizon = self.overlap.needed(self.embedding.needed(horizon))
            self.held.forget(self.live.needed(horizon) if self.live and self._look else horizon)

    def _embed(self, windows: list[Window], decisions: list[Decision], placed: list[Window]) -> None:
        """Embed what both sides need; keep the settled rows, make decisions final.

        Exact rows are the same for both sides, so each window is embedded once; dense ones are for the
        settled side, which can wait for them.
        """
        shared = self.live is not None and not self.embedding.dense
        if not shared:
            region = self.settled.windows.state.region
            self.settled.keep(self.embedding.push(windows, self.settled.horizon, region))
        if self.live is None:
            return
        self._learn(self.live, [*windows, *placed] if shared else placed, decisions)
        if shared:
            self.settled.keep(self.live.rows_of(windows))
        for span in self.live.decide(decisions, self._look):
            self._state.finals.append(span.start, span.end, span.label)

    def _learn(self, live: Live, windows: list[Window], decisions: Sequence[Decision]) -> None:
        """Give a live side the rows of windows, and of those that its decisions look at."""
        looked_at = [window for decision in decisions for window in decision.ahead]
        live.learn(self.embedding.at_once(live.missing([*windows, *looked_at])))

    def _live(self, state: LiveState) -> Live:
        return Live(
            self.models.config,
            latency=round((self.options.latency_s or 0) * SAMPLE_RATE),
            look_ahead=self.resampler.look_ahead,
            threshold=self.models.threshold(*[self.models.config.windows.length_s] * 2),
            bounds=self.options.bounds,
            state=state,
        )

    def _final_turns(self, first: int) -> list[Turn]:
        """The final spans from number `first` on, as turns; abutting ones of one speaker joined."""
        if self.live is None:
            return []
        return joined(
            as_turns((Span(*row) for row in self._state.finals.array(first).tolist()), self.live.names)
        )

    def _guess_live(self, live: Live) -> tuple[Turn, ...]:
        fork = self._live(live.fork())
        decisions, placed = fork.finish(self._state.num_samples)
        self._learn(fork, placed, decisions)
        return tuple(joined(as_turns(fork.decide(decisions, self._look), fork.names)))

    def _guess_settled(self) -> tuple[Turn, ...]:
        fork = self.settled.fork()
        fork.keep(self.embedding.would_be(fork.finish(self._state.num_samples)))
        fork.hear(self.overlap.would_be())
        return self._settled_result(fork).turns

    def _settled_result(self, settled: Settled) -> Diarization:
        return settled.result(self.duration, self.uri, self.options.known, self.options.one_to_one)


def restore(data: bytes, models: Models) -> Stream:
    """The stream that `Stream.state` made bytes of; FormatError or ConfigError if it cannot go on here."""
    saved: SavedStream = _saving.unpack(SavedStream, data)
    if saved.config != fingerprint(models.config):
        raise ConfigError(
            "the stream was saved under another configuration (its model, VAD, windows, clustering and live "
            "options must be the same); make the Diarizer with that one"
        )
    return Stream(models, saved.options, saved.state)
