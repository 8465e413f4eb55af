/* Timeline, speakers and turns of one conversation, live or settled, and what a person may change in it. */

import { $, many, say } from "./dom.js";
import { Tables } from "./tables.js";
import { Timeline } from "./timeline.js";

/* global clock, download, EXPORTS */

export class Board {
  constructor() {
    this.timeline = new Timeline();
    this.tables = new Tables({
      rename: (id, name) => {
        this.attempt(() => this.talk.rename(id, name));
        return this.nameOf(id);
      },
      nameOf: (id) => this.nameOf(id),
      merge: (from, into) => this.attempt(() => this.talk.merge(from, into)),
      show: (turn) => this.timeline.show(turn),
    });
    $("undo").addEventListener("click", () => this.talk?.undo());
    document.addEventListener("keydown", (event) => {
      if (!this.settled || event.target.closest("input, select") || event.altKey) return;
      if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z") return;
      event.preventDefault();
      if (event.shiftKey) this.talk.redo();
      else this.talk.undo();
    });
  }

  nameOf(id) {
    return this.talk.speaker(id).name;
  }

  /** Begin with a conversation that still grows; `name` is what its files are called. */
  begin(talk, name) {
    this.timeline.reset();
    this.tables.reset();
    this.settled = false;
    this.take(talk, name);
  }

  /** Show the end of it: nothing grows any more. */
  settle(talk, name) {
    this.timeline.reset();
    this.tables.reset();
    this.timeline.live = false;
    this.settled = true;
    this.take(talk, name);
    this.timeline.reach(talk.duration);
    this.timeline.hold(false);
    $("lanes").scrollLeft = 0;
  }

  take(talk, name) {
    this.talk = talk;
    this.drawn = null;
    this.name = name;
    talk.addEventListener("change", (event) => {
      this.render();
      say(event.detail);
    });
    this.render();
  }

  render() {
    const { talk, settled } = this;
    if (settled) this.timeline.render({ speakers: talk.speakers, turns: talk.turns });
    else {
      const speaking = new Set(talk.speaking.map((speaker) => speaker.id));
      this.timeline.render({ speakers: talk.shown, turns: talk.turns, guessed: talk.guessed, speaking });
    }
    if (talk.state === this.drawn) return; // a guess changes the timeline alone
    this.drawn = talk.state;
    this.tables.render(talk, settled);
    $("undo").disabled = !talk.past.length;
    const speakers = `${many(talk.speakers.length, "speaker")} · ${many(talk.turns.length, "turn")}`;
    $("facts").textContent = settled ? `${clock(talk.duration, 0)} · ${speakers}` : speakers;
  }

  attempt(action) {
    try {
      action();
    } catch (error) {
      say(error.message, true);
    }
  }

  save(kind) {
    const { talk, name } = this;
    const file = `${name}.${kind}`;
    download(file, EXPORTS[kind].format(talk.state, { uri: name, duration: talk.duration }), EXPORTS[kind].type);
    talk.exported = talk.state;
    say(`Saved ${file}`);
  }

  /** Whether leaving would lose something: turns that are saved nowhere. */
  get unsaved() {
    return Boolean(this.talk?.turns.length) && this.talk.exported !== this.talk.state;
  }

  clear() {
    this.talk = null;
  }
}
