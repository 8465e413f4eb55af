"""What the server refuses: a code for programs, a message for people, and how HTTP and WebSockets put it."""

from __future__ import annotations

from diarize.errors import DiarizeError

HTTP_STATUS = {
    "bad_request": 400,
    "unauthorised": 401,
    "forbidden": 403,
    "gone": 404,
    "too_slow": 408,
    "not_ready": 409,
    "too_long": 413,
    "unsupported": 415,
    "internal": 500,
    "busy": 503,
    "no_room": 507,
}

CLOSE_CODES = {
    "bad_request": 1008,
    "unauthorised": 1008,
    "forbidden": 1008,
    "gone": 1008,
    "too_slow": 1008,
    "too_long": 1009,
    "unsupported": 1003,
    "internal": 1011,
    "busy": 1013,
}


class Refusal(DiarizeError):
    """A request that is not done.

    code : one of `HTTP_STATUS`; the message says what must hold, what was got, what to do
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def status(self) -> int:
        """Of HTTP."""
        return HTTP_STATUS[self.code]

    @property
    def close_code(self) -> int:
        """Of a WebSocket."""
        return CLOSE_CODES[self.code]


def fault() -> Refusal:
    """What clients learn of an error that nobody foresaw."""
    return Refusal(
        "internal", "a fault of the server, which its log describes; try again, or tell its operator"
    )
