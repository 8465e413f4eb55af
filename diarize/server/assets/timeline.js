/* The timeline: a lane a speaker, a bar a turn, solid when final and hatched while guessed. It runs along with the
 * sound until somebody scrolls back; then it stays there, and a button returns to now.
 *
 * As in the report, bars stand at `seconds * --px`: zooming touches no bar, and one that did not change is kept.
 */

import { $, element, paint } from "./dom.js";

/* global clock */

const SPAN_S = { wide: 60, narrow: 24 }; // in view while listening
const AHEAD = 0.04; // of the view, empty to the right of now
const STEPS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600];
const STEP_PX = 62; // between two labels of the ruler, at least
const TICK_PX = 32; // of a label
const MOST_PX = 400; // a second
const LEAST_PX = 0.05;

export class Timeline {
  constructor() {
    this.root = $("lanes"); // scrolls
    this.inner = $("lanes-inner");
    this.scale = 1; // what the zoom buttons make of the pixels a second
    this.reset();
    // only a person's hand lets go of now: a wheel, a finger, a key, the scroll bar
    for (const kind of ["wheel", "touchmove", "pointerdown", "keydown"])
      this.root.addEventListener(kind, () => (this.handled = performance.now()), { passive: true });
    this.root.addEventListener("scroll", () => this.scrolled());
    $("follow").addEventListener("click", () => this.hold(true));
    $("zoom-in").addEventListener("click", () => this.zoom(1.5));
    $("zoom-out").addEventListener("click", () => this.zoom(1 / 1.5));
    $("zoom-fit").addEventListener("click", () => this.fit());
    new ResizeObserver(() => this.layOut()).observe(this.root);
  }

  reset() {
    this.lanes = new Map(); // speaker id -> lane
    this.bars = new Map(); // turn id -> { element, turn }
    this.live = true;
    this.seconds = 0; // how far the lanes reach
    this.scale = 1;
    this.ticks = { step: 0, count: 0 };
    for (const lane of this.inner.querySelectorAll(".lane")) lane.remove();
    $("names").replaceChildren();
    this.hold(true);
    this.layOut();
  }

  // Seconds and pixels --------------------------------------------------------------------------------------------

  get width() {
    return this.root.clientWidth;
  }

  /** Pixels a second. */
  get px() {
    const span = this.live ? (this.width > 600 ? SPAN_S.wide : SPAN_S.narrow) : Math.max(this.seconds, 1);
    const room = this.live ? this.width * (1 - AHEAD) : this.width;
    return Math.min(Math.max((room / span) * this.scale, LEAST_PX), MOST_PX);
  }

  /** Time went on, or the width or the zoom changed. */
  layOut() {
    if (!this.width) return;
    const { px, width } = this;
    this.inner.style.setProperty("--px", String(px));
    this.inner.style.width = `${Math.max(width, this.seconds * px + (this.live ? width * AHEAD : 0))}px`;
    $("playhead").hidden = !this.live;
    $("playhead").style.transform = `translateX(${this.seconds * px}px)`;
    this.rule(Math.max(this.seconds, width / px));
    if (this.live && this.following) this.root.scrollLeft = this.root.scrollWidth;
  }

  reach(seconds) {
    this.seconds = seconds;
    this.layOut();
  }

  rule(until) {
    const step = STEPS_S.find((seconds) => seconds * this.px >= STEP_PX) ?? STEPS_S.at(-1);
    const count = Math.ceil((until - TICK_PX / this.px) / step); // one that would be cut off is left out
    if (step !== this.ticks.step) {
      $("ruler").replaceChildren();
      this.ticks = { step, count: 0 };
    }
    for (; this.ticks.count < count; this.ticks.count++) {
      const tick = element("span", { textContent: clock(this.ticks.count * step, 0) });
      tick.style.setProperty("--s", String(this.ticks.count * step));
      $("ruler").append(tick);
    }
    while ($("ruler").childElementCount > count) $("ruler").lastElementChild.remove();
    this.ticks.count = Math.min(this.ticks.count, count);
  }

