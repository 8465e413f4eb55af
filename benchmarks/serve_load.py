"""How many live clients `diarize serve` carries in real time, and what drops and reconnects do to it.

    python benchmarks/serve_load.py many FOLDER --streams 5,10,20,30
        so many clients at once, one number after another, each sending 100 ms at a time as the clock brings
        it: how long after its sound a final turn is there, and who was refused
    python benchmarks/serve_load.py drops FOLDER --minutes 60
        ten clients, whose connections break at random; what was kept is sent again, what was lost is said;
        every final turn must be there once, every result that of the file, and the memory must stay flat

The server is a process of its own, with its real limits; FOLDER holds recordings.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import websockets
from numpy.typing import NDArray
from streaming import COMPUTING_S, long_audio, pieces, recordings

from diarize import Diarizer
from diarize.audio import SAMPLE_RATE
from diarize.engine.machine import available_cores

PIECE = SAMPLE_RATE // 10
APART_S = 0.137
"""Clients begin a little after one another, as people do."""


@contextmanager
def serving(*options: str) -> Iterator[tuple[str, psutil.Process]]:
    """A server on a free port."""
    with tempfile.TemporaryDirectory() as data:
        command = [sys.executable, "-m", "diarize", "serve", "--port", "0", "--data", data, *options]
        server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            line = next(line for line in server.stderr or () if "serving on" in line)
            address = re.search(r"http://(\S+);", line)
            if address is None:
                sys.exit(f"no address in {line!r}")
            yield f"ws://{address[1]}/v1/stream", psutil.Process(server.pid)
        finally:
            server.terminate()
            server.wait(20)


@dataclass
class Client:
    """One live stream: what was sent, what came.

    sound : int16 at 16 kHz; what is lost on the way is silence in it from then on
    """

    url: str
    sound: NDArray[np.int16]
    latency_s: float
    guesses: bool = True
    begun: float = 0.0
    stream: str | None = None
    received: int = 0
    turns: list[dict[str, Any]] = field(default_factory=list)
    ages: list[float] = field(default_factory=list)
    guessed: int = 0
    wrong: list[str] = field(default_factory=list)
    refused: str | None = None
    done: dict[str, Any] | None = None
    connections: int = 0
    socket: Any = None

    async def connect(self) -> None:
        """Begin, or go on."""
        self.socket = await websockets.connect(self.url, max_size=None, ping_interval=None, compression=None)
        start = {"type": "start", "format": "s16le", "latency_s": self.latency_s, "guesses": self.guesses}
        again = {"type": "start", "resume": self.stream, "have": len(self.turns)}
        await self.socket.send(json.dumps(again if self.stream else start))
        said = json.loads(await self.socket.recv())
        if said["type"] == "error":
            self.refused = f"{said['code']}: {said['message']}"
            return
        self.stream, self.received = said["stream"], round(said["received_s"] * SAMPLE_RATE)
        self.connections += 1

    async def listen(self) -> None:
        """Take what comes, until the connection ends."""
        try:
            async for text in self.socket:
                said = json.loads(text)
                if said["type"] == "turn":
                    if said["seq"] != len(self.turns) + 1:
                        self.wrong.append(f"turn {said['seq']} after {len(self.turns)}")
                    self.turns.append(said)
                    self.ages.append(time.monotonic() - self.begun - said["start"])
                elif said["type"] == "guess":
                    self.guessed += 1
                elif said["type"] == "done":
                    self.done = said
                elif said["type"] == "error":
                    self.wrong.append(f"{said['code']}: {said['message']}")
        except websockets.ConnectionClosed:
            pass

    async def send(self, first: int, until: int, speed: float = 1.0) -> None:
        """The samples from one to another, each piece when its last sample would be there."""
        for start in range(first, until, PIECE):
            end = min(start + PIECE, until)
            await asyncio.sleep(max(0.0, self.begun + end / SAMPLE_RATE / speed - time.monotonic()))
            await self.socket.send(self.sound[start:end].tobytes())

    async def live(self) -> None:
        """One connection, from the first sample to the result."""
        await self.connect()
        if self.refused:
            return
        self.begun = time.monotonic()
        listening = asyncio.create_task(self.listen())
        await self.send(0, len(self.sound))
        await self.socket.send('{"type": "finish"}')
        await listening

    async def dropping(self, rng: random.Random, speed: float, every_s: float) -> None:
        """Connections that break every now and then, with what was not acknowledged kept, or lost."""
        await self.connect()
        if self.refused:
            return
        self.begun = time.monotonic()
        place = 0
        while True:
            listening = asyncio.create_task(self.listen())
            lasts = round(rng.expovariate(1 / every_s) * SAMPLE_RATE) + PIECE
            until = min(place + lasts, len(self.sound))
            await self.send(place, until, speed)
            if until == len(self.sound):
                await self.socket.send('{"type": "finish"}')
                if rng.random() < 0.7:
                    await listening
                    return
            self.socket.transport.abort()
            await listening
            if self.done:
                return
            await asyncio.sleep(rng.choice([0.0, 0.2, 1.0, 5.0, rng.uniform(0, 20)]) / speed)
            await self.connect()
            if self.refused:
                return
            place = self.received
            now = min(round((time.monotonic() - self.begun) * speed * SAMPLE_RATE), len(self.sound))
            if rng.random() < 0.5 and now > place:  # it was not kept
                self.sound[place:now] = 0
                await self.socket.send(json.dumps({"type": "at", "seconds": now / SAMPLE_RATE}))
                place = now


def int16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Samples in [-1, 1] as they go over the wire."""
    return np.round(np.clip(samples, -1, 1) * 32767).astype("<i2")


