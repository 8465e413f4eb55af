/* One time of listening: the microphone, the stream to the server, and what the page shows meanwhile. */

import { Microphone } from "./capture.js";
import { Connection } from "./connection.js";
import { $, element, enter, paint, problem } from "./dom.js";
import { KEPT_S, Outbox } from "./outbox.js";
import { LiveTalk } from "./talk.js";
import { askToken, token } from "./token.js";

/* global clock */

const QUIET = 0.001; // a peak below it, -60 dB, for some seconds: muted, or the wrong microphone
const QUIET_S = 6;
const OVERDUE_S = 2; // guesses come twice a second
const LATE_S = 4; // this much more than usual: the server does not keep up

export class Listening {
  /** options: latency_s, num_speakers. ended(name, talk, result or null, message): it is over. */
  constructor(board, options, ended) {
    this.board = board;
    this.ended = ended;
    this.options = options;
    this.name = `live ${new Date().toLocaleString("sv").replaceAll(":", "-")}`;
    this.talk = new LiveTalk();
    this.shownLevel = 0;
    this.quietS = 0;
    this.lostS = 0;
    this.behind = 0; // seconds
  }

  /** From a click. Throws an Error for people when there is no microphone to hear. */
  async begin() {
    this.microphone = new Microphone({
      piece: (samples, peak) => this.hear(samples, peak),
      gap: (seconds) => this.outbox.skip(seconds),
      ended: () => this.stop("The microphone went away; this is what was heard until then."),
    });
    await this.microphone.open();
    this.outbox = new Outbox(this.microphone.sampleRate);
    this.board.begin(this.talk, this.name);
    this.now("Connecting…");
    enter("starting");
    this.microphone.begin();
    this.connection = new Connection(
      {
        format: "s16le",
        sample_rate: this.microphone.sampleRate,
        guesses: true,
        name: this.name,
        ...this.options,
      },
      this.outbox,
      {
        token,
        wantsToken: askToken,
        begun: () => this.begun(),
        turn: (turn) => this.change(() => this.talk.final(turn)),
        guess: (guess) => this.change(() => this.talk.guess(guess)),
        lost: (seconds) => this.lose(seconds),
        away: () => this.away(),
        back: () => this.back(),
        done: (last) => this.done(last),
        failed: (message, code) => this.failed(message, code),
      },
    );
    this.lock = await navigator.wakeLock?.request("screen").catch(() => null); // a dark screen stops the sound
  }

  begun() {
    if (!this.connection.finishing) enter("listening");
    $("stop").focus({ preventScroll: true });
    this.now("Listening…");
  }

  get heard() {
    return this.outbox.end / this.outbox.sampleRate;
  }

  hear(samples, peak) {
    this.outbox.push(samples);
    this.connection?.pump();
    this.talk.duration = this.heard;
    $("heard").textContent = clock(Math.floor(this.heard), 0);
    this.board.timeline.reach(this.heard);
    this.lag();
    this.level(peak, samples.length / this.outbox.sampleRate);
  }

  /** The loudness, from -60 dB to full; and a word if there is none for long. */
  level(peak, seconds) {
    const percent = Math.round(100 * Math.max(0, Math.min(1, 1 + Math.log10(Math.max(peak, 1e-6)) / 3)));
    this.shownLevel = seconds ? Math.max(percent, this.shownLevel - 8) : 0; // falls slowly, to be seen
    $("level").style.setProperty("--level", `${this.shownLevel}%`);
    $("level").setAttribute("aria-valuenow", String(percent));
    this.quietS = peak < QUIET ? this.quietS + seconds : 0;
    const quiet = this.quietS >= QUIET_S;
    if (quiet !== this.quiet) {
      this.quiet = quiet;
      this.explain();
    }
  }

  /** Something came: show it, once a frame. */
  change(what) {
    what();
    this.behind = Math.max(0, this.heard - this.talk.guessAt);
    this.frame ??= requestAnimationFrame(() => this.show());
  }

  show() {
    this.frame = null;
    if (this.connection.over) return;
    this.board.render();
    const { speaking } = this.talk;
    if (this.connection.open && !this.connection.finishing) this.who(speaking);
    this.explain();
  }

  /** How far the last guess lies back, as it came; and more once the next one is overdue. */
  lag() {
    const now = this.heard - this.talk.guessAt;
    if (now > this.behind + OVERDUE_S) {
      this.behind = now;
      this.explain();
    }
    $("behind").textContent = this.talk.guessAt || now > OVERDUE_S ? `${this.behind.toFixed(1)} s` : "–";
  }

  /** Who speaks now, by name and colour. */
  who(speakers) {
    const key = JSON.stringify(speakers.map(({ name, colour }) => [name, colour]));
    if (key === this.whoShown) return; // a screen reader says what changes
    this.whoShown = key;
    const names = speakers.map((speaker) => {
      const one = element("span", { className: "speaker" }, element("i"), element("b", { textContent: speaker.name }));
      paint(one, speaker);
      return one;
    });
    $("who").classList.toggle("nobody", !names.length);
    $("who").replaceChildren(...(names.length ? names : ["Nobody speaks"]));
  }

  now(text) {
    this.whoShown = null;
    $("who").classList.add("nobody");
    $("who").textContent = text;
    this.explain();
  }

  /** A line under who speaks: what that means, or what keeps it from being right. */
  explain() {
    const { finishing, open } = this.connection ?? {};
    const late = this.behind > Number(this.options.latency_s) + LATE_S;
    let text = `Who seems to speak now. Turns are final after ${this.options.latency_s} s.`;
    if (late) text = "The server does not keep up; what is final comes later.";
    if (this.quiet) text = "There is no sound. Is the microphone muted, or another one meant?";
    if (!open) text = "Sound is kept meanwhile, and sent then.";
    if (finishing) text = "The last sound is on its way; then comes the final result.";
    $("how").textContent = text;
    $("how").classList.toggle("late", Boolean(late || this.quiet) && open && !finishing);
  }

  away() {
    this.now("Reconnecting…");
    problem(`The connection was lost. The page goes on listening, and keeps up to ${KEPT_S} s for when it is back.`, {
      passing: true,
    });
  }

  back() {
    problem("");
    this.now(this.connection.finishing ? "Finishing…" : "Listening…");
  }

  /** Sound that the outbox could not hold, or that the browser did not record. */
  lose(seconds) {
    this.lostS += seconds;
    problem(`${this.lostS.toFixed(1)} s were not heard; that time counts as silence.`, { passing: true });
  }

  /** Hear no more; the rest is decided. why : if a person did not ask for it */
  async stop(why = "") {
    if (!this.connection || this.stopping) return;
    this.stopping = true;
    this.why = why;
    await this.microphone.stop();
    this.lock?.release();
    if (this.connection.over) return;
    this.connection.finish();
    enter("finishing");
    this.level(0, 0);
    this.now("Finishing…");
  }

  done({ result, ended }) {
    problem(ended === "too_long" ? "The longest time that this server listens is over." : (this.why ?? ""));
    this.microphone.stop();
    this.lock?.release();
    this.ended(this.name, this.talk.settled(result), true);
  }

  failed(message) {
    this.microphone.stop();
    this.lock?.release();
    problem(message);
    this.ended(this.name, this.talk, false);
  }

  /** Listening goes on: leaving the page would end it. */
  get busy() {
    return Boolean(this.connection && !this.connection.over);
  }
}
