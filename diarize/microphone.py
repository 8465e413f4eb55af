"""A microphone as a source of sound for streams; it needs the extra `mic`.

Blocks are recorded on a thread of PortAudio's and wait in a queue, so that nothing is lost while a stream
is busy. What is lost all the same becomes a jump on the clock, never a shift of all that follows.
"""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from diarize._pcm import Layout
from diarize.audio import Samples
from diarize.errors import AudioError, DiarizeError
from diarize.sources import Piece, SoundSource

logger = logging.getLogger("diarize")


class Microphone(SoundSource):
    """What a microphone hears, from the first piece asked for until it is closed.

    device : number or part of the name; None is the system's default
    sample_rate : Hz; None is the device's own
    channels : to record; channel : 0-based, which of them to take; None averages them
    queue_s : seconds that may wait to be taken; what comes beyond is lost, counted, and a jump in `at`

    Raises DiarizeError without sounddevice or PortAudio, AudioError for a device that cannot record so.
    """

    BLOCK_S = 0.05

    def __init__(
        self,
        device: int | str | None = None,
        *,
        sample_rate: int | None = None,
        channels: int | None = None,
        channel: int | None = None,
        queue_s: float = 30.0,
    ) -> None:
        sd = sounddevice()
        self._refused: type[Exception] = sd.PortAudioError
        count = channels or (1 if channel is None else channel + 1)
        try:
            found = sd.query_devices(device, "input")
            rate = int(sample_rate or found["default_samplerate"])
            self._layout = Layout(rate, "f32le", count, channel)
            self._stream = sd.InputStream(
                device=device,
                samplerate=rate,
                channels=count,
                dtype="float32",
                blocksize=round(self.BLOCK_S * rate),
                callback=self._heard,
            )
        except (sd.PortAudioError, ValueError) as error:
            if isinstance(error, AudioError):
                raise
            which = "the default microphone" if device is None else f"microphone {device!r}"
            raise AudioError(f"{which}: {error}{inputs(sd)}") from None
        self.name = f"microphone {found['name']}"
        self.sample_rate = rate
        self._queue: queue.Queue[tuple[Samples, int]] = queue.Queue(max(1, round(queue_s / self.BLOCK_S)))
        self._heard_to = 0  # samples since the start, lost ones included
        self._last_adc = 0.0

    def close(self) -> None:
        """Stop recording."""
        self._stream.close()

    def __iter__(self) -> Iterator[Piece]:
        self.begun = time.time()
        try:
            self._stream.start()
        except self._refused as error:
            raise AudioError(f"{self.name}: cannot record: {error}") from None
        expected, said = 0, 0.0
        while True:
            try:
                samples, position = self._queue.get(timeout=1.0)
            except queue.Empty:
                if not self._stream.active:
                    raise AudioError(f"{self.name}: stopped; was it unplugged?") from None
                continue
            self.waiting_s = self._queue.qsize() * self.BLOCK_S
            at = None
            if position != expected:
                at = position / self.sample_rate
                self.lost_s += (position - expected) / self.sample_rate
                if self.lost_s >= 2 * said:  # not at every block of a machine that is too slow
                    said = self.lost_s
                    logger.warning(
                        "%s: %.2f s of sound lost by %.1f s, silence in its place; is the machine too busy?",
                        self.name,
                        self.lost_s,
                        at,
                    )
            expected = position + len(samples)
            yield samples, at

    def _heard(self, block: Samples, frames: int, times: Any, status: Any) -> None:
        """Take a block (frames, channels); PortAudio calls this on a thread of its own."""
        adc = times.inputBufferAdcTime or times.currentTime
        if status.input_overflow and self._heard_to:  # before this block; the converter's clock tells
            self._heard_to += max(0, round((adc - self._last_adc) * self.sample_rate))
        with suppress(queue.Full):  # a gap, which the next block's place shows
            self._queue.put_nowait((self._layout.mono(block.copy()), self._heard_to))
        self._heard_to += frames
        self._last_adc = adc + frames / self.sample_rate


def sounddevice() -> Any:
    """The package that records, or DiarizeError with the line that installs what is missing."""
    try:
        import sounddevice as sd
    except ImportError:
        raise DiarizeError(
            "the microphone needs the package sounddevice; run: pip install 'diarize-campplus[mic]'"
        ) from None
    except OSError as error:  # the package is there, the library it stands on is not
        raise DiarizeError(
            f"the microphone needs the system's PortAudio ({error}); on Debian or Ubuntu run: "
            "apt install libportaudio2"
        ) from None
    return sd


def inputs(sd: Any) -> str:
    """What can record here, as the end of a message."""
    names = [f"{d['index']} {d['name']!r}" for d in sd.query_devices() if d["max_input_channels"] > 0]
    return f"; devices that record: {', '.join(names)}" if names else "; no device here records"