def many(
    folder: Path, counts: list[int], latency_s: float, seconds: float, guesses: bool, limit: bool
) -> None:
    """Clients side by side in real time."""
    parts = recordings(folder)
    print(
        f"{available_cores()} cores, latency {latency_s} s, {seconds:g} s of sound a client, "
        f"100 ms a message, {'with' if guesses else 'without'} guesses"
    )
    print("clients  refused  final turn after s: median  95 %  worst  guesses a s  CPU %  MB  kept")
    with serving(*([] if limit else ["--max-streams", "500"])) as (url, server):
        asyncio.run(warm(url, parts[0]))
        for count in counts:
            sounds = [
                next(pieces(long_audio(parts, k, 0.5), int(seconds * SAMPLE_RATE))) for k in range(count)
            ]
            clients = [Client(url, int16(sound), latency_s, guesses) for sound in sounds]
            begun, before = time.monotonic(), sum(server.cpu_times()[:2])
            asyncio.run(side_by_side(clients))
            cpu = (
                100 * (sum(server.cpu_times()[:2]) - before) / (time.monotonic() - begun) / available_cores()
            )
            served = [client for client in clients if client.done]
            ages = sorted(age for client in served for age in client.ages)
            refused = [client.refused for client in clients if client.refused]
            kept = "yes" if ages and ages[-1] <= latency_s + COMPUTING_S else "no"
            rate = statistics.mean(client.guessed for client in served) / seconds if served else 0
            median, most = statistics.median(ages), ages[int(0.95 * len(ages))]
            print(
                f"{count:7d}  {len(refused):7d}  {median:26.2f}  {most:4.2f}  {ages[-1]:5.2f}  {rate:11.2f}  "
                f"{cpu:5.0f}  {server.memory_info().rss / 1e6:.0f}  {kept}",
                flush=True,
            )
            for said in sorted(set(refused)):
                print(f"    refused: {said}")
            for client in clients:
                for said in client.wrong:
                    print(f"    wrong: {said}")


async def warm(url: str, sound: NDArray[np.float32]) -> None:
    """The networks run once."""
    client = Client(url, int16(sound[: 10 * SAMPLE_RATE]), 2.0)
    await client.live()


async def side_by_side(clients: list[Client]) -> None:
    """All of them, begun a little apart."""

    async def late(k: int, client: Client) -> None:
        await asyncio.sleep(APART_S * k)
        await client.live()

    await asyncio.gather(*(late(k, client) for k, client in enumerate(clients)))


