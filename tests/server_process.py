"""A server with quick networks in a process of its own, to be killed: server_process.py FOLDER SLOWNESS"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import uvicorn
from fakes import FakeEmbedder, FakeSegmenter, FakeVad

from diarize import Diarizer
from diarize.server import ServerOptions, create_app
from diarize.server.wire import address_of, config_of, listen


class SlowEmbedder(FakeEmbedder):
    """Each tile takes so many seconds longer."""

    def __init__(self, seconds: float) -> None:
        super().__init__(0.1)
        self.seconds = seconds

    def _tile(self, samples, spans, turn):
        time.sleep(self.seconds)
        return super()._tile(samples, spans, turn)


def main() -> None:
    folder, slowness = sys.argv[1:]
    diarizer = Diarizer(embedder=SlowEmbedder(float(slowness)), vad=FakeVad(), segmenter=FakeSegmenter())
    options = ServerOptions(data=Path(folder))
    with listen("127.0.0.1", 0) as heard:
        app = create_app(diarizer, options)
        print(address_of(heard), flush=True)
        uvicorn.Server(config_of(app, options, app.state.server.metrics.unread.inc)).run(sockets=[heard])


if __name__ == "__main__":
    main()
