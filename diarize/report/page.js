/* What ties the page together: player, zoom, tables, the form of the selected turn, keys. */

const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const PALETTE = data.palette;
const MOST_PX_PER_SEC = 300;
const NEW_TURN_S = 2;

const talk = new Talk(data);
const media = new Media(data.duration);
const hasSound = data.heard > 0;
document.body.classList.toggle("silent", !hasSound);
document.body.classList.toggle("flat", !data.peaks);

const css = (name) => getComputedStyle(document.body).getPropertyValue(name).trim();
const waveColours = () => ({
  waveColor: css("--wave"),
  progressColor: css("--wave-played"),
  cursorColor: css("--playhead"),
});
const waveHeight = () => parseInt(css("--wave-height"), 10);
const regions = WaveSurfer.Regions.create();
const ruler = WaveSurfer.Timeline.create({ height: 20, formatTimeCallback: (time) => clock(time, 0) });
const surfer = WaveSurfer.create({
  container: $("wave"),
  media,
  peaks: [outlineOf(data)],
  duration: data.duration,
  height: waveHeight(),
  barWidth: 2,
  barGap: 1,
  barRadius: 2,
  cursorWidth: 2,
  hideScrollbar: true, // the lanes have the only one
  autoCenter: false,
  cspNonce: document.body.dataset.nonce,
  plugins: [regions, ruler],
  ...waveColours(),
});

// Played and selected ----------------------------------------------------------------------------------------------

function say(text, wrong = false) {
  $("said").textContent = text;
  $("said").classList.toggle("wrong", wrong);
  clearTimeout(say.timer);
  say.timer = setTimeout(() => ($("said").textContent = ""), 5000);
}

/** Do what may be refused; a refusal is said, and false comes back. */
function attempt(action) {
  try {
    return action() ?? true;
  } catch (error) {
    say(error.message, true);
    return false;
  }
}

function follow() {
  // Scrolling by hand lets go of the playhead (see letGo); playing or seeking takes hold of it again.
  surfer.options.autoScroll = true;
}

function letGo() {
  surfer.options.autoScroll = false;
}

function seek(time) {
  follow();
  surfer.setTime(time);
}

function play(from, until) {
  if (!hasSound || !media.audio) return from === undefined ? undefined : seek(from);
  follow();
  return surfer.play(from, until).catch((error) => say(`The browser did not play: ${error.message}`, true));
}

const toggle = () => (surfer.isPlaying() ? surfer.pause() : play());
const hear = (turn) => play(turn.start, turn.end);
const now = () => surfer.getCurrentTime();

const lanes = new Lanes($("lanes"), talk, { select, hear, seek });

function select(id, { reveal = false } = {}) {
  lanes.select(id);
  const turn = selected();
  region(turn);
  fillForm(turn);
  for (const row of $("list").querySelectorAll("[aria-current]")) row.removeAttribute("aria-current");
  const row = turn && $("list").querySelector(`[data-turn="${turn.id}"]`);
  if (row) {
    row.setAttribute("aria-current", "true");
    const box = $("list");
    if (row.offsetTop < box.scrollTop || row.offsetTop + row.offsetHeight > box.scrollTop + box.clientHeight)
      box.scrollTop = row.offsetTop - box.clientHeight / 2;
  }
  if (turn && reveal) show(turn.start, turn.end);
}

const selected = () => (lanes.selected === null ? undefined : talk.turn(lanes.selected));

/** The selected turn over the waveform, where its edges can be dragged along what is heard. */
function region(turn) {
  regions.clearRegions();
  if (!turn || !surfer.getDecodedData()) return;
  const speaker = talk.speaker(turn.speaker);
  regions.addRegion({
    id: String(turn.id),
    start: turn.start,
    end: turn.end,
    drag: false,
    minLength: LEAST_S,
    color: `${PALETTE[speaker.colour % PALETTE.length]}44`,
  });
}

