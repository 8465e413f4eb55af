"""The report page: what is in the file, and what it does in a real browser."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from diarize.errors import AudioError, FormatError
from diarize.extract import talk_time
from diarize.formats.registry import FORMATS, format_turns
from diarize.report import MP3_BYTES_A_SECOND, format_page, hear, write_report
from diarize.report import page as page_module
from diarize.result import Diarization, Turn

RATE = 16000
CLICKS = (0.5, 3.25, 7.0, 11.875, 19.5)
SECONDS = 20.0
TURNS = (
    Turn(0.6, 4.2, "SPEAKER_00", 0.98),
    Turn(3.1, 6.0, "SPEAKER_01", 0.55),
    Turn(6.0, 9.5004375, "SPEAKER_00", 0.7),
    Turn(12.25, 15.0, "SPEAKER_02"),
    Turn(13.0, 13.6, "SPEAKER_01", 1.0),
)
EVIL = '</script><img src=x onerror="window.hacked=1"><script>window.hacked=2</script>&amp; {{SCRIPT}} <!--'
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="session")
def recording(tmp_path_factory, write_wav) -> Path:
    """20 s of faint noise with clicks."""
    samples = np.random.default_rng(7).normal(0, 60, round(SECONDS * RATE))
    for second in CLICKS:
        samples[round(second * RATE)] = 30000
    return write_wav(tmp_path_factory.mktemp("report") / "talk.wav", samples, RATE)


@pytest.fixture(scope="session")
def report(tmp_path_factory, recording):
    """A function that writes a page and returns its path; pages of the same arguments are made once."""
    folder, made = tmp_path_factory.mktemp("pages"), {}

    def make(turns=TURNS, *, audio=True, uri="talk", duration=SECONDS, **options) -> Path:
        key = repr((turns, audio, uri, duration, sorted(options.items())))
        if key not in made:
            found = Diarization(tuple(turns), duration, uri)
            path = folder / f"{len(made)}.html"
            made[key] = write_report(path, found, recording if audio else None, **options)
        return made[key]

    return make


# The file ---------------------------------------------------------------------------------------------------


def decoded(mp3: bytes) -> tuple[np.ndarray, int]:
    import av

    with av.open(io.BytesIO(mp3)) as file:
        frames = list(file.decode(audio=0))
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]), frames[0].sample_rate


def loudest(samples: np.ndarray, rate: int, second: float, within: float = 0.2) -> float:
    """The second of the loudest sample near this one."""
    first = max(0, round((second - within) * rate))
    return (first + int(np.argmax(np.abs(samples[first : round((second + within) * rate)])))) / rate


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_a_click_lies_at_the_same_second_in_the_embedded_sound(tmp_path, write_wav, rate):
    samples = np.zeros((round(SECONDS * rate), 2))
    for second in CLICKS:
        samples[round(second * rate)] = 30000
    heard = hear(write_wav(tmp_path / "clicks.wav", samples, rate))
    sound, found_rate = decoded(heard.mp3)
    assert heard.duration == pytest.approx(SECONDS, abs=0.001)
    assert len(sound) / found_rate == pytest.approx(SECONDS, abs=0.001)
    for second in CLICKS:
        assert loudest(sound, found_rate, second) == pytest.approx(second, abs=0.002)


def test_the_size_of_the_sound_is_what_is_promised(recording):
    heard = hear(recording)
    assert len(heard.mp3) == pytest.approx(SECONDS * MP3_BYTES_A_SECOND, abs=1200)
    assert b"LAME" in heard.mp3[:200]  # without this name Firefox leaves the delay in, 36 ms of it
    assert 4 / 3 * 3600 * MP3_BYTES_A_SECOND == 19.2e6  # what the documentation says of an hour


def test_the_outline_has_the_clicks_where_they_are(recording):
    heard = hear(recording, sound=False)
    assert heard.mp3 == b""
    assert len(heard.peaks) == round(SECONDS / heard.peak_s)
    assert {int(second * RATE) // 160 for second in CLICKS} <= set(np.flatnonzero(heard.peaks == 255))
    assert np.median(heard.peaks) < 80


def test_long_recordings_have_wider_points(recording, monkeypatch):
    whole = hear(recording, sound=False)
    monkeypatch.setattr("diarize.report.sound.MOST_PEAKS", 700)
    heard = hear(recording, sound=False)
    assert heard.peak_s == pytest.approx(3 * whole.peak_s)
    assert len(heard.peaks) == -(-len(whole.peaks) // 3)


def test_silence_and_nothing(tmp_path, write_wav):
    silence = hear(write_wav(tmp_path / "silence.wav", np.zeros(800), RATE))
    assert not silence.peaks.any()
    assert silence.mp3
    page = format_page(Diarization((), 0.05, "silence"), silence)
    assert embedded(page)["turns"] == []
    with pytest.raises(AudioError, match=r"nope\.wav"):
        hear(tmp_path / "nope.wav")
    with pytest.raises(FormatError, match="0 <= start <= end"):
        format_page(Diarization((Turn(2.0, 1.0, "A"),), 5.0, "x"))


def embedded(page: str) -> dict:
    """The data of a page."""
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL).group(1))


def test_the_same_input_gives_the_same_file_and_none_half_written(tmp_path, recording):
    found = Diarization(TURNS, SECONDS, "talk")
    one = write_report(tmp_path / "one.html", found, recording)
    assert write_report(str(tmp_path / "two.html"), found, recording).read_bytes() == one.read_bytes()
    with pytest.raises(OSError, match="gone"):
        write_report(tmp_path / "gone" / "x.html", found)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.html", "two.html"]
    assert len(write_report(tmp_path / "bare.html", found).read_bytes()) < 170_000


def test_what_users_wrote_never_ends_an_element(report):
    page = report((Turn(1, 2, EVIL),), audio=False, uri=EVIL, title=EVIL).read_text("utf-8")
    assert EVIL not in page
    assert "<img" not in page
    assert page.count("</script>") == page.count("<script") == 4
    assert embedded(page)["turns"][0][2] == embedded(page)["title"] == EVIL


def test_the_policy_forbids_the_network_and_knows_the_scripts(report):
    page = report(audio=False).read_text("utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page).group(1)
    assert policy.startswith("default-src 'none'; ")
    assert not re.search(r"https?:|unsafe|\*", policy)
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    sums = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    assert re.findall(r"'sha256-([^']*)'", policy)[:2] == sums
    links = {link for link in re.findall(r"(?:src|href)=[\"']([^\"']*)", page) if not link.startswith("#")}
    assert links - {""} == {"data:,"}


def test_library_code_is_what_its_readme_says():
    folder = Path(page_module.__file__).parent / "assets"
    listed = dict(
        re.findall(r"\| `([^`]*)` \| `[^`]*` \| `([0-9a-f]{64})` \|", (folder / "README.md").read_text())
    )
    there = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    assert listed == {name: digest for name, digest in there.items() if name != "README.md"}


def test_the_package_carries_what_the_page_is_made_of(tmp_path):
    builder = pytest.importorskip("hatchling.builders.wheel")
    import zipfile

    root = Path(page_module.__file__).parents[2]
    if not (root / "pyproject.toml").is_file():
        pytest.skip("not in a clone")
    (wheel,) = builder.WheelBuilder(str(root)).build(directory=str(tmp_path), versions=["standard"])
    names = {Path(name).name for name in zipfile.ZipFile(wheel).namelist() if "diarize/report/" in name}
    needed = {"page.html", "page.css", "LICENSE.wavesurfer.txt", *page_module.SCRIPTS, *page_module.LIBRARY}
    assert needed <= names


# The browser ------------------------------------------------------------------------------------------------


WATCH = """(() => {
    const Made = Audio;
    window.Audio = function () {
        const made = (window.heard = new Made());
        made.addEventListener("playing", () => (window.began ??= made.currentTime));
        return made;
    };
})();"""
"""Run before the page: `heard` is its audio element, `began` the second at which it first played."""


@pytest.fixture(scope="module")
def browser(playwright):
    if CHROMIUM is None:
        pytest.skip("no Chromium here")
    arguments = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--mute-audio"]
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
    yield browser
    browser.close()


@pytest.fixture
def visit(browser):
    """A function that opens a page; at the end of the test there was no error and no request, or it fails."""
    opened, wrong = [], []

    def go(path: Path, width=1280, height=900, ready="sound", watch="", **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        context.set_default_timeout(10_000)
        context.add_init_script(WATCH + watch)
        page = context.new_page()
        opened.append(context)
        page.on("console", lambda message: wrong.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: fetched(request.url))
        page.goto(path.as_uri())
        page.wait_for_selector(f"body[data-ready={ready}]")
        return page

    def fetched(url: str) -> None:
        if not url.startswith(("file:///", "blob:null/", "blob:file:", "data:,")):
            wrong.append(f"request: {url}")

    go.wrong = wrong
    yield go
    for context in opened:
        context.close()
    assert not wrong


def turn(page, number: int):
    """The bar of a turn, by its place in time."""
    start = page.evaluate("n => document.querySelectorAll('#list button')[n].dataset.turn", number)
    return page.locator(f"#lanes [data-turn='{start}']")


def rows(page) -> list[list[float]]:
    """The turns as the page exports them: start, end, speaker."""
    return [[t["start"], t["end"], t["speaker"]] for t in json.loads(exported(page, "json"))["turns"]]


def exported(page, kind: str) -> str:
    with page.expect_download() as download:
        page.click(f"[data-export={kind}]")
    return Path(download.value.path()).read_text("utf-8")


def now(page) -> float:
    """Where the playhead is, seconds, by its shown clock."""
    minutes, seconds = page.inner_text("#now").split(":")
    return 60 * float(minutes) + float(seconds)


def speaker_row(page, name: str):
    return page.locator(f"#speakers tr:has(input[aria-label='Name of {name}'])")


def rename(page, name: str, to: str) -> None:
    field = speaker_row(page, name).locator("input")
    field.fill(to)
    field.press("Enter")


def until(page, condition: str) -> None:
    """Wait for it; Playwright's own waiting evaluates text in the page, which the policy refuses."""
    for _ in range(500):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(20)
    pytest.fail(f"never came true: {condition}")