def drops(folder: Path, minutes: float, count: int, latency_s: float, speed: float, every_s: float) -> None:
    """Clients whose connections break."""
    parts = recordings(folder)
    rng = random.Random(0)
    with serving() as (url, server):
        asyncio.run(warm(url, parts[0]))
        held: list[float] = []
        clients = asyncio.run(
            breaking(url, parts, rng, minutes, count, latency_s, speed, every_s, server, held)
        )
    lost = [client for client in clients if client.done is None]
    print(f"streams {len(clients)}, connections {sum(client.connections for client in clients)}")
    for client in lost:
        print(f"    no result: {client.refused or client.wrong}")
    for client in clients:
        for said in client.wrong:
            print(f"    wrong: {said}")
    print("memory of the server, MB: " + " ".join(f"{mb:.0f}" for mb in held))
    print("comparing every stream with the same samples in one piece ...", flush=True)
    different = sum(not same(client) for client in clients if client.done)
    turns = sum(len(client.turns) for client in clients)
    print(f"streams that differ: {different}; final turns compared: {turns}")
    sys.exit(bool(lost or different or any(client.wrong for client in clients)))


async def breaking(
    url: str, parts: list[NDArray[np.float32]], rng: random.Random, minutes: float, count: int,
    latency_s: float, speed: float, every_s: float, server: psutil.Process, held: list[float],
) -> list[Client]:  # fmt: skip
    """One recording after another, in each of so many places, until the time is over."""
    over = time.monotonic() + 60 * minutes
    clients: list[Client] = []

    async def place(k: int) -> None:
        mine = random.Random(rng.random() + k)
        while (left := over - time.monotonic()) > 5:
            seconds = min(mine.uniform(30, 600), left * speed)
            sound = next(pieces(long_audio(parts, mine.randrange(1 << 30), 1.0), int(seconds * SAMPLE_RATE)))
            client = Client(url, int16(sound), latency_s)
            clients.append(client)
            await client.dropping(mine, speed, every_s)

    async def watch() -> None:
        while True:
            held.append(server.memory_info().rss / 1e6)
            await asyncio.sleep(max(5.0, 2 * minutes))

    watching = asyncio.create_task(watch())
    await asyncio.gather(*map(place, range(count)))
    watching.cancel()
    held.append(server.memory_info().rss / 1e6)
    return clients


DIARIZER: list[Diarizer] = []


def same(client: Client) -> bool:
    """Whether final turns and result are those of the same samples in one piece."""
    DIARIZER[:] = DIARIZER or [Diarizer()]
    with DIARIZER[0].stream(latency_s=client.latency_s, uri="live") as stream:
        stream.push(client.sound)
        stream.finish()
        finals = [(round(t.start, 6), round(t.end, 6), t.speaker) for t in stream.finals]
        result = json.loads(stream.result().to("json"))
    came: list[list[Any]] = []
    last: dict[str, list[Any]] = {}
    for turn in client.turns:
        before = last.get(turn["speaker"])
        if before is not None and before[1] == turn["start"]:
            before[1] = turn["end"]
            continue
        last[turn["speaker"]] = [turn["start"], turn["end"], turn["speaker"]]
        came.append(last[turn["speaker"]])
    whole = sorted((round(start, 6), round(end, 6), who) for start, end, who in came)
    return whole == sorted(finals) and client.done is not None and client.done["result"] == result


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("many", "drops"))
    parser.add_argument("recordings", type=Path)
    parser.add_argument("--latency", type=float, default=2.0, help="seconds")
    parser.add_argument("--streams", default="5,10,20,30", help="many: how many at once, one after another")
    parser.add_argument("--seconds", type=float, default=30.0, help="many: of sound a client")
    parser.add_argument("--no-guesses", action="store_true", help="many: clients want none")
    parser.add_argument("--limit", action="store_true", help="many: with the server's own limit of streams")
    parser.add_argument("--minutes", type=float, default=60.0, help="drops: how long")
    parser.add_argument("--clients", type=int, default=10, help="drops: how many at once")
    parser.add_argument("--speed", type=float, default=1.0, help="drops: of the clock, at most 2")
    parser.add_argument(
        "--every", type=float, default=20.0, help="drops: seconds of sound between two, on average"
    )
    given = parser.parse_args()
    if given.what == "many":
        counts = [int(n) for n in given.streams.split(",")]
        many(given.recordings, counts, given.latency, given.seconds, not given.no_guesses, given.limit)
    else:
        drops(given.recordings, given.minutes, given.clients, given.latency, given.speed, given.every)


if __name__ == "__main__":
    main()
