"""Live streams over real sockets: what comes out is what the file gives; whatever breaks, nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
from functools import cache

import numpy as np
import pytest
import websockets
from fakes import RATE, conversation, silence, speech
from server_running import QUICK, Running, Talk, fake_diarizer, pcm, run, serving

from diarize import Diarizer

SOUND = pcm(conversation(3, turns=8))


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("server"), max_streams=30, **QUICK) as running:
        yield running


def expected(samples: np.ndarray, rate: int = RATE, **asked) -> dict:
    """What the file gives, as JSON."""
    if samples is SOUND and rate == RATE and not asked:
        return usual()
    return json.loads(fake_diarizer()(samples, sample_rate=rate, uri="live", **asked).to("json"))


@cache
def usual() -> dict:
    return json.loads(fake_diarizer()(SOUND, sample_rate=RATE, uri="live").to("json"))


def finals(samples: np.ndarray, rate: int = RATE, **asked) -> list[tuple[float, float, str]]:
    """The final turns of the stream itself, pieces joined."""
    with fake_diarizer().stream(latency_s=2.0, sample_rate=rate, **asked) as live:
        live.push(samples)
        live.finish()
        return [(round(t.start, 7), round(t.end, 7), t.speaker) for t in live.finals]


def joined(turns: list[dict]) -> list[tuple[float, float, str]]:
    """Turns as they came, those joined that go on."""
    open_turns: dict[str, int] = {}
    found: list[list] = []
    for turn in turns:
        last = open_turns.get(turn["speaker"])
        if last is not None and found[last][1] == turn["start"]:
            found[last][1] = turn["end"]
            continue
        open_turns[turn["speaker"]] = len(found)
        found.append([turn["start"], turn["end"], turn["speaker"]])
    return sorted(tuple(turn) for turn in found)


async def whole(running: Running, samples: np.ndarray, size: int = 1600, **start) -> Talk:
    talk = await Talk(running.stream, {"format": "s16le"} | start).connect()
    await talk.send(samples, size)
    await talk.end()
    return talk


# Law 2 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1600, 333, 16000 * 20])
def test_the_result_is_that_of_the_file_and_the_finals_are_those_of_the_stream(running, size):
    talk = run(whole(running, SOUND, size))
    assert talk.done["result"] == expected(SOUND)
    assert talk.done["ended"] == "finish"
    assert talk.code == 1000
    assert talk.done["seq"] == len(talk.turns) > 0
    assert joined(talk.turns) == sorted(finals(SOUND))


def test_floats_and_another_rate(running):
    samples = np.repeat(conversation(5, turns=4), 3).astype("<f4")
    talk = run(whole(running, samples, format="f32le", sample_rate=48000))
    assert talk.done["result"] == expected(samples, 48000)


def test_bytes_cut_inside_samples(running):
    async def odd() -> Talk:
        talk = await Talk(running.stream).connect()
        data = SOUND.tobytes()
        for first in range(0, len(data), 3201):
            await talk.socket.send(data[first : first + 3201])
        await talk.end()
        return talk

    assert run(odd()).done["result"] == expected(SOUND)


def test_counts_and_the_name_are_handed_on(running):
    talk = run(whole(running, SOUND, num_speakers=2, name="stand-up"))
    found = talk.done["result"]
    assert found["uri"] == "stand-up"
    assert len(found["speakers"]) == 2
    assert found["turns"] == expected(SOUND, num_speakers=2)["turns"]


def test_guesses_follow_the_sound_and_can_be_left_out(running):
    async def slowly(guesses: bool) -> Talk:
        talk = await Talk(running.stream, {"format": "s16le", "guesses": guesses}).connect()
        await talk.began()
        for first in range(0, 8 * RATE, RATE):
            await talk.send(SOUND[first : first + RATE])
            await asyncio.sleep(0.25)
        await talk.end()
        return talk

    told = [m for m in run(slowly(True)).messages if m["type"] == "guess"]
    assert 2 <= len(told) <= 5, "at most two a second"
    assert [m["at"] for m in told] == sorted(m["at"] for m in told)
    assert all(turn["end"] <= m["at"] + 1e-6 for m in told for turn in m["turns"])
    assert any(m["turns"] for m in told)
    assert not [m for m in run(slowly(False)).messages if m["type"] == "guess"]


def test_nothing_at_all_is_an_empty_result(running):
    talk = run(whole(running, SOUND[:0]))
    assert talk.done["result"]["turns"] == []
    assert talk.done["seq"] == 0


# What is lost ------------------------------------------------------------------------------------


def test_lost_sound_counts_as_time(running):
    a, b = pcm(speech(0.0, 4.0, np.random.default_rng(0))), pcm(speech(0.4, 4.0, np.random.default_rng(1)))

    async def gap() -> Talk:
        talk = await Talk(running.stream).connect()
        await talk.send(a)
        await talk.tell({"type": "at", "seconds": 34.5})
        await talk.send(b)
        await talk.end()
        return talk

    between = pcm(silence(30.5))
    assert run(gap()).done["result"] == expected(np.concatenate([a, between, b]))


@pytest.mark.parametrize("seed", range(3))
def test_a_stream_goes_on_after_its_connection_broke(running, seed):
    """Cut at random places, as often as not between sending and receiving; what was kept is sent again."""
    rng = np.random.default_rng(seed)

    async def broken() -> Talk:
        talk = await Talk(running.stream).connect()
        await talk.began()
        for _ in range(6):
            place = round(talk.received_s * RATE)
            await talk.send(
                SOUND[place : place + int(rng.integers(1, 8 * RATE))], int(rng.integers(400, 9000))
            )
            await asyncio.sleep(float(rng.choice([0.0, 0.02, 0.1])))
            talk.drop()
            await talk.listening
            await talk.connect()
            await talk.began()
        await talk.send(SOUND[round(talk.received_s * RATE) :])
        await talk.end()
        return talk

    talk = run(broken())
    assert talk.done["result"] == expected(SOUND)
    assert joined(talk.turns) == sorted(finals(SOUND))


def test_what_became_final_meanwhile_follows_at_once(running):
    async def away() -> tuple[Talk, list[dict]]:
        talk = await Talk(running.stream).connect()
        await talk.began()
        await talk.send(SOUND)
        session = running.server.hub.sessions[talk.stream]
        await talk.until(lambda: session.received == len(SOUND))
        talk.drop()
        await talk.listening
        await talk.until(lambda: not session._pending and session.listener is None)
        await asyncio.sleep(0.2)
        had = len(talk.turns)
        await talk.connect()
        await talk.began()
        assert talk.received_s == len(SOUND) / RATE
        await talk.end()
        assert len(session.finals) >= had
        return talk, talk.messages

    talk, _ = run(away())
    assert talk.done["result"] == expected(SOUND)


def test_a_result_that_nobody_heard_is_there_after_resuming(running):
    async def deaf() -> Talk:
        talk = await Talk(running.stream).connect()
        await talk.began()
        await talk.send(SOUND)
        await talk.tell({"type": "finish"})
        await asyncio.sleep(0)
        talk.drop()
        await talk.listening
        session = running.server.hub.sessions[talk.stream]
        if session.ended is None:  # the drop came first: say it again
            await talk.connect()
            await talk.began()
            await talk.send(SOUND[round(talk.received_s * RATE) :])
            await talk.tell({"type": "finish"})
            await talk.until(lambda: session.ended)
            talk.drop()
            await talk.listening
        await talk.until(lambda: session.result)
        await talk.connect()
        await talk.listening
        return talk

    talk = run(deaf())
    assert talk.done["result"] == expected(SOUND)
    assert joined(talk.turns) == sorted(finals(SOUND))


def test_the_newer_connection_takes_over(running):
    async def twice() -> tuple[Talk, Talk]:
        old = await (await Talk(running.stream).connect()).began()
        await old.send(SOUND[: 5 * RATE])
        await old.until(lambda: running.server.hub.sessions[old.stream].received == 5 * RATE)
        new = Talk(running.stream, stream=old.stream)
        await (await new.connect()).began()
        await old.listening
        await new.send(SOUND[5 * RATE :])
        await new.end()
        return old, new

    old, new = run(twice())
    assert (old.error["code"], old.code) == ("gone", 1008)
    assert new.done["result"] == expected(SOUND)


def test_a_stream_without_a_client_is_forgotten(tmp_path):
    with serving(tmp_path, resume_s=0.3, **QUICK) as running:

        async def late() -> Talk:
            talk = await (await Talk(running.stream).connect()).began()
            talk.drop()
            await talk.listening
            await talk.until(lambda: not running.server.hub.sessions)
            await talk.connect()
            await talk.listening
            return talk

        talk = run(late())
        assert (talk.error["code"], talk.code) == ("gone", 1008)
        assert "start a new one" in talk.error["message"]


# Many --------------------------------------------------------------------------------------------


def test_ten_clients_slow_and_vanishing_ones_included_lose_nothing_of_each_other(running):
    sounds = [pcm(conversation(10 + k, turns=6)) for k in range(10)]

    async def client(k: int) -> Talk:
        rng = np.random.default_rng(k)
        talk = await (await Talk(running.stream, {"format": "s16le", "name": "live"}).connect()).began()
        half = len(sounds[k]) // 2
        for first in range(0, half, 4000):
            await talk.send(sounds[k][first : min(first + 4000, half)])
            await asyncio.sleep(float(rng.uniform(0, 0.04)) * (k % 3))
        if k % 5 == 4:  # vanishes for good
            talk.drop()
            await talk.listening
            return talk
        if k % 2:  # vanishes for a while
            talk.drop()
            await talk.listening
            await asyncio.sleep(float(rng.uniform(0, 0.5)))
            await (await talk.connect()).began()
            half = round(talk.received_s * RATE)
        await talk.send(sounds[k][half:])
        await talk.end()
        return talk

    async def all_of_them() -> list[Talk]:
        return await asyncio.gather(*map(client, range(10)))

    for k, talk in enumerate(run(all_of_them())):
        if k % 5 == 4:
            assert talk.done is None
            continue
        assert talk.done["result"] == expected(sounds[k]), k
        assert joined(talk.turns) == sorted(finals(sounds[k])), k


def test_over_the_limit_is_busy_and_harms_nobody(tmp_path):
    with serving(tmp_path, max_streams=2, **QUICK) as running:

        async def three() -> tuple[Talk, Talk]:
            one, other = [await (await Talk(running.stream).connect()).began() for _ in range(2)]
            third = await Talk(running.stream).connect()
            await third.listening
            await one.send(SOUND)
            await one.end()
            again = await (await Talk(running.stream).connect()).began()
            assert again.stream
            assert other.error is None
            return one, third

        one, third = run(three())
        assert (third.error["code"], third.code) == ("busy", 1013)
        assert "at most 2 streams" in third.error["message"]
        assert one.done["result"] == expected(SOUND)


def test_a_machine_that_is_behind_lets_nobody_else_in(running, monkeypatch):
    monkeypatch.setattr(type(running.server.hub), "lag_s", 3.0)

    async def late() -> Talk:
        talk = await Talk(running.stream).connect()
        await talk.listening
        return talk

    talk = run(late())
    assert (talk.error["code"], talk.code) == ("busy", 1013)
    assert "a push takes 3.0 s" in talk.error["message"]


def test_the_longest_stream_is_finished(tmp_path):
    with serving(tmp_path, max_stream_s=10.0, **QUICK) as running:

        async def long() -> Talk:
            talk = await Talk(running.stream).connect()
            with contextlib.suppress(websockets.ConnectionClosed):
                for _ in range(3):
                    await talk.send(SOUND, 8000)
            await talk.listening
            return talk

        talk = run(long())
        assert talk.done["ended"] == "too_long"
        assert talk.done["result"] == expected(SOUND[: 10 * RATE])


# The real networks -------------------------------------------------------------------------------


def test_with_the_real_networks(tmp_path, real_diarizer: Diarizer, sample_wav):
    from diarize.audio import read_audio

    samples = pcm(read_audio(sample_wav))
    with serving(tmp_path, real_diarizer, **QUICK) as running:
        talk = run(whole(running, samples))
    whole_file = json.loads(real_diarizer(samples, sample_rate=RATE, uri="live").to("json"))
    assert talk.done["result"] == whole_file
    assert len(whole_file["speakers"]) == 2
    assert talk.turns
