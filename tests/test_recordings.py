"""The whole pipeline with the real networks on real recordings."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from fakes import cuts
from pyannote.core import Segment

from diarize import DiarizeError, Diarizer
from diarize.audio import read_audio
from diarize.formats.rttm import read_rttm
from diarize.formats.uem import read_uem
from diarize.scoring import aggregate, mapping, score, scored_part

SOUND = (".flac", ".mp3")


def recordings(folder):
    return [path for path in sorted(folder.iterdir()) if path.suffix in SOUND]


# DER with collar 0 and overlap scored, and the share of exact counts, of senko 0.2.2 on the same recordings.
PEER = {"conversations": (0.246, 0.54), "composed": (0.195, 0.61)}


@pytest.fixture(scope="module")
def diarized(data, real_diarizer):
    """The recordings of a folder: reference, scored parts, diarization of each."""

    @cache
    def of(name):
        found = []
        for path in recordings(data / name):
            (reference,) = read_rttm(path.with_suffix(".rttm")).values()
            uem = path.with_suffix(".uem")
            parts = next(iter(read_uem(uem).values())) if uem.exists() else None
            found.append((reference, parts, real_diarizer(path)))
        return found

    return of


@pytest.mark.parametrize("name", PEER)
def test_not_worse_than_the_peer_with_the_same_network(name, diarized):
    scores = [score(reference, found.annotation, uem=parts) for reference, parts, found in diarized(name)]
    overall = aggregate(scores)
    der, exact = PEER[name]
    assert len(scores) >= 13
    assert overall.der <= der
    assert round(overall.exact_count, 2) >= exact


def test_of_turns_given_nine_tenths_nine_in_ten_are_right(diarized):
    said, right = [], []
    for reference, _, found in diarized("composed"):
        annotation = found.annotation
        mapped = mapping(reference, annotation, uem=scored_part(reference, annotation))
        for turn in found:
            spoken = reference.label_timeline(mapped.get(turn.speaker)).support()
            inside = spoken.crop(Segment(turn.start, turn.end)).duration()
            said.append(turn.confidence)
            right.append(inside >= turn.duration / 2)
    said, right = np.array(said), np.array(right)
    for low, high in ((0.0, 0.9), (0.9, 0.97), (0.97, 1.0)):
        here = (said >= low) & (said < high)
        assert here.sum() > 50
        assert abs(right[here].mean() - said[here].mean()) < 0.1
    assert right[said >= 0.97].mean() > 0.97 > 0.8 > right[said < 0.9].mean()


@pytest.mark.parametrize("folder", ["formats", "corrupt", "negatives"])
def test_every_file_gives_a_result_or_a_clear_error(folder, data, real_diarizer):
    files = sorted((data / folder / "audio").iterdir())
    assert len(files) > 10
    refused = []
    for path in files:
        try:
            found = real_diarizer(path)
        except DiarizeError as error:
            refused.append((path.name, str(error)))
        else:
            assert all(0 <= turn.start < turn.end <= found.duration for turn in found)
    assert len(refused) < len(files)
    assert all(name in message and "\n" not in message for name, message in refused)
    if folder != "corrupt":  # two of the formats are films without sound
        assert [name for name, message in refused if "(it holds: video" not in message] == []


def test_laws_with_the_real_networks(real_diarizer, sample_wav):
    """Chunking, one path, same output: bit for bit, not to a tolerance."""
    samples = read_audio(sample_wav)
    whole = real_diarizer(sample_wav)
    assert len(whole.speakers) == 2
    rng = np.random.default_rng(0)
    for largest in (700, 100_000):
        stream = real_diarizer.stream()
        for piece in cuts(samples, rng, largest):
            assert stream.push(piece) == []
        assert stream.finish() == list(whole.turns)
        for name, row in stream.result().embeddings.items():
            assert np.array_equal(row, whole.embeddings[name])
    one_thread = Diarizer(device="cpu", threads=1)(sample_wav)
    assert one_thread == whole


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_the_count_asked_for_on_real_voices(count, real_diarizer, sample_wav):
    assert len(real_diarizer(sample_wav, num_speakers=count).speakers) == count


def test_two_short_regions_can_be_two_people(real_diarizer, data):
    """Two short regions of different voices are two people, two longer ones of one voice are one."""
    folder = data / "speakers" / "zh_campplus"
    a = read_audio(folder / "3dspk_cn_speaker1" / "speaker1_a_cn_16k.flac")
    same = read_audio(folder / "3dspk_cn_speaker1" / "speaker1_b_cn_16k.flac")
    other = read_audio(folder / "3dspk_cn_speaker2" / "speaker2_a_cn_16k.flac")
    pause = np.zeros(2 * 16000, np.float32)

    def found(first, second):
        stream = real_diarizer.stream()
        stream.push(np.concatenate([first, pause, second, pause]))
        stream.finish()
        return len(stream.settled.state.windows_found), len(stream.result().speakers)

    assert found(a[16000:28000], other[16000:28000]) == (4, 2)
    assert found(a[:36000], same[:36000])[1] == 1


def test_the_telephone_channel_and_rate_do_not_matter(real_diarizer, sample_wav, tmp_path, write_wav):
    samples = (read_audio(sample_wav) * 32767).astype(np.int16)
    stereo = np.stack([np.zeros_like(samples), samples], axis=1)
    path = write_wav(tmp_path / "call 10:30.wav", stereo, 16000)
    assert real_diarizer(path, channel=1) == real_diarizer(samples, sample_rate=16000)
    assert str(real_diarizer(path, channel=0)).startswith("no speech")