  zoom(by) {
    const middle = (this.root.scrollLeft + this.width / 2) / this.px;
    this.scale *= by;
    if (!this.live) this.scale = Math.max(1, this.scale);
    this.layOut();
    if (!(this.live && this.following)) this.root.scrollLeft = middle * this.px - this.width / 2;
  }

  fit() {
    this.scale = 1;
    this.layOut();
  }

  hold(on) {
    this.following = on;
    $("follow").hidden = on || !this.live;
    if (on) this.layOut();
  }

  scrolled() {
    if (!this.live || performance.now() - (this.handled ?? -Infinity) > 1500) return;
    this.hold(this.root.scrollLeft + this.width >= this.root.scrollWidth - 12);
  }

  /** Bring a turn into view and mark it. */
  show(turn) {
    const bar = this.bars.get(turn.id)?.element;
    if (!bar) return;
    if (this.live) this.hold(false);
    for (const other of this.inner.querySelectorAll("[aria-current]")) other.removeAttribute("aria-current");
    bar.setAttribute("aria-current", "true");
    const [left, right] = [turn.start * this.px, turn.end * this.px];
    if (left < this.root.scrollLeft || right > this.root.scrollLeft + this.width)
      this.root.scrollLeft = Math.max(0, (left + right - this.width) / 2);
  }

  // Lanes and bars --------------------------------------------------------------------------------------------------

  /** speakers: in the order of their lanes. speaking: ids of those who speak now. */
  render({ speakers, turns, guessed = [], speaking = new Set() }) {
    const rows = [];
    for (const speaker of speakers) {
      const lane = this.lanes.get(speaker.id) ?? element("div", { className: "lane" });
      this.lanes.set(speaker.id, lane);
      paint(lane, speaker);
      rows.push(lane);
    }
    const shown = new Set(speakers.map((speaker) => speaker.id));
    for (const [id, lane] of this.lanes)
      if (!shown.has(id)) {
        lane.remove();
        this.lanes.delete(id);
      }
    rows.forEach((lane, place) => {
      // the ruler stands before them, the playhead after
      if (this.inner.children[place + 1] !== lane) this.inner.insertBefore(lane, this.inner.children[place + 1]);
    });
    for (const bar of this.inner.querySelectorAll(".guessed")) bar.remove();
    const kept = new Set(turns.map((turn) => turn.id));
    for (const [id, bar] of this.bars)
      if (!kept.has(id)) {
        bar.element.remove();
        this.bars.delete(id);
      }
    for (const turn of turns) this.draw(turn);
    for (const turn of guessed) {
      const bar = element("div", { className: "turn guessed" });
      place(bar, turn);
      this.lanes.get(turn.speaker)?.prepend(bar);
    }
    this.nameLanes(speakers, speaking);
  }

  draw(turn) {
    const before = this.bars.get(turn.id);
    if (before?.turn === turn) return;
    const bar = before?.element ?? element("div", { className: "turn" });
    bar.dataset.turn = turn.id;
    place(bar, turn);
    bar.style.setProperty("--sure", turn.confidence === null ? "100%" : `${Math.round(25 + 75 * turn.confidence)}%`);
    const lane = this.lanes.get(turn.speaker);
    if (bar.parentElement !== lane) lane.append(bar);
    this.bars.set(turn.id, { element: bar, turn });
  }

  nameLanes(speakers, speaking) {
    const key = JSON.stringify(speakers.map(({ id, name, colour }) => [id, name, colour, speaking.has(id)]));
    if (key === this.named) return;
    this.named = key;
    $("names").replaceChildren(
      ...speakers.map((speaker) => {
        const name = element("div", { className: "name", title: speaker.name });
        name.append(element("i"), element("span", { textContent: speaker.name }));
        name.classList.toggle("speaking", speaking.has(speaker.id));
        paint(name, speaker);
        return name;
      }),
    );
  }
}

function place(bar, { start, end }) {
  bar.style.setProperty("--s", String(start));
  bar.style.setProperty("--d", String(end - start));
}