def drag(page, start: tuple[float, float], by: float) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(start[0] + by / 2, start[1])
    page.mouse.move(start[0] + by, start[1])
    page.mouse.up()


def px_per_s(page) -> float:
    return page.evaluate("parseFloat(document.getElementById('lanes-inner').style.getPropertyValue('--px'))")


def spans(page, number: int) -> tuple[float, float]:
    """Where a bar is drawn, as seconds."""
    box, lane = turn(page, number).bounding_box(), page.locator("#lanes-inner").bounding_box()
    scale = px_per_s(page)
    return (box["x"] - lane["x"]) / scale, (box["x"] + box["width"] - lane["x"]) / scale


def test_the_page_opens_with_all_there_is(report, visit):
    page = visit(report(title="Tuesday's <talk>"))
    assert page.title() == page.inner_text("h1") == "Tuesday's <talk>"
    assert page.inner_text("#facts") == "0:20 · 3 speakers · 5 turns"
    assert page.locator("#lanes .turn").count() == len(TURNS)
    for number, one in enumerate(TURNS):
        assert spans(page, number) == pytest.approx((one.start, one.end), abs=0.06)
    assert [int(bar.evaluate("bar => parseInt(bar.style.getPropertyValue('--sure'))")) for bar in
            (turn(page, 0), turn(page, 1), turn(page, 3))] == [99, 66, 100]  # fmt: skip


