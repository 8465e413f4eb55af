"""Counters of one server, as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

PUSH_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """What there is to count; each server has its own."""

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.started = Counter("diarize_streams_started", "Live streams begun.", registry=registry)
        self.resumed = Counter("diarize_streams_resumed", "Live streams taken up again.", registry=registry)
        self.refused = Counter(
            "diarize_refused", "What was refused, by reason.", ["reason"], registry=registry
        )
        self.unread = Counter(
            "diarize_unread", "Connections ended because their answers were not read.", registry=registry
        )
        self.audio = Counter("diarize_live_audio_seconds", "Sound of live streams.", registry=registry)
        self.turns = Counter("diarize_live_turns", "Final turns sent.", registry=registry)
        self.push = Histogram(
            "diarize_push_seconds",
            "How long a push of a live stream takes.",
            buckets=PUSH_S,
            registry=registry,
        )
        self.files = Counter("diarize_recordings", "Files that came to an end.", ["state"], registry=registry)
        self.files_audio = Counter("diarize_recordings_audio_seconds", "Sound of files.", registry=registry)

    def watch(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """A number that is asked for when it is read."""
        Gauge(name, meaning, registry=self.registry).set_function(value)

    def pushed(self, seconds: float, audio_s: float) -> None:
        """A push of a live stream."""
        self.push.observe(seconds)
        self.audio.inc(audio_s)

    def text(self) -> bytes:
        """All of it."""
        return generate_latest(self.registry)