regions.on("region-updated", (changed, side) => {
  const turn = talk.turn(Number(changed.id));
  // only the edge that was dragged: the other one keeps every digit it has
  if (turn) attempt(() => talk.change(turn.id, side === "start" ? { start: changed.start } : { end: changed.end }));
});

surfer.on("interaction", (time) => play(time));
surfer.on("play", () => playing(true));
surfer.on("pause", () => playing(false));
surfer.on("finish", () => playing(false));
surfer.on("timeupdate", moved);

function playing(on) {
  $("play").querySelector("use").setAttribute("href", on ? "#i-pause" : "#i-play");
  $("play").setAttribute("aria-label", on ? "Pause" : "Play");
  document.body.classList.toggle("playing", on);
}

function moved(time) {
  $("now").textContent = clock(time);
  $("playhead").style.transform = `translateX(${time * lanes.pxPerSec}px)`;
  const speaking = new Set(talk.turns.filter((turn) => turn.start <= time && time < turn.end).map((t) => t.speaker));
  for (const name of $("names").children) name.classList.toggle("speaking", speaking.has(Number(name.dataset.speaker)));
  drawOverview();
}

// Zoom and scroll --------------------------------------------------------------------------------------------------

const viewWidth = () => $("lanes").clientWidth;
const fitting = () => viewWidth() / (data.duration || 1);
const closest = () => Math.max(MOST_PX_PER_SEC, 4 * fitting());
let zoomed = 0; // from 0, all of it, to 1, as close as it gets

/** Zoom so that the second `anchor` stays where it is: the playhead if it is in view, else the middle. */
function zoom(level, anchor) {
  zoomed = Math.min(Math.max(level, 0), 1);
  const from = $("lanes").scrollLeft / lanes.pxPerSec;
  const until = from + viewWidth() / lanes.pxPerSec;
  anchor ??= now() >= from && now() <= until ? now() : (from + until) / 2;
  const x = (anchor - from) * lanes.pxPerSec;
  layOut();
  scrollTo(anchor * lanes.pxPerSec - x);
  $("zoom").value = String(Math.round(100 * zoomed));
}

/** Give waveform, ruler and lanes the width that the zoom says. */
function layOut() {
  if (!surfer.getDecodedData() || !viewWidth()) return;
  const wanted = zoomed ? fitting() * (closest() / fitting()) ** zoomed : 0;
  Object.assign(ruler.options, rulerSteps(wanted || fitting()));
  surfer.zoom(wanted);
  lanes.resize(zoomed ? surfer.getWrapper().getBoundingClientRect().width : viewWidth());
  moved(now());
}

function scrollTo(left) {
  $("lanes").scrollLeft = left;
  surfer.setScroll(left);
}

/** Scroll to where these seconds are in view. */
function show(start, end) {
  const [left, right] = [start * lanes.pxPerSec, end * lanes.pxPerSec];
  const view = $("lanes").scrollLeft;
  if (left < view || right > view + viewWidth()) scrollTo(left - Math.max(24, (viewWidth() - (right - left)) / 2));
}

// The waveform and the lanes scroll together, whoever was moved; equal places end the ping-pong.
surfer.on("scroll", (_start, _end, left) => {
  if (Math.abs($("lanes").scrollLeft - left) >= 1) $("lanes").scrollLeft = left;
  drawOverview();
});
$("lanes").addEventListener("scroll", () => {
  const left = $("lanes").scrollLeft;
  if (Math.abs(surfer.getScroll() - left) >= 1) surfer.setScroll(left);
});
for (const part of [$("lanes"), $("wave")]) {
  part.addEventListener(
    "wheel",
    (event) => {
      if (event.ctrlKey || event.metaKey) {
        event.preventDefault();
        zoom(zoomed - Math.sign(event.deltaY) * 0.06, lanes.timeAt(event));
      } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) letGo();
    },
    { passive: false },
  );
  part.addEventListener("touchmove", letGo, { passive: true });
}
$("lanes").addEventListener("pointerdown", (event) => event.target === $("lanes") && letGo()); // its scroll bar
$("zoom").addEventListener("input", () => zoom(Number($("zoom").value) / 100));
$("zoom-in").addEventListener("click", () => zoom(zoomed + 0.12));
$("zoom-out").addEventListener("click", () => zoom(zoomed - 0.12));
$("zoom-fit").addEventListener("click", () => zoom(0));

