"""Channels for speech, simulated: the band of a telephone and codecs at low rates, through FFmpeg.

They stand in for recordings over real lines, which have echo, noise and lost packets besides.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diarize.audio import SAMPLE_RATE, read_audio


@dataclass(frozen=True)
class Channel:
    """A codec in a container at a rate in Hz, and the band in Hz that reaches it."""

    codec: str
    container: str
    rate: int = SAMPLE_RATE
    bit_rate: int | None = None
    band: tuple[float, float] | None = None


CHANNELS = {
    "telephone": Channel("pcm_mulaw", "wav", rate=8000, band=(300, 3400)),  # G.711
    "mobile": Channel("libopencore_amrnb", "amr", rate=8000, bit_rate=5900, band=(200, 3400)),  # GSM's AMR
    "opus": Channel("libopus", "ogg", bit_rate=8000),
    "mp3": Channel("libmp3lame", "mp3", bit_rate=16000),
}


def through(samples: NDArray[np.float32], channel: Channel) -> NDArray[np.float32]:
    """What comes out of a channel, (m,) float32 at 16 kHz, for samples (n,) at 16 kHz."""
    import av
    from scipy.signal import butter, resample_poly, sosfiltfilt

    if channel.band is not None:
        samples = sosfiltfilt(butter(4, channel.band, "bandpass", fs=SAMPLE_RATE, output="sos"), samples)
    if channel.rate != SAMPLE_RATE:
        samples = resample_poly(samples, channel.rate // 8000, SAMPLE_RATE // 8000)
    pcm = np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=channel.container) as file:
        stream = file.add_stream(channel.codec, rate=channel.rate, layout="mono")
        if channel.bit_rate:
            stream.bit_rate = channel.bit_rate
        frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
        frame.sample_rate = channel.rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            file.mux(packet)
    buffer.seek(0)
    return read_audio(buffer)
