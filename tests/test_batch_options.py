"""Batches: options and recordings that changed between two runs, and options that cannot be."""

from __future__ import annotations

import pytest
from batch_fakes import Fake

from diarize import ConfigError, FormatError
from diarize.batch import Recording, run_batch
from diarize.batch.ledger import Ledger
from diarize.config import Config

pytest_plugins = "batch_corpus_fixtures"


def test_changed_options_are_noticed(corpus):
    corpus.add("a", "b")
    corpus.run()
    with pytest.raises(ConfigError, match="option num_speakers was unset, is 3; add --overwrite"):
        corpus.run(options={"num_speakers": 3})
    with pytest.raises(ConfigError, match=r"windows.step_s was 0.4, is 0.2;"):
        corpus.run(config=Config.from_dict({"windows": {"step_s": 0.2}}))
    assert corpus.run(config=Config(threads=7), workers=1).done_now == 0
    summary = corpus.run(options={"num_speakers": 3}, overwrite=True)
    assert summary.done_now == 2
    assert (corpus.out / "a.rttm").read_text().count("\n") == 3
    assert corpus.run(options={"num_speakers": 3}, overwrite=True).done_now == 0


def test_with_other_options_nothing_old_stays(corpus):
    corpus.add("a", "b")
    corpus.run()
    corpus.add("a", text="refuse not with these")
    (corpus.audio / "b.wav").unlink()
    summary = corpus.run(options={"num_speakers": 3}, overwrite=True)
    assert summary.failed == 1
    assert not (corpus.out / "a.rttm").exists(), "found with other options"
    corpus.add("b")
    assert corpus.run(options={"num_speakers": 3}).done_now == 1
    assert (corpus.out / "b.rttm").read_text().count("\n") == 3


def test_interrupted_while_options_change_never_mixes_results(corpus, monkeypatch):
    corpus.add("a", "b")
    corpus.run()

    def cut(self, key, value):
        raise KeyboardInterrupt

    monkeypatch.setattr(Ledger, "set", cut)
    with pytest.raises(KeyboardInterrupt):
        corpus.run(options={"num_speakers": 3}, overwrite=True)
    monkeypatch.undo()
    assert {status for _, status in corpus.rows()} == {"waiting"}
    assert corpus.run(options={"num_speakers": 3}).done_now == 2


def test_options_of_one_recording(corpus):
    corpus.add("a", "b")
    path = str(corpus.audio / "a.wav")
    listed = corpus.root / "list.csv"

    def run(speakers, **options):
        listed.write_text(f"audio,num_speakers\naudio/a.wav,{speakers}\naudio/b.wav,\n")
        settings = {"workers": 1, "make": Fake(str(corpus.log)), "options": {"max_speakers": 4}}
        return run_batch([listed], corpus.out, **settings | options)

    run(3)
    assert [(corpus.out / f"audio/{n}.rttm").read_text().count("\n") for n in "ab"] == [3, 2]
    with pytest.raises(ConfigError, match="audio/a was done with another file or other options"):
        run(4)
    assert run(4, overwrite=True).done_now == 1
    assert (corpus.out / "audio/a.rttm").read_text().count("\n") == 4
    with pytest.raises(ConfigError, match="are both called 'X'"):
        run_batch([Recording("x", path), Recording("X", path + "2")], corpus.out)


def test_a_corpus_may_move_but_not_change(corpus):
    corpus.add("a", "b", "c")
    corpus.run()
    corpus.audio = corpus.audio.rename(corpus.root / "moved")
    assert corpus.run().done_now == 0
    corpus.add("b", text="another recording")
    with pytest.raises(ConfigError, match="b was done with another file"):
        corpus.run()
    assert corpus.run(overwrite=True).done_now == 1
    assert corpus.run().done_now == 0
    with pytest.raises(FormatError, match="uri must be a name"):
        run_batch([Recording("../x", "x.wav")], corpus.out)


def test_a_failed_recording_that_is_listed_otherwise_waits_again(corpus):
    corpus.add("bad", text="refuse no channel 3")
    corpus.add("good")
    make = Fake(str(corpus.log))
    run_batch([Recording("x", str(corpus.audio / "bad.wav"))], corpus.out, make=make, workers=1)
    summary = run_batch([Recording("x", str(corpus.audio / "good.wav"))], corpus.out, make=make, workers=1)
    assert (summary.done, summary.failed) == (1, 0)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"format": "rtm"}, "did you mean 'rttm'"),
        ({"workers": 0}, "workers must be a whole number >= 1, got 0"),
        ({"timeout_s": 0}, "timeout_s must be seconds > 0"),
        ({"runner": "slurm"}, "runner must be 'local', or 'ray'"),
        ({"options": {"num_speakers": 2, "max_speakers": 3}}, "num_speakers says it all"),
    ],
)
def test_wrong_options_are_refused(corpus, options, reason):
    corpus.add("a")
    with pytest.raises((ConfigError, FormatError), match=reason):
        corpus.run(**options)