def test_the_page_cannot_reach_the_network(report, visit):
    page, sent = visit(report(audio=False), ready="shown"), []
    page.context.route("https://**", lambda route: (sent.append(route.request.url), route.abort()))
    page.evaluate("""async () => {
        window.failed = await fetch("https://example.com/").then(() => 0, () => 1);
        const image = new Image();
        image.src = "https://example.com/x.png";
        const script = document.createElement("script");
        script.textContent = "window.hacked = 1";
        document.body.append(image, script);
    }""")
    page.wait_for_timeout(100)
    assert page.evaluate("[window.failed, window.hacked]") == [1, None]
    said = [line for line in visit.wrong if "Content Security Policy" in line]
    visit.wrong.clear()
    assert len(said) >= 3
    assert sent == []


def test_the_browser_hears_clicks_at_their_second(report, recording, visit):
    page = visit(report())
    assert page.evaluate("heard.duration") == pytest.approx(SECONDS, abs=0.005)  # nothing to be corrected
    text = base64.b64encode(hear(recording).mp3).decode()
    found = page.evaluate(
        """async ([text, clicks]) => {
            const bytes = Uint8Array.from(atob(text), (ch) => ch.charCodeAt(0));
            const sound = await new OfflineAudioContext(1, 1, 16000).decodeAudioData(bytes.buffer);
            const samples = sound.getChannelData(0);
            return clicks.map((second) => {
                let best = Math.round((second - 0.2) * 16000);
                for (let i = best; i < (second + 0.2) * 16000; i++)
                    if (Math.abs(samples[i]) > Math.abs(samples[best])) best = i;
                return best / 16000;
            });
        }""",
        [text, CLICKS],
    )
    assert found == pytest.approx(CLICKS, abs=0.002)


