/* Who speaks when, as it is corrected: speakers, turns, and every state there was before.
 *
 * A state is never changed. Every change makes a new one that shares what stayed the same, so undoing is
 * going back to an old one, and a thousand of them cost little.
 */

const LEAST_S = 0.01; // no turn is made shorter than this by hand

const toMs = (seconds) => {
  // As Python's round(): halves go to the even neighbour, so that files from here and from there are equal.
  const scaled = seconds * 1000;
  const below = Math.floor(scaled);
  if (scaled - below !== 0.5) return Math.round(scaled);
  return below % 2 === 0 ? below : below + 1;
};
const wholeMs = (seconds) => toMs(seconds) / 1000;

const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
const inOrder = (a, b) => a.start - b.start || a.end - b.end || compare(a.id, b.id);

class Talk extends EventTarget {
  constructor(data) {
    super();
    this.duration = data.duration;
    this.nextId = 0;
    const speakers = [];
    const turns = data.turns.map(([start, end, name, confidence]) => {
      let speaker = speakers.find((one) => one.name === name);
      if (!speaker) speakers.push((speaker = { id: this.nextId++, name, colour: speakers.length }));
      return { id: this.nextId++, start, end, speaker: speaker.id, confidence };
    });
    this.state = { speakers, turns: turns.sort(inOrder) };
    this.past = [];
    this.future = [];
    this.exported = this.state; // leaving the page loses nothing while the state is this one
  }

  get speakers() {
    return this.state.speakers;
  }

  get turns() {
    return this.state.turns;
  }

  turn(id) {
    return this.state.turns.find((turn) => turn.id === id);
  }

  speaker(id) {
    return this.state.speakers.find((speaker) => speaker.id === id);
  }

  /** What a new speaker is called: SPEAKER_00, or the first number that is not taken. */
  freeName() {
    const taken = new Set(this.speakers.map((speaker) => speaker.name));
    for (let n = 0; ; n++) {
      const name = `SPEAKER_${String(n).padStart(2, "0")}`;
      if (!taken.has(name)) return name;
    }
  }

  // Every change says in words what it did; a refusal is a string as well, thrown as an Error.

  rename(id, name) {
    name = name.trim();
    const before = this.speaker(id).name;
    if (name === before) return;
    if (!name) throw new Error("A speaker needs a name.");
    if (this.speakers.some((speaker) => speaker.name === name))
      throw new Error(`There is a ${name} already. To make one speaker of two, merge them.`);
    this.commit({ speakers: replaced(this.speakers, id, { name }) }, `Renamed ${before} to ${name}`);
  }

  merge(from, into) {
    const names = [this.speaker(from).name, this.speaker(into).name];
    const turns = this.turns.map((turn) => (turn.speaker === from ? { ...turn, speaker: into } : turn));
    this.commit(
      { speakers: this.speakers.filter((speaker) => speaker.id !== from), turns: united(turns, into) },
      `Merged ${names[0]} into ${names[1]}`,
    );
  }

  addSpeaker() {
    const colours = this.speakers.map((speaker) => speaker.colour);
    let colour = 0;
    while (colours.includes(colour)) colour++;
    const speaker = { id: this.nextId++, name: this.freeName(), colour };
    this.commit({ speakers: [...this.speakers, speaker] }, `Added ${speaker.name}`);
    return speaker;
  }

  /** Change a turn: its speaker, its start, its end. What a person has set has no confidence of a machine. */
  change(id, what) {
    const turn = this.turn(id);
    const next = { ...turn, ...this.span(what.start ?? turn.start, what.end ?? turn.end, what) };
    next.speaker = what.speaker ?? turn.speaker;
    if (next.start === turn.start && next.end === turn.end && next.speaker === turn.speaker) return;
    next.confidence = null;
    const said =
      next.speaker === turn.speaker
        ? `Moved the turn to ${clock(next.start)} – ${clock(next.end)}`
        : `The turn is now ${this.speaker(next.speaker).name}’s`;
    this.commit({ turns: replaced(this.turns, id, next) }, said);
  }

  /** Start and end inside the recording, in whole ms where they were set, at least LEAST_S apart. */
  span(start, end, set) {
    const limit = (seconds, low, high) => Math.min(Math.max(seconds, low), high);
    if (set.start !== undefined) start = limit(wholeMs(start), 0, Math.max(0, end - LEAST_S));
    if (set.end !== undefined) end = limit(wholeMs(end), start + LEAST_S, this.duration);
    return { start, end };
  }

