/* The turns: a lane a speaker, a bar a turn. Bars are moved by one variable, pixels a second, so that zooming
 * touches no bar; a bar that did not change is kept, so that an edit of one among 600 costs one.
 *
 * Dragging: an edge of a bar moves it; from an empty place of a lane a new turn is drawn. Until the pointer is
 * let go nothing is committed, and Escape or a scroll that the browser starts takes it back.
 */

const DRAG_PX = 4; // less is a click

class Lanes {
  constructor(root, talk, handlers) {
    this.root = root; // scrolls
    this.inner = root.querySelector("#lanes-inner");
    this.talk = talk;
    this.handlers = handlers; // seek(s), hear(turn), select(id or null)
    this.rows = new Map(); // speaker id -> lane element
    this.bars = new Map(); // turn id -> { element, turn, speaker }
    this.pxPerSec = 1;
    this.selected = null;
    this.drag = null;
    this.inner.addEventListener("pointerdown", (event) => this.press(event));
    // where the pointer goes from there: on the window, for it may leave the lanes, and the page
    addEventListener("pointermove", (event) => this.move(event));
    addEventListener("pointerup", (event) => this.release(event));
    addEventListener("pointercancel", () => this.abort());
    this.inner.addEventListener("click", (event) => this.click(event));
    document.addEventListener("keydown", (event) => event.key === "Escape" && this.abort());
  }

  resize(width) {
    this.pxPerSec = width / (this.talk.duration || 1);
    this.inner.style.width = `${width}px`;
    this.inner.style.setProperty("--px", String(this.pxPerSec));
  }

  secondsAt(event) {
    return (event.clientX - this.inner.getBoundingClientRect().left) / this.pxPerSec;
  }

  /** The same, inside the recording. */
  timeAt(event) {
    return Math.min(Math.max(this.secondsAt(event), 0), this.talk.duration);
  }

  render() {
    const { speakers, turns } = this.talk;
    const kept = new Set(speakers.map((speaker) => speaker.id));
    for (const [id, row] of this.rows)
      if (!kept.has(id)) {
        row.remove();
        this.rows.delete(id);
      }
    speakers.forEach((speaker, place) => {
      let row = this.rows.get(speaker.id);
      if (!row) {
        row = element("div", { className: "lane", role: "group" });
        row.dataset.speaker = speaker.id;
        this.rows.set(speaker.id, row);
      }
      row.setAttribute("aria-label", `Turns of ${speaker.name}`);
      paint(row, speaker);
      if (this.inner.children[place] !== row) this.inner.insertBefore(row, this.inner.children[place] ?? null);
    });
    const live = new Set(turns.map((turn) => turn.id));
    for (const [id, bar] of this.bars)
      if (!live.has(id)) {
        bar.element.remove();
        this.bars.delete(id);
      }
    for (const turn of turns) {
      const speaker = this.talk.speaker(turn.speaker);
      const bar = this.bars.get(turn.id);
      if (bar && bar.turn === turn && bar.speaker === speaker) continue;
      this.draw(turn, speaker, bar?.element);
    }
    this.select(this.selected !== null && live.has(this.selected) ? this.selected : null);
  }

  draw(turn, speaker, bar) {
    if (!bar) {
      bar = element("button", { className: "turn", type: "button", tabIndex: -1 });
      bar.dataset.turn = turn.id;
      bar.append(element("span", { className: "edge start" }), element("span", { className: "edge end" }));
    }
    this.place(bar, turn.start, turn.end);
    bar.style.setProperty("--sure", turn.confidence === null ? "100%" : `${Math.round(25 + 75 * turn.confidence)}%`);
    const known = turn.confidence === null ? "" : `, confidence ${Math.round(100 * turn.confidence)} %`;
    const words = `${speaker.name}, ${clock(turn.start)} to ${clock(turn.end)}${known}`;
    bar.setAttribute("aria-label", words);
    bar.title = words;
    const row = this.rows.get(turn.speaker);
    if (bar.parentElement !== row) row.append(bar);
    this.bars.set(turn.id, { element: bar, turn, speaker });
  }

  place(bar, start, end) {
    bar.style.setProperty("--s", String(start));
    bar.style.setProperty("--d", String(end - start));
  }