@pytest.mark.parametrize("number", [1, 3])
def test_a_click_on_a_turn_plays_its_seconds(report, visit, number):
    page = visit(report())
    turn(page, number).click()
    until(page, "window.began !== undefined")
    assert page.evaluate("began") == pytest.approx(TURNS[number].start, abs=0.15)
    page.keyboard.press(" ")
    until(page, "heard.paused")
    assert TURNS[number].start <= page.evaluate("heard.currentTime") <= TURNS[number].end


def test_a_turn_stops_at_its_end_and_the_space_bar_goes_on(report, visit):
    page = visit(report())
    turn(page, 4).click()
    until(page, "window.began !== undefined && heard.paused")
    assert page.evaluate("heard.currentTime") == pytest.approx(TURNS[4].end, abs=0.15)
    page.keyboard.press(" ")
    until(page, "!heard.paused && heard.currentTime > 13.7")
    assert page.get_attribute("#play", "aria-label") == "Pause"


def test_a_click_on_the_waveform_plays_from_there(report, visit):
    page = visit(report())
    box = page.locator("#wave").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.75, box["y"] + 40)
    until(page, "window.began !== undefined")
    assert page.evaluate("began") == pytest.approx(15.0, abs=0.15)
    page.click("#play")
    until(page, "heard.paused")
    page.keyboard.press("Shift+ArrowLeft")
    before = now(page)
    page.keyboard.press("ArrowRight")
    assert now(page) == pytest.approx(before + 1, abs=0.002)


def test_a_browser_that_plays_the_delay_is_corrected(report, visit):
    """One that does not leave out what the encoder put in front finds a longer file, hears the probe late."""
    late = """Object.defineProperty(HTMLMediaElement.prototype, 'duration', { get: () => 20.1 });
        const decode = OfflineAudioContext.prototype.decodeAudioData;
        OfflineAudioContext.prototype.decodeAudioData = async function (bytes) {
            const sound = await decode.call(this, bytes);
            sound.copyToChannel(sound.getChannelData(0).slice(), 0, 1105);
            sound.getChannelData(0).fill(0, 0, 1105);
            return sound;
        };"""
    page = visit(report(), watch=late)
    page.keyboard.press("ArrowDown")  # to the first turn, without playing
    assert page.evaluate("heard.currentTime") == pytest.approx(TURNS[0].start + 1105 / RATE, abs=0.001)
    assert now(page) == TURNS[0].start


@pytest.mark.parametrize("kind", ["rttm", "json", "csv", "srt"])
def test_exports_are_what_convert_would_write(report, visit, kind):
    names = ("A b", "A_b", 'Zoë, "Z" --> [x]', " \t", "\u2028", "", "日本", "[1]")
    rng = np.random.default_rng(3)
    turns = [
        Turn(float(a), float(a + d), names[i % len(names)], [None, 0.5, 1.0, 0.1235][i % 4])
        for i, (a, d) in enumerate(
            zip(rng.uniform(0, 18, 40), rng.choice([0.0002, 0.5, 1.25], 40), strict=True)
        )
    ]
    turns += [Turn(2, 3.0005, "A b"), Turn(2, 3.0015, "A b"), Turn(0.0, 20.0, "x;y")]
    page = visit(report(tuple(turns), audio=False, uri="a, talk"), ready="shown")
    assert exported(page, kind) == format_turns(turns, "a, talk", kind, duration=SECONDS)


