/* What is known while people speak: final turns, which only grow, and the last guess, which each new one replaces.
 *
 * Built on the report page's Talk, so that names, talk times and exports are the same code. A speaker has the label
 * that the server gave, and a name that a person may change at any time.
 */

/* global Talk */

/** Pieces of one turn touch: the server's times have whole samples, in at most 7 decimals. */
const TOUCH_S = 1e-6;

export class LiveTalk extends Talk {
  constructor() {
    super({ duration: 0, turns: [] });
    this.known = new Map(); // label -> speaker, from the first guess on: its colour stays
    this.guessed = []; // turns that are not final
    this.guessAt = 0; // the second up to which they were guessed
  }

  speakerOf(label) {
    let found = this.known.get(label);
    if (!found) {
      const taken = [...this.known.values()].some((speaker) => this.nameOf(speaker) === label);
      const name = taken ? `${label} (new)` : label;
      found = { id: this.nextId++, label, name, colour: this.known.size };
      this.known.set(label, found);
    }
    return found;
  }

  nameOf(speaker) {
    return (this.speaker(speaker.id) ?? speaker).name;
  }

  /** Speakers with a final turn, then those that are only guessed so far. */
  get shown() {
    const guessed = [...new Set(this.guessed.map((turn) => turn.speaker))];
    const others = [...this.known.values()].filter((one) => guessed.includes(one.id) && !this.speaker(one.id));
    return [...this.speakers, ...others];
  }

  final({ start, end, speaker: label }) {
    const speaker = this.speakerOf(label);
    const speakers = this.speaker(speaker.id) ? this.speakers : [...this.speakers, speaker];
    const last = this.turns.findLastIndex((turn) => turn.speaker === speaker.id);
    const turns = [...this.turns];
    if (last >= 0 && Math.abs(turns[last].end - start) <= TOUCH_S) turns[last] = { ...turns[last], end };
    else turns.push({ id: this.nextId++, start, end, speaker: speaker.id, confidence: null });
    this.state = { speakers, turns };
    this.duration = Math.max(this.duration, end);
    const until = this.turns.at(-1).end;
    this.guessed = this.guessed.filter((turn) => turn.end > until || turn.speaker !== speaker.id);
  }

  guess({ at, turns }) {
    this.guessAt = at;
    this.guessed = turns.map(({ start, end, speaker }) => ({ start, end, speaker: this.speakerOf(speaker).id }));
  }

  /** Who speaks at the end of what was guessed, as speakers. */
  get speaking() {
    const ids = new Set(this.guessed.filter((turn) => turn.end >= this.guessAt - 0.1).map((turn) => turn.speaker));
    return this.shown.filter((speaker) => ids.has(speaker.id));
  }

  /** Nothing is undone while turns still come: the state before a rename would lack the newest. */
  commit(what, said) {
    super.commit(what, said);
    this.past = [];
  }

  /** The result of the whole as a Talk. Who shares most time with a speaker that was seen keeps its colour and name:
   * the numbers in names like SPEAKER_01 mean nothing, and the result begins to count anew. */
  settled(result) {
    const rows = result.turns.map((turn) => [turn.start, turn.end, turn.speaker, turn.confidence]);
    const talk = new Talk({ duration: result.duration ?? this.duration, turns: rows });
    const pairs = [];
    for (const speaker of talk.speakers)
      for (const before of this.speakers) {
        const time = common(turnsOf(talk, speaker), turnsOf(this, before));
        if (time > 0) pairs.push({ time, speaker, before });
      }
    const seen = new Map(); // speaker of the result -> speaker that it was
    for (const { speaker, before } of pairs.sort((a, b) => b.time - a.time))
      if (!seen.has(speaker.id) && ![...seen.values()].includes(before)) seen.set(speaker.id, before);
    const colours = new Set([...seen.values()].map((before) => before.colour));
    const names = new Set([...seen.values()].map((before) => before.name));
    const speakers = talk.speakers.map((speaker) => {
      const before = seen.get(speaker.id);
      if (before) return { ...speaker, name: before.name, colour: before.colour };
      return { ...speaker, name: free(names, speaker.name, numbered), colour: free(colours, 0, (n) => n) };
    });
    speakers.sort((a, b) => a.colour - b.colour); // the lanes stay where they were
    talk.state = { ...talk.state, speakers };
    return talk;
  }
}

const numbered = (n) => `SPEAKER_${String(n).padStart(2, "0")}`;

/** `wanted`, or else the first of a series that is not taken; it is taken then. */
function free(taken, wanted, series) {
  let found = wanted;
  for (let n = 0; taken.has(found); n++) found = series(n);
  taken.add(found);
  return found;
}

const turnsOf = (talk, speaker) => talk.turns.filter((turn) => turn.speaker === speaker.id);

/** Seconds that two lists of turns share; both are in order. */
function common(some, others) {
  let seconds = 0;
  let first = 0;
  for (const turn of some) {
    while (first < others.length && others[first].end <= turn.start) first++;
    for (let i = first; i < others.length && others[i].start < turn.end; i++)
      seconds += Math.max(0, Math.min(turn.end, others[i].end) - Math.max(turn.start, others[i].start));
  }
  return seconds;
}