// The strip above: the whole recording, and which part of it is in view.

function drawOverview() {
  if (drawOverview.asked) return;
  drawOverview.asked = requestAnimationFrame(() => {
    drawOverview.asked = 0;
    const canvas = $("overview");
    const ratio = devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const scale = width / (data.duration || 1);
    const row = (height - 8) / Math.max(1, talk.speakers.length);
    const places = new Map(talk.speakers.map((speaker, place) => [speaker.id, { speaker, place }]));
    for (const turn of talk.turns) {
      const { speaker, place } = places.get(turn.speaker);
      pen.fillStyle = PALETTE[speaker.colour % PALETTE.length];
      const thick = Math.max(1, row - (row > 3 ? 1 : 0));
      pen.fillRect(turn.start * scale, 4 + place * row, Math.max(1, (turn.end - turn.start) * scale), thick);
    }
    const from = ($("lanes").scrollLeft / lanes.pxPerSec) * scale;
    const seen = Math.min(width - from, (viewWidth() / lanes.pxPerSec) * scale);
    if (seen < width - 1) {
      pen.fillStyle = css("--veil");
      pen.fillRect(0, 0, from, height);
      pen.fillRect(from + seen, 0, width, height);
      pen.strokeStyle = css("--accent");
      pen.lineWidth = 2;
      pen.strokeRect(from + 1, 1, Math.max(2, seen - 2), height - 2);
    }
    pen.fillStyle = css("--playhead");
    pen.fillRect(now() * scale - 1, 0, 2, height);
    canvas.setAttribute("aria-valuenow", now().toFixed(1));
    canvas.setAttribute("aria-valuetext", clock(now(), 0));
  });
}

$("overview").addEventListener("pointerdown", (event) => {
  const strip = $("overview");
  const time = (at) => {
    const box = strip.getBoundingClientRect();
    return Math.min(Math.max((at.clientX - box.left) / box.width, 0), 1) * data.duration;
  };
  const go = (at) => {
    letGo();
    scrollTo(time(at) * lanes.pxPerSec - viewWidth() / 2);
  };
  let dragged = false;
  const drag = (at) => {
    dragged ||= Math.abs(at.clientX - event.clientX) >= DRAG_PX;
    if (dragged) go(at);
  };
  const drop = (at) => {
    strip.removeEventListener("pointermove", drag);
    if (!dragged) {
      go(at);
      seek(time(at));
    }
  };
  strip.setPointerCapture(event.pointerId);
  strip.addEventListener("pointermove", drag);
  strip.addEventListener("pointerup", drop, { once: true });
});

// Tables -----------------------------------------------------------------------------------------------------------

const rows = new Map(); // speaker id -> row of the table; kept, so that the cursor stays in a name

function renderSpeakers() {
  const times = talkTimes(talk.state);
  for (const [id, row] of rows)
    if (!talk.speaker(id)) {
      row.line.remove();
      rows.delete(id);
    }
  talk.speakers.forEach((speaker, place) => {
    const row = rows.get(speaker.id) ?? speakerRow(speaker);
    if ($("speakers").children[place] !== row.line)
      $("speakers").insertBefore(row.line, $("speakers").children[place] ?? null);
    paint(row.line, speaker);
    const own = times.get(speaker.id);
    row.name.value = speaker.name;
    row.name.setAttribute("aria-label", `Name of ${speaker.name}`);
    row.seconds.textContent = clock(own.seconds, 1);
    row.share.textContent = `${(100 * own.share).toFixed(1)} %`;
    row.bar.style.width = `${100 * own.share}%`;
    row.turns.textContent = String(own.turns);
    row.longest.textContent = clock(own.longest, 1);
    row.overlapped.textContent = clock(own.overlapped, 1);
    const others = talk.speakers.filter((other) => other.id !== speaker.id);
    row.merge.replaceChildren(
      new Option("Merge…", ""),
      ...others.map((other) => new Option(other.name, String(other.id))),
    );
    row.merge.setAttribute("aria-label", `Merge ${speaker.name} into`);
    row.merge.disabled = !others.length;
  });
  $("nobody").hidden = talk.speakers.length > 0;
  $("names").replaceChildren(
    ...talk.speakers.map((speaker, place) => {
      const name = element("div", { className: "name", title: speaker.name }, element("i"), element("span", { textContent: speaker.name }));
      if (place < 9) name.append(element("kbd", { textContent: String(place + 1) }));
      name.dataset.speaker = speaker.id;
      paint(name, speaker);
      return name;
    }),
  );
}

