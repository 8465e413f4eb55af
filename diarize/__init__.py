"""Streaming speaker diarization: who spoke when, and is this the same voice."""

__version__ = "0.1.0.dev0"
