/* Speakers with their talk times and names, and the list of turns; rows are kept, so that a cursor stays where it is. */

import { $, element, paint } from "./dom.js";

/* global clock, talkTimes */

export class Tables {
  /** handlers: rename(id, name), which throws what is wrong with a name; merge(from, into); show(turn) */
  constructor(handlers) {
    this.handlers = handlers;
    this.reset();
  }

  reset() {
    this.rows = new Map(); // speaker id -> parts of its row
    this.items = new Map(); // turn id -> { item, turn, speaker }
    $("speakers").replaceChildren();
    $("list").replaceChildren();
  }

  render(talk, settled) {
    this.renderSpeakers(talk, settled);
    this.renderList(talk);
    $("nobody").hidden = talk.speakers.length > 0;
    $("nobody").textContent = settled ? "Nobody spoke." : "Nobody has a final turn yet.";
    $("count").textContent = talk.turns.length ? String(talk.turns.length) : "";
  }

  renderSpeakers(talk, settled) {
    const times = talkTimes(talk.state);
    for (const [id, row] of this.rows)
      if (!talk.speaker(id)) {
        row.line.remove();
        this.rows.delete(id);
      }
    talk.speakers.forEach((speaker, place) => {
      const row = this.rows.get(speaker.id) ?? this.speakerRow(speaker);
      const body = $("speakers");
      if (body.children[place] !== row.line) body.insertBefore(row.line, body.children[place] ?? null);
      paint(row.line, speaker);
      const own = times.get(speaker.id);
      if (document.activeElement !== row.name) row.name.value = speaker.name;
      row.name.setAttribute("aria-label", `Name of ${speaker.name}`);
      row.seconds.textContent = clock(own.seconds, 1);
      row.share.textContent = `${(100 * own.share).toFixed(0)} %`;
      row.bar.style.width = `${100 * own.share}%`;
      row.turns.textContent = String(own.turns);
      row.into.hidden = !settled;
      if (!settled) return;
      const others = talk.speakers.filter((other) => other.id !== speaker.id);
      row.merge.replaceChildren(
        new Option("Merge…", ""),
        ...others.map((other) => new Option(other.name, String(other.id))),
      );
      row.merge.setAttribute("aria-label", `Merge ${speaker.name} into`);
      row.merge.disabled = !others.length;
    });
  }

  speakerRow(speaker) {
    const row = {
      line: element("tr"),
      name: element("input", { type: "text", spellcheck: false, autocomplete: "off", maxLength: 200 }),
      seconds: element("td", { className: "number" }),
      bar: element("i"),
      share: element("span"),
      turns: element("td", { className: "number turns" }),
      merge: element("select"),
    };
    row.into = element("td", { className: "merge" }, row.merge);
    row.line.append(
      element("td", { className: "who" }, element("i", { className: "swatch" }), row.name),
      row.seconds,
      element("td", { className: "share" }, element("span", { className: "meter" }, row.bar), row.share),
      row.turns,
      row.into,
    );
    row.name.addEventListener("change", () => {
      const name = this.handlers.rename(speaker.id, row.name.value);
      row.name.value = name;
    });
    row.name.addEventListener("keydown", (event) => {
      if (event.key === "Enter") row.name.blur();
      if (event.key === "Escape") {
        row.name.value = this.handlers.nameOf(speaker.id);
        row.name.blur();
      }
    });
    row.merge.addEventListener("change", () => this.handlers.merge(speaker.id, Number(row.merge.value)));
    this.rows.set(speaker.id, row);
    return row;
  }

  renderList(talk) {
    const list = $("list");
    const atEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - 8;
    const kept = new Set(talk.turns.map((turn) => turn.id));
    for (const [id, { item }] of this.items)
      if (!kept.has(id)) {
        item.remove();
        this.items.delete(id);
      }
    const speakers = new Map(talk.speakers.map((speaker) => [speaker.id, speaker]));
    talk.turns.forEach((turn, place) => {
      const speaker = speakers.get(turn.speaker);
      const row = this.items.get(turn.id) ?? this.listItem(turn.id);
      if (list.children[place] !== row.item) list.insertBefore(row.item, list.children[place] ?? null);
      if (row.turn === turn && row.speaker === speaker) return;
      Object.assign(row, { turn, speaker });
      paint(row.item, speaker);
      row.at.textContent = clock(turn.start, 1);
      row.who.textContent = speaker.name;
      row.long.textContent = `${(turn.end - turn.start).toFixed(1)} s`;
    });
    if (atEnd) list.scrollTop = list.scrollHeight;
  }

  listItem(id) {
    const row = {
      item: element("li"),
      at: element("span", { className: "at" }),
      who: element("span", { className: "who" }),
      long: element("span", { className: "long" }),
    };
    const button = element("button", { type: "button", title: "Show in the timeline" });
    button.append(row.at, element("i", { className: "swatch" }), row.who, row.long);
    button.addEventListener("click", () => this.handlers.show(row.turn));
    row.item.append(button);
    this.items.set(id, row);
    return row;
  }
}