function speakerRow(speaker) {
  const row = {
    line: element("tr"),
    name: element("input", { type: "text", spellcheck: false, autocomplete: "off", maxLength: 200 }),
    merge: element("select"),
    bar: element("i"),
  };
  for (const name of ["seconds", "share", "turns", "longest", "overlapped"]) row[name] = element("span");
  row.line.dataset.speaker = speaker.id;
  const cell = (className, ...children) => element("td", { className }, ...children);
  row.line.append(
    cell("who", element("i", { className: "swatch" }), row.name),
    cell("number", row.seconds),
    cell("share", element("div", { className: "meter" }, row.bar), row.share),
    cell("number turns", row.turns),
    cell("number wide long-turn", row.longest),
    cell("number wide", row.overlapped),
    cell("merge", row.merge),
  );
  row.name.addEventListener("change", () => {
    attempt(() => talk.rename(speaker.id, row.name.value));
    row.name.value = talk.speaker(speaker.id).name;
  });
  row.name.addEventListener("keydown", (event) => {
    if (event.key === "Escape") row.name.value = talk.speaker(speaker.id).name;
    if (event.key === "Enter" || event.key === "Escape") row.name.blur();
  });
  row.merge.addEventListener("change", () => row.merge.value && talk.merge(speaker.id, Number(row.merge.value)));
  rows.set(speaker.id, row);
  return row;
}

function renderList() {
  const speakers = new Map(talk.speakers.map((speaker) => [speaker.id, speaker]));
  $("list").replaceChildren(
    ...talk.turns.map((turn) => {
      const speaker = speakers.get(turn.speaker);
      const known = turn.confidence === null ? "" : `${Math.round(100 * turn.confidence)} %`;
      const button = element(
        "button",
        { type: "button" },
        element("span", { className: "at", textContent: clock(turn.start, 1) }),
        element("i", { className: "swatch" }),
        element("span", { className: "who", textContent: speaker.name }),
        element("span", { className: "sure", textContent: known, title: known && "confidence" }),
        element("span", { className: "long", textContent: `${(turn.end - turn.start).toFixed(1)} s` }),
      );
      button.dataset.turn = turn.id;
      paint(button, speaker);
      return element("li", {}, button);
    }),
  );
  $("count").textContent = String(talk.turns.length);
}

$("list").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  const turn = talk.turn(Number(button.dataset.turn));
  select(turn.id, { reveal: true });
  hear(turn);
});

// The form of the selected turn ------------------------------------------------------------------------------------

function fillForm(turn) {
  $("turn-hint").hidden = Boolean(turn);
  $("turn").hidden = !turn;
  if (!turn) return;
  $("turn-speaker").replaceChildren(
    ...talk.speakers.map((speaker) => new Option(speaker.name, String(speaker.id))),
    new Option("New speaker", "new"),
  );
  $("turn-speaker").value = String(turn.speaker);
  $("turn-start").value = clock(turn.start);
  $("turn-end").value = clock(turn.end);
  const known = turn.confidence === null ? "" : `, confidence ${Math.round(100 * turn.confidence)} %`;
  $("turn-facts").textContent = `${(turn.end - turn.start).toFixed(3)} s${known}`;
}

