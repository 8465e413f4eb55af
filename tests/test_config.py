"""Options: what ships is true, what is wrong is refused with what is right."""

from __future__ import annotations

import pytest
from conftest import ROOT

from diarize import Config, ConfigError, Diarizer
from diarize.config import shipped


def test_the_default_file_is_the_defaults():
    path = ROOT / "configs" / "default.toml"
    assert Config.load(path) == Config()
    assert path.read_text(encoding="utf-8") == Config().to_toml() + "\n"


def test_what_ships_loads_by_name_and_comes_back(tmp_path):
    assert set(shipped()) == {"default", "meeting", "telephone", "3dspeaker"}
    for name in shipped():
        config = Config.load(name)
        (tmp_path / "again.toml").write_text(config.to_toml(), encoding="utf-8")
        assert Config.load(tmp_path / "again.toml") == config
        assert (config == Config()) == (name == "default")


@pytest.mark.parametrize("model", ['a\\b"c.pt', "C:\\weights\\my model.bin", "模型.pt", "tab\there"])
def test_any_path_comes_back(tmp_path, model):
    (tmp_path / "my.toml").write_text(Config(model=model).to_toml(), encoding="utf-8")
    assert Config.load(tmp_path / "my.toml").model == model


def test_the_recipe_of_3d_speaker():
    config = Config.load("3dspeaker")
    rule = config.clustering
    assert (config.windows.length_s, config.windows.step_s) == (1.5, 0.75)
    assert (rule.spectral_min_windows, rule.threshold, rule.merge_threshold) == (40, 0.4, 0.8)
    assert (rule.keep_fraction, rule.keep_min, rule.eigengap_max, rule.min_cluster_windows) == (
        0.012,
        6,
        15,
        5,
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "[windows]\nlenght_s = 2",
            r"unknown key 'windows.lenght_s' in my.toml; did you mean 'windows.length_s'\?",
        ),
        ("onset = 0.4", r"did you mean 'vad.onset'\?"),
        ("[vads]\nonset = 0.4", r"unknown key 'vads' in my.toml; did you mean 'vad'\?"),
        ("zzz = 1", "`diarize config` lists what there is"),
        ("vad = 3", "'vad' must be a table"),
        ("[vad]\nonset = 'high'", "'vad.onset' must be a number, got 'high'"),
        ("[vad]\nonset = true", "'vad.onset' must be a number, got True"),
        ("[vad]\nonset = nan", "'vad.onset' must be >= 0 and <= 1, got nan"),
        ("[vad]\nonset = 1.2", "'vad.onset' must be >= 0 and <= 1, got 1.2"),
        ("[vad]\npad_s = inf", "'vad.pad_s' must be finite, got inf"),
        ("threads = 1.5", "'threads' must be a whole number"),
        ("model = 3", "'model' must be text"),
        ("[clustering]\nmethod = 'kmeans'", "must be one of auto, spectral, agglomerative"),
        ("[clustering]\nnum_speakers = 0", "'clustering.num_speakers' must be >= 1, got 0"),
        ("[vad]\nonset = 0.3\noffset = 0.4", "my.toml: vad.offset must be <= vad.onset"),
        ("[windows]\nstep_s = 2.0", "step_s must be <= windows.length_s"),
        ("[windows]\nstep_s = 0.755", "must be a multiple of 0.01 s"),
        ("[clustering]\nnum_speakers = 2\nmax_speakers = 3", "num_speakers says it all"),
        ("[vad\n", "my.toml: not TOML"),
    ],
)
def test_what_is_wrong_is_refused(tmp_path, text, reason):
    (tmp_path / "my.toml").write_text(text)
    with pytest.raises(ConfigError, match=reason):
        Config.load(tmp_path / "my.toml")


def test_a_whole_number_will_do_for_a_number(tmp_path):
    (tmp_path / "my.toml").write_text("[windows]\nlength_s = 2\n")
    length = Config.load(tmp_path / "my.toml").windows.length_s
    assert (length, type(length)) == (2.0, float)


def test_dataclasses_are_checked_too():
    with pytest.raises(ConfigError, match=r"'device' must be text"):
        Diarizer(device=3)
    with pytest.raises(TypeError, match="'tempo'"):
        Diarizer(tempo=3)