  split(id, at) {
    const turn = this.turn(id);
    at = wholeMs(at);
    if (!(at >= turn.start + LEAST_S && at <= turn.end - LEAST_S))
      throw new Error("To split a turn, put the playhead inside it.");
    const second = { ...turn, id: this.nextId++, start: at, confidence: null };
    const turns = replaced(this.turns, id, { end: at, confidence: null });
    this.commit({ turns: [...turns, second] }, `Split the turn at ${clock(at)}`);
    return second;
  }

  remove(id) {
    const turn = this.turn(id);
    const whose = this.speaker(turn.speaker).name;
    this.commit(
      { turns: this.turns.filter((other) => other.id !== id) },
      `Deleted ${whose}’s turn at ${clock(turn.start)}`,
    );
  }

  add(start, end, speaker) {
    const turn = { id: this.nextId++, start: 0, end: this.duration, speaker, confidence: null };
    start = Math.min(start, this.duration - LEAST_S);
    Object.assign(turn, this.span(start, this.duration, { start }));
    Object.assign(turn, this.span(turn.start, end, { end }));
    this.commit(
      { turns: [...this.turns, turn] },
      `Added a turn of ${this.speaker(speaker).name} at ${clock(turn.start)}`,
    );
    return turn;
  }

  commit(what, said) {
    this.past.push({ state: this.state, said });
    this.future = [];
    this.state = { ...this.state, ...what };
    if (what.turns) this.state.turns = [...what.turns].sort(inOrder);
    this.tell(said);
  }

  undo() {
    const last = this.past.pop();
    if (!last) return;
    this.future.push({ state: this.state, said: last.said });
    this.state = last.state;
    this.tell(`Undone: ${last.said}`);
  }

  redo() {
    const next = this.future.pop();
    if (!next) return;
    this.past.push({ state: this.state, said: next.said });
    this.state = next.state;
    this.tell(`Redone: ${next.said}`);
  }

  tell(said) {
    this.dispatchEvent(new CustomEvent("change", { detail: said }));
  }
}

function replaced(list, id, what) {
  return list.map((one) => (one.id === id ? { ...one, ...what } : one));
}

/** Turns in which those of one speaker that overlap or touch became one. */
function united(turns, speaker) {
  const others = turns.filter((turn) => turn.speaker !== speaker);
  const own = [];
  for (const turn of turns.filter((one) => one.speaker === speaker).sort(inOrder)) {
    const last = own.at(-1);
    if (last && turn.start <= last.end)
      own[own.length - 1] = { ...last, end: Math.max(last.end, turn.end), confidence: null };
    else own.push(turn);
  }
  return [...others, ...own];
}

/** How long each speaker speaks: seconds that several of its turns cover count once, and so do shares. */
function talkTimes(state) {
  const found = new Map(
    state.speakers.map(({ id }) => [id, { seconds: 0, overlapped: 0, turns: 0, longest: 0, share: 0 }]),
  );
  const edges = [];
  for (const turn of state.turns) {
    const own = found.get(turn.speaker);
    own.turns++;
    own.longest = Math.max(own.longest, turn.end - turn.start);
    edges.push([turn.start, 1, turn.speaker], [turn.end, -1, turn.speaker]);
  }
  edges.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const running = new Map();
  let before = 0;
  for (const [time, step, speaker] of edges) {
    for (const id of running.keys()) {
      found.get(id).seconds += time - before;
      if (running.size > 1) found.get(id).overlapped += time - before;
    }
    const open = (running.get(speaker) ?? 0) + step;
    if (open) running.set(speaker, open);
    else running.delete(speaker);
    before = time;
  }
  let total = 0;
  for (const own of found.values()) total += own.seconds;
  for (const own of found.values()) own.share = total ? own.seconds / total : 0;
  return found;
}

/** Seconds as 1:02.345, from an hour on as 1:01:02.345; with fewer decimals where they are asked for. */
function clock(seconds, decimals = 3) {
  const scale = 10 ** decimals;
  const whole = Math.round(seconds * scale);
  const parts = [Math.floor(whole / scale / 60) % 60, Math.floor(whole / scale) % 60];
  const hours = Math.floor(whole / scale / 3600);
  const text = hours
    ? `${hours}:${String(parts[0]).padStart(2, "0")}:${String(parts[1]).padStart(2, "0")}`
    : `${parts[0]}:${String(parts[1]).padStart(2, "0")}`;
  return decimals ? `${text}.${String(whole % scale).padStart(decimals, "0")}` : text;
}

/** What a person wrote for a time: 62.5, 1:02.5, 1:01:02.5; NaN for anything else. */
function parseClock(text) {
  const parts = text.trim().replace(",", ".").split(":");
  if (parts.length > 3 || !parts.every((part) => /^\d+(\.\d*)?$/.test(part))) return NaN;
  return parts.reduce((sum, part) => 60 * sum + Number(part), 0);
}