def test_a_rename_reaches_every_export(report, visit, tmp_path):
    page = visit(report(audio=False), ready="shown")
    rename(page, "SPEAKER_00", "Anna")
    turns = [Turn(t.start, t.end, t.speaker.replace("SPEAKER_00", "Anna"), t.confidence) for t in TURNS]
    for kind in ("rttm", "json", "csv", "srt"):
        assert exported(page, kind) == format_turns(turns, "talk", kind, duration=SECONDS)
    assert "SPEAKER_00" not in page.inner_text("body")
    (tmp_path / "talk.rttm").write_text(exported(page, "rttm"))
    (back,) = FORMATS["rttm"].read(tmp_path / "talk.rttm")
    assert {one.speaker for one in back.turns} == {"Anna", "SPEAKER_01", "SPEAKER_02"}
    rename(page, "Anna", "SPEAKER_01")  # taken
    assert "There is a SPEAKER_01 already" in page.inner_text("#said")
    rename(page, "Anna", "  ")
    assert "needs a name" in page.inner_text("#said")
    assert speaker_row(page, "Anna").locator("input").input_value() == "Anna"


def test_merging_makes_one_speaker_of_two(report, visit):
    page = visit(report(audio=False), ready="shown")
    speaker_row(page, "SPEAKER_01").locator("select").select_option(label="SPEAKER_00")
    assert rows(page) == [
        [0.6, 9.5004375, "SPEAKER_00"],  # three turns that overlap or touch
        [12.25, 15.0, "SPEAKER_02"],
        [13.0, 13.6, "SPEAKER_00"],
    ]
    assert page.locator(".lane").count() == page.locator("#names .name").count() == 2
    page.click("#undo")
    assert exported(page, "rttm") == format_turns(TURNS, "talk", "rttm")
    page.click("#redo")
    assert len(rows(page)) == 3


def test_splitting_deleting_and_adding(report, visit):
    page = visit(report())
    turn(page, 0).click()
    until(page, "window.began !== undefined")
    page.keyboard.press(" ")
    page.fill("#turn-end", "0:04.5")
    page.press("#turn-end", "Enter")
    page.evaluate("document.activeElement.blur()")
    for key in ("ArrowDown", "ArrowUp", "ArrowRight"):  # the playhead: 1 s after the start
        page.keyboard.press(key)
    page.keyboard.press("s")
    page.keyboard.press("3")
    assert rows(page)[:2] == [[0.6, 1.6, "SPEAKER_00"], [1.6, 4.5, "SPEAKER_02"]]
    page.keyboard.press("Delete")
    page.click("#turn-add")  # at the playhead
    assert rows(page)[:2] == [[0.6, 1.6, "SPEAKER_00"], [1.6, 3.6, "SPEAKER_00"]]
    for _ in range(5):
        page.keyboard.press("Control+z")
    assert exported(page, "rttm") == format_turns(TURNS, "talk", "rttm")
    assert page.is_disabled("#undo")
    for _ in range(5):
        page.keyboard.press("Control+Shift+z")
    assert [1.6, 3.6, "SPEAKER_00"] in rows(page)


def test_edges_are_dragged_in_the_lane(report, visit):
    page = visit(report(audio=False), ready="shown")
    turn(page, 3).click()
    box, scale = turn(page, 3).bounding_box(), px_per_s(page)
    drag(page, (box["x"] + 1, box["y"] + 10), -1.5 * scale)
    assert rows(page)[3] == [pytest.approx(10.75, abs=0.05), 15.0, "SPEAKER_02"]
    drag(page, (box["x"] + box["width"] - 1, box["y"] + 10), 30 * scale)  # not beyond the recording
    assert rows(page)[3][1] == SECONDS
    box = turn(page, 3).bounding_box()
    drag(page, (box["x"] + 1, box["y"] + 10), 30 * scale)  # nor beyond the other edge
    start, end, _ = rows(page)[4]
    assert start == pytest.approx(end - 0.01)
    for _ in range(3):
        page.keyboard.press("Control+z")
    assert exported(page, "rttm") == format_turns(TURNS, "talk", "rttm")
    assert spans(page, 3) == pytest.approx((12.25, 15.0), abs=0.06)