$("turn").addEventListener("submit", (event) => event.preventDefault());
$("turn-speaker").addEventListener("change", () => {
  const wanted = $("turn-speaker").value;
  const turn = selected();
  if (wanted === "new") newSpeakerFor(turn);
  else talk.change(turn.id, { speaker: Number(wanted) });
});

/** Two changes that are undone one by one: the speaker, and the turn that it gets. */
function newSpeakerFor(turn) {
  const speaker = talk.addSpeaker();
  talk.change(turn.id, { speaker: speaker.id });
}

for (const side of ["start", "end"]) {
  $(`turn-${side}`).addEventListener("change", () => {
    const turn = selected();
    const time = parseClock($(`turn-${side}`).value);
    const other = side === "start" ? time < turn.end : time > turn.start;
    if (Number.isNaN(time)) say("Write a time as 1:02.5, or in seconds.", true);
    else if (!other || time > data.duration) say("A turn ends after its start, inside the recording.", true);
    else talk.change(turn.id, { [side]: time });
    fillForm(selected());
  });
}

const actions = {
  hear: () => selected() && hear(selected()),
  split() {
    const turn = selected() ?? talk.turns.find((one) => one.start < now() && now() < one.end);
    if (turn) attempt(() => select(talk.split(turn.id, now()).id));
    else say("There is no turn at the playhead to split.", true);
  },
  delete() {
    const turn = selected();
    if (turn) talk.remove(turn.id);
  },
  add() {
    const speaker = selected()?.speaker ?? talk.speakers[0]?.id ?? talk.addSpeaker().id;
    select(talk.add(now(), now() + NEW_TURN_S, speaker).id, { reveal: true });
  },
  edge(side) {
    const turn = selected();
    if (!turn) return;
    const fits = side === "start" ? now() < turn.end : now() > turn.start;
    if (fits) talk.change(turn.id, { [side]: now() });
    else say("A turn ends after its start; the playhead is on the other side.", true);
  },
  give(place) {
    const speaker = talk.speakers[place];
    if (selected() && speaker) talk.change(selected().id, { speaker: speaker.id });
  },
  step(by) {
    const { turns } = talk;
    if (!turns.length) return;
    let place = turns.findIndex((turn) => turn.id === lanes.selected) + by;
    if (lanes.selected === null) {
      const next = turns.findIndex((turn) => turn.start >= now());
      place = by > 0 ? (next < 0 ? turns.length - 1 : next) : (next < 0 ? turns.length : next) - 1;
    }
    const turn = turns[Math.min(Math.max(place, 0), turns.length - 1)];
    select(turn.id, { reveal: true });
    seek(turn.start);
    if (document.activeElement?.classList.contains("turn")) lanes.bars.get(turn.id).element.focus({ preventScroll: true });
  },
};

$("turn-hear").addEventListener("click", actions.hear);
$("turn-split").addEventListener("click", actions.split);
$("turn-delete").addEventListener("click", actions.delete);
$("turn-add").addEventListener("click", actions.add);
$("speaker-add").addEventListener("click", () => {
  const speaker = talk.addSpeaker();
  rows.get(speaker.id).name.select();
});
$("undo").addEventListener("click", () => talk.undo());
$("redo").addEventListener("click", () => talk.redo());
$("play").addEventListener("click", toggle);
$("back").addEventListener("click", () => seek(Math.max(0, now() - 5)));
$("on").addEventListener("click", () => seek(Math.min(data.duration, now() + 5)));
$("speed").addEventListener("change", () => surfer.setPlaybackRate(Number($("speed").value), true));
$("help-open").addEventListener("click", () => $("help").showModal());

for (const button of document.querySelectorAll("[data-export]"))
  button.addEventListener("click", () => {
    const kind = button.dataset.export;
    const name = `${data.uri || "recording"}.${kind}`;
    download(name, EXPORTS[kind].format(talk.state, data), EXPORTS[kind].type);
    talk.exported = talk.state;
    say(`Exported ${name}`);
  });

addEventListener("beforeunload", (event) => {
  if (talk.state !== talk.exported) event.preventDefault();
});