  select(id) {
    const before = this.bars.get(this.selected)?.element;
    const next = this.bars.get(id)?.element;
    before?.removeAttribute("aria-current");
    if (before) before.tabIndex = -1;
    next?.setAttribute("aria-current", "true");
    this.selected = next ? id : null;
    // One bar is reached by Tab, the others from there by the arrows: nobody tabs through 600.
    const first = next ?? this.bars.get(this.talk.turns[0]?.id)?.element;
    if (this.reached && this.reached !== first) this.reached.tabIndex = -1;
    if (first) first.tabIndex = 0;
    this.reached = first;
  }

  // What is under the pointer may be the edge of a bar, a bar, or a lane.

  press(event) {
    if (event.button !== 0) return;
    this.abort();
    const bar = event.target.closest(".turn");
    const edge = event.target.closest(".edge");
    if (bar && !edge) return; // a click will follow
    if (!bar && event.pointerType === "touch") return; // a finger on an empty lane scrolls
    const turn = bar && this.talk.turn(Number(bar.dataset.turn));
    const row = event.target.closest(".lane");
    if (!row) return;
    this.drag = {
      pointer: event.pointerId,
      x: event.clientX,
      moved: false,
      side: edge && (edge.classList.contains("start") ? "start" : "end"),
      turn,
      bar,
      speaker: Number(row.dataset.speaker),
      from: this.timeAt(event),
      // the edge keeps its distance to the pointer, so that pressing alone moves nothing
      grip: turn ? this.secondsAt(event) - (edge.classList.contains("start") ? turn.start : turn.end) : 0,
    };
    if (bar) this.handlers.select(turn.id);
  }

  move(event) {
    const drag = this.drag;
    if (!drag || event.pointerId !== drag.pointer) return;
    if (!event.buttons) return this.abort(); // let go where nobody saw it
    if (!drag.moved && Math.abs(event.clientX - drag.x) < DRAG_PX) return;
    drag.moved = true;
    if (drag.turn) {
      const time = this.secondsAt(event) - drag.grip;
      const span = { start: drag.turn.start, end: drag.turn.end, [drag.side]: time };
      Object.assign(drag, this.talk.span(span.start, span.end, { [drag.side]: time }));
    } else {
      const time = this.timeAt(event);
      drag.start = wholeMs(Math.min(drag.from, time));
      drag.end = wholeMs(Math.max(drag.from, time));
      if (!drag.bar) {
        drag.bar = element("div", { className: "turn ghost" });
        this.rows.get(drag.speaker).append(drag.bar);
      }
    }
    this.place(drag.bar, drag.start, drag.end);
  }

  release(event) {
    const drag = this.drag;
    if (!drag || event.pointerId !== drag.pointer) return;
    this.drag = null;
    this.justDragged = drag.moved;
    setTimeout(() => (this.justDragged = false)); // a click may follow, and may not
    if (!drag.moved) return;
    if (drag.turn) {
      const what = drag.side === "start" ? { start: drag.start } : { end: drag.end };
      this.talk.change(drag.turn.id, what);
      this.restore(drag);
    } else {
      drag.bar.remove();
      if (drag.end - drag.start >= LEAST_S)
        this.handlers.select(this.talk.add(drag.start, drag.end, drag.speaker).id);
    }
  }

  abort() {
    const drag = this.drag;
    if (!drag) return;
    this.drag = null;
    if (drag.turn) this.restore(drag);
    else drag.bar?.remove();
  }

  restore(drag) {
    const bar = this.bars.get(drag.turn.id);
    if (bar) this.place(bar.element, bar.turn.start, bar.turn.end);
  }

  click(event) {
    if (this.justDragged) return;
    const bar = event.target.closest(".turn");
    if (bar) {
      const turn = this.talk.turn(Number(bar.dataset.turn));
      this.handlers.select(turn.id);
      this.handlers.hear(turn);
    } else {
      this.handlers.select(null);
      this.handlers.seek(this.timeAt(event));
    }
  }
}

/** An element with these properties; text goes into textContent, so a name is never markup. */
function element(tag, properties = {}, ...children) {
  const { role, label, ...plain } = properties;
  const made = Object.assign(document.createElement(tag), plain);
  if (role) made.setAttribute("role", role);
  if (label) made.setAttribute("aria-label", label);
  made.append(...children);
  return made;
}

/** The colour of a speaker; from the tenth on colours come again, with stripes. */
function paint(target, speaker) {
  target.style.setProperty("--c", PALETTE[speaker.colour % PALETTE.length]);
  target.classList.toggle("striped", Math.floor(speaker.colour / PALETTE.length) % 2 === 1);
}