def test_edges_are_dragged_on_the_waveform(report, visit):
    page = visit(report())
    turn(page, 2).click()
    page.keyboard.press(" ")
    wave, scale = page.locator("#wave").bounding_box(), px_per_s(page)
    page.wait_for_timeout(50)  # the library adds the region a moment later
    drag(page, (wave["x"] + TURNS[2].end * scale - 2, wave["y"] + 30), 1.0 * scale)
    assert rows(page)[2] == [6.0, pytest.approx(10.5, abs=0.05), "SPEAKER_00"]
    assert page.evaluate("heard.currentTime") < 9  # no click came of it
    page.click("#undo")
    assert rows(page)[2] == [6.0, 9.5004375, "SPEAKER_00"]


def test_a_turn_is_drawn_in_an_empty_place(report, visit):
    page = visit(report(audio=False), ready="shown")
    lane, scale = page.locator(".lane").nth(1).bounding_box(), px_per_s(page)
    drag(page, (lane["x"] + 17 * scale, lane["y"] + 20), 1.5 * scale)
    assert rows(page)[-1] == [pytest.approx(17, abs=0.05), pytest.approx(18.5, abs=0.05), "SPEAKER_01"]
    page.mouse.move(lane["x"] + 8 * scale, lane["y"] + 20)
    page.mouse.down()
    page.mouse.move(lane["x"] + 9 * scale, lane["y"] + 20)
    assert page.locator(".ghost").count() == 1
    page.keyboard.press("Escape")
    page.mouse.up()
    assert page.locator(".ghost").count() == 0
    assert len(rows(page)) == 6


def test_a_turn_goes_to_another_and_to_a_new_speaker(report, visit):
    page = visit(report(audio=False), ready="shown")
    turn(page, 1).click()
    page.select_option("#turn-speaker", label="SPEAKER_02")
    assert rows(page)[1] == [3.1, 6.0, "SPEAKER_02"]
    page.select_option("#turn-speaker", label="New speaker")
    assert rows(page)[1] == [3.1, 6.0, "SPEAKER_03"]
    assert page.locator(".lane").count() == 4
    assert ",SPEAKER_03,\n" in exported(page, "csv")  # what a person said has no confidence of a machine


def test_the_table_is_that_of_extract(report, visit):
    page = visit(report(audio=False), ready="shown")
    for one in talk_time(TURNS):
        cells = speaker_row(page, one.speaker).locator("td").all_inner_texts()[1:5]
        assert cells[0] == f"0:{one.seconds:04.1f}"
        assert cells[1].strip() == f"{100 * one.share:.1f} %"
        assert cells[2] == str(one.turns)


def test_overlapping_turns_are_both_seen(report, visit):
    page = visit(report(audio=False), ready="shown")
    for a, b in ((0, 1), (3, 4)):
        one, other = turn(page, a).bounding_box(), turn(page, b).bounding_box()
        assert min(one["x"] + one["width"], other["x"] + other["width"]) > max(one["x"], other["x"])
        assert one["y"] + one["height"] <= other["y"] or other["y"] + other["height"] <= one["y"]
        for box in (one, other):  # nothing lies over its middle
            middle = [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2]
            assert page.evaluate("([x, y]) => document.elementFromPoint(x, y).className", middle) == "turn"


@pytest.mark.parametrize("audio", [True, False])
def test_a_page_without_sound(report, visit, audio):
    page = visit(report(audio=audio, **({"sound": False} if audio else {})), ready="shown")
    assert not page.is_visible("#play")
    assert page.is_visible("#mute")
    turn(page, 3).click()
    assert now(page) == TURNS[3].start
    page.keyboard.press(" ")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("s")
    assert [13.25, 15.0, "SPEAKER_02"] in rows(page)


