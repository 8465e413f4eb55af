"""Two files over HTTP: is this the same voice."""

from __future__ import annotations

import asyncio

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from diarize.audio import SAMPLE_RATE, Samples, stream_audio
from diarize.errors import DiarizeError
from diarize.result import Verdict
from diarize.server.jobs import Jobs, named
from diarize.server.refusals import Refusal
from diarize.server.spool import Upload, uploads

LONGEST_S = 600.0
"""Of a voice; all of it is in memory at once."""


def routes(jobs: Jobs) -> list[BaseRoute]:
    """What there is to ask for."""
    one = asyncio.Semaphore(1)

    async def verify(request: Request) -> Response:
        files = await uploads(request, jobs.uploads, jobs.options, ("a", "b"))
        try:
            async with one:
                verdict = await asyncio.to_thread(compare, jobs, files)
        finally:
            for file in files:
                file.discard()
        return JSONResponse(
            {
                "same": verdict.same,
                "score": round(float(verdict.score), 4),
                "threshold": round(float(verdict.threshold), 4),
                "probability": verdict.probability,
                "enough": verdict.enough,
                "speech_s": verdict.speech_s,
            }
        )

    return [Route("/v1/verify", verify, methods=["POST"])]


def compare(jobs: Jobs, files: list[Upload]) -> Verdict:
    """The verdict on two files."""
    try:
        a, b = (samples_of(file, name) for file, name in zip(files, "ab", strict=True))
        return jobs.diarizer.verify(a, b, sample_rate=SAMPLE_RATE)
    except Refusal:
        raise
    except DiarizeError as error:
        raise Refusal("unsupported", str(error)) from None


def samples_of(upload: Upload, name: str) -> Samples:
    """The samples (n,) of a file; Refusal where there are too many."""
    held: list[Samples] = [np.zeros(0, np.float32)]
    count = 0
    with named(upload.path, upload.name or name) as file:
        for piece in stream_audio(file):
            held.append(piece)
            count += len(piece)
            if count > LONGEST_S * SAMPLE_RATE:
                raise Refusal("too_long", f"a voice must have at most {LONGEST_S:g} s, {name} has more")
    return np.concatenate(held)
