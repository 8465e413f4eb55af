"""Everything this package raises on purpose.

    DiarizeError
    ├── AudioError      (also ValueError)    a recording or an array that cannot be used
    ├── ConfigError     (also ValueError)    an option that does not exist or does not fit
    ├── CorrectionError (also ValueError)    a correction that these turns do not allow
    ├── FormatError     (also ValueError)    an RTTM, UEM, ... file that breaks its format
    ├── ModelError      (also RuntimeError)  weights that cannot be found, fetched or loaded
    └── StreamFinished  (also RuntimeError)  a stage or stream used after ``finish()``

A message says what must hold, what was got, and what to do about it.
"""


class DiarizeError(Exception):
    """Root of every error that diarize raises on purpose."""


class AudioError(DiarizeError, ValueError):
    """The audio cannot be used: not audio, empty, truncated, NaN, of the wrong shape."""


class ConfigError(DiarizeError, ValueError):
    """An option is unknown, of the wrong type or out of range."""


class CorrectionError(DiarizeError, ValueError):
    """A correction is not possible: no such speaker, nobody there, nothing to undo."""


class FormatError(DiarizeError, ValueError):
    """A file breaks its format; the message names the file and the line."""


class ModelError(DiarizeError, RuntimeError):
    """Weights are missing, damaged, refused or not of a known network."""


class StreamFinished(DiarizeError, RuntimeError):
    """Something was pushed after ``finish()``; make a new stream for new audio."""

    def __init__(self, what: str = "this stream") -> None:
        super().__init__(f"{what} is finished; make a new one for new audio")


class SpeakerCountWarning(UserWarning):
    """More speakers were asked for than there are windows of speech to give them."""