// Keys -------------------------------------------------------------------------------------------------------------

const KEYS = {
  " ": toggle,
  Enter: actions.hear,
  ArrowUp: () => actions.step(-1),
  ArrowDown: () => actions.step(1),
  s: actions.split,
  n: actions.add,
  Delete: actions.delete,
  Backspace: actions.delete,
  "[": () => actions.edge("start"),
  "]": () => actions.edge("end"),
  "+": () => zoom(zoomed + 0.12),
  "=": () => zoom(zoomed + 0.12),
  "-": () => zoom(zoomed - 0.12),
  0: () => zoom(0),
  "?": () => $("help").showModal(),
  Escape: () => select(null),
};

document.addEventListener("keydown", (event) => {
  const at = event.target;
  if ($("help").open || event.altKey || at.closest("input:not([type=range]), select, textarea")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  let action;
  if (event.ctrlKey || event.metaKey) {
    if (key === "z") action = () => (event.shiftKey ? talk.redo() : talk.undo());
    else if (key === "y") action = () => talk.redo();
  } else if (key === "ArrowLeft" || key === "ArrowRight") {
    if (at.type === "range") return;
    const by = (event.shiftKey ? 5 : 1) * (key === "ArrowLeft" ? -1 : 1);
    action = () => seek(Math.min(Math.max(now() + by, 0), data.duration));
  } else if ((key === "Enter" || key === " ") && at.closest("button:not(.turn)")) {
    return; // the button's own
  } else if (/^[1-9]$/.test(key)) {
    action = () => actions.give(Number(key) - 1);
  } else action = KEYS[key];
  if (!action) return;
  event.preventDefault();
  action();
});
document.addEventListener("keyup", (event) => {
  // Firefox presses a button when the space bar goes up; on a turn the space bar is play and pause.
  if (event.key === " " && event.target.closest?.(".turn")) event.preventDefault();
});

// Begin ------------------------------------------------------------------------------------------------------------

function render() {
  renderSpeakers();
  renderList();
  lanes.render();
  select(lanes.selected);
  $("undo").disabled = !talk.past.length;
  $("redo").disabled = !talk.future.length;
  const many = (count, what) => `${count} ${what}${count === 1 ? "" : "s"}`;
  const speaking = new Set(talk.turns.map((turn) => turn.speaker)).size;
  $("facts").textContent =
    `${clock(data.duration, 0)} · ${many(speaking, "speaker")} · ${many(talk.turns.length, "turn")}` +
    (talk.past.length ? ` · ${many(talk.past.length, "edit")}` : "");
  moved(now());
}

talk.addEventListener("change", (event) => {
  render();
  say(event.detail);
});
$("whole").append(element("i", { textContent: " / " }), clock(data.duration));
$("overview").setAttribute("aria-valuemax", data.duration.toFixed(1));
$("mute").hidden = hasSound;
surfer.on("ready", () => {
  layOut();
  render();
  document.body.dataset.ready = "shown"; // for tests, and for nobody else
});
let laidOut = 0; // the width that the page was laid out for
new ResizeObserver(() =>
  requestAnimationFrame(() => {
    if (viewWidth() === laidOut) return; // a lane more or less changes the height alone
    laidOut = viewWidth();
    if (surfer.options.height !== waveHeight()) surfer.setOptions({ height: waveHeight() });
    layOut();
  }),
).observe($("lanes"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  surfer.setOptions(waveColours());
  drawOverview();
});

// The sound stands last in the file and may be large: the page is there before it is.
async function listen() {
  if (!hasSound) return;
  const holder = $("sound");
  const bytes = fromBase64(holder.textContent.trim());
  holder.remove();
  try {
    await media.attach(bytes, data.heard, await lateness(fromBase64(data.probe), data.probe_s));
    $("play").disabled = false;
    document.body.dataset.ready = "sound";
  } catch (error) {
    say(error.message, true);
  }
}
const later = () => requestAnimationFrame(() => setTimeout(listen));
if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", later);
else later();