def test_malicious_names_are_harmless(report, visit):
    page = visit(report((Turn(1, 2, EVIL), Turn(1.5, 3, "{{DATA}}")), uri=EVIL, title=EVIL))
    assert page.inner_text("h1") == page.title() == EVIL
    assert speaker_row(page, "{{DATA}}").count() == 1
    assert page.locator("#names .name").first.inner_text().startswith(EVIL)
    turn(page, 0).click()
    rename(page, "{{DATA}}", EVIL + "2")
    page.locator("#speakers select").first.select_option(index=1)
    page.wait_for_timeout(50)
    assert page.evaluate("window.hacked") is None
    assert page.locator("img").count() == 0
    assert rows(page) == [[1.0, 3.0, EVIL + "2"]]
    with page.expect_download() as download:
        page.click("[data-export=srt]")
    assert not re.search(r'[<>:"/\\|?*]', download.value.suggested_filename)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_telephone_has_room_for_everything(report, visit, scheme):
    long = Turn(
        5, 8, "A speaker with a name that is far too long for a telephone, and_for_that_matter_" + "x" * 80
    )
    page = visit(report((*TURNS, long), title="w" * 90), width=390, height=844, color_scheme=scheme)
    turn(page, 0).click()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    beyond = page.evaluate("""() => [...document.querySelectorAll("header *, .player *, .columns *")]
        .filter((one) => one.getBoundingClientRect().right > 390.5 && !one.closest("td.who, #list, option"))
        .map((one) => one.outerHTML.slice(0, 80))""")
    assert beyond == []
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", dark))) < 200) == (scheme == "dark")


def test_everything_has_a_label(report, visit):
    page = visit(report())
    turn(page, 0).click()
    nameless = page.evaluate("""() => [...document.querySelectorAll("button, input, select, canvas")]
        .filter((one) => one.checkVisibility())
        .filter((one) => !(one.getAttribute("aria-label") || one.labels?.length || one.innerText?.trim()))
        .map((one) => one.outerHTML)""")
    assert nameless == []
    assert turn(page, 1).get_attribute("aria-label") == "SPEAKER_01, 0:03.100 to 0:06.000, confidence 55 %"
    assert page.locator(".turn[tabindex='0']").count() == 1  # Tab reaches one, the arrows the others
    page.keyboard.press("?")
    assert page.is_visible("#help")
    page.keyboard.press("Escape")
    assert not page.is_visible("#help")


def test_zoom_keeps_waveform_and_lanes_together(report, visit):
    page = visit(report())
    for _ in range(5):
        page.click("#zoom-in")
    scale = px_per_s(page)
    assert scale > 80
    page.evaluate("document.getElementById('lanes').scrollLeft = 700")
    wave = "document.querySelector('#wave > div').shadowRoot.querySelector('.scroll')"
    until(page, f"{wave}.scrollLeft === 700")
    assert page.evaluate(f"{wave}.scrollWidth") == pytest.approx(scale * SECONDS, abs=1)
    assert spans(page, 3) == pytest.approx((12.25, 15.0), abs=0.03)
    page.keyboard.press("0")
    assert px_per_s(page) < 80
    assert page.evaluate("document.getElementById('lanes').scrollLeft") == 0


def test_an_hour_of_600_turns_is_quick(tmp_path, visit):
    rng = np.random.default_rng(5)
    starts = np.sort(rng.uniform(0, 3590, 600))
    turns = tuple(
        Turn(float(s), float(s + rng.uniform(0.2, 9)), f"S{i % 6}", 0.8) for i, s in enumerate(starts)
    )
    page = visit(write_report(tmp_path / "hour.html", Diarization(turns, 3600.0, "hour")), ready="shown")
    assert page.locator(".turn").count() == 600
    took = page.evaluate("""() => {
        const begun = performance.now();
        document.getElementById("turn-add").click();
        document.getElementById("undo").click();
        document.getElementById("zoom-in").click();
        document.body.getBoundingClientRect();
        return performance.now() - begun;
    }""")
    assert took < 2000  # a tenth of it on a quiet machine


def test_leaving_with_edits_is_asked_about(report, visit):
    page = visit(report(audio=False), ready="shown")
    leave = """() => { const event = new Event("beforeunload", { cancelable: true });
        dispatchEvent(event); return event.defaultPrevented; }"""
    assert page.evaluate(leave) is False
    rename(page, "SPEAKER_00", "Anna")
    assert page.evaluate(leave) is True
    exported(page, "rttm")
    assert page.evaluate(leave) is False
