/* A live stream over the WebSocket: sound out, turns in; lost connections are made again and go on where they were.
 *
 * The protocol is in docs/server.md. Final turns carry a number: none is taken twice, and after a lost connection the
 * server is told the last one that came.
 */

const FULL_BYTES = 256 * 1024; // waiting in the browser: more is kept in the outbox instead, whose size is bounded
const SILENT_MS = 15_000; // the server says each second what has arrived; after so long the connection is dead
const RESULT_MS = 60_000; // the last result of a long stream takes its time, in which nothing is said
const PING_MS = 25_000; // while there is no sound to send, the server wants a sign of life
const WAITS_MS = [300, 600, 1200, 2500, 5000];
const FIRST_TRIES = 3; // before a server that never answered is given up
const MOST_FAULTS = 3; // of the server, in one stream
const GRACE_S = 5; // longer than the server keeps a stream without its client

/** Refusals after which a stream does not go on. */
const LAST_WORDS = new Set(["bad_request", "unsupported", "forbidden", "gone"]);

export class Connection {
  /** options: of the start message. outbox: what is sent. handlers: begun, turn, guess, lost(seconds),
   * away, back, done, failed; token() and wantsToken(why), which resolves to a token or to null. */
  constructor(options, outbox, handlers) {
    this.options = options;
    this.outbox = outbox;
    this.handlers = handlers;
    this.stream = null; // its id, once there is one
    this.seq = 0; // the last final turn that came
    this.received = 0; // seconds that the server has
    this.awayAt = null; // when the connection was lost
    this.tries = 0; // that got no answer, since the last one
    this.faults = 0;
    this.open = false;
    this.finishing = false;
    this.over = false;
    this.retry = () => this.awayAt && this.again(0); // the network is back
    addEventListener("online", this.retry);
    this.clock = setInterval(() => this.tick(), 500);
    this.connect();
  }

  connect() {
    clearTimeout(this.timer);
    this.drop();
    const socket = new WebSocket(new URL("v1/stream", document.baseURI.replace(/^http/, "ws")));
    this.socket = socket;
    this.heardAt = performance.now();
    this.refusal = null;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.start();
    socket.onmessage = (event) => {
      this.heardAt = performance.now();
      this.take(JSON.parse(event.data));
    };
    socket.onclose = () => this.closed();
  }

  start() {
    const token = this.handlers.token();
    const resume = this.stream ? { resume: this.stream, have: this.seq } : this.options;
    this.tell({ type: "start", ...resume, ...(token ? { token } : {}) });
  }

  tell(message) {
    this.send(JSON.stringify(message));
  }

  send(data) {
    this.socket.send(data);
    this.sentAt = performance.now();
  }

  take(message) {
    if (message.type === "started") this.started(message);
    else if (message.type === "turn" && message.seq > this.seq) {
      this.seq = message.seq;
      this.handlers.turn(message);
    } else if (message.type === "guess") this.handlers.guess(message);
    else if (message.type === "ack") this.acknowledged(message.received_s);
    else if (message.type === "done") {
      this.end();
      this.handlers.done(message);
    } else if (message.type === "error") this.refusal = message;
  }

  started(message) {
    const again = this.stream !== null;
    this.stream = message.stream;
    this.keptS = message.resume_s ?? 60;
    this.awayAt = null;
    this.tries = 0;
    this.outbox.rewind(Math.round(message.received_s * this.outbox.sampleRate));
    this.acknowledged(message.received_s);
    this.open = true;
    this.told = false;
    if (again) this.handlers.back();
    else this.handlers.begun(message);
    this.pump();
  }

  acknowledged(seconds) {
    this.received = seconds;
    this.outbox.arrived(Math.round(seconds * this.outbox.sampleRate));
  }

  /** Whether sound may go out; a socket that is closing would take it, and lose it. */
  get ready() {
    return this.open && this.socket.readyState === WebSocket.OPEN;
  }

  /** Send what there is, as long as the network takes it. */
  pump() {
    if (!this.ready) return;
    while (this.socket.bufferedAmount < FULL_BYTES && !this.outbox.empty) {
      const { samples, missing, at } = this.outbox.take();
      if (missing) {
        this.tell({ type: "at", seconds: at });
        this.handlers.lost(missing);
      }
      this.send(samples);
    }
    if (this.finishing && this.outbox.empty && !this.told) {
      this.told = true;
      this.tell({ type: "finish" });
    }
  }

  finish() {
    this.finishing = true;
    this.pump();
  }

  tick() {
    this.pump();
    const now = performance.now();
    const waits = !this.open || this.told || this.outbox.there > this.received * this.outbox.sampleRate + 1;
    if (!waits) this.heardAt = now; // nothing was sent that has to be answered
    if (this.ready && now - this.sentAt > PING_MS) this.tell({ type: "ping" });
    const patience = this.told ? RESULT_MS : SILENT_MS;
    if (this.socket.readyState < WebSocket.CLOSING && now - this.heardAt > patience) {
      this.drop();
      this.closed();
    }
  }

  closed() {
    if (this.over) return;
    const before = this.open;
    this.open = false;
    const { code, message } = this.refusal ?? {};
    if (code === "unauthorised") return this.authorise(message);
    if (code === "internal") this.faults++;
    if (code && (!this.stream || LAST_WORDS.has(code) || this.faults > MOST_FAULTS)) return this.fail(message, code);
    this.awayAt ??= performance.now();
    const gone = this.stream && performance.now() - this.awayAt > (this.keptS + GRACE_S) * 1000;
    if (gone) return this.fail("The connection did not come back in time.", "lost");
    this.tries++;
    if (!this.stream && this.tries >= FIRST_TRIES)
      return this.fail("The server does not answer, or does not let this page in. Is it still running?", "absent");
    if (before) this.handlers.away();
    this.again(WAITS_MS[Math.min(this.tries, WAITS_MS.length) - 1]);
  }

  again(wait) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.connect(), wait);
  }

  /** Whatever the old connection may still do does not matter. */
  drop() {
    if (!this.socket) return;
    this.socket.onclose = this.socket.onmessage = this.socket.onopen = null;
    this.socket.close();
  }

  async authorise(why) {
    const token = await this.handlers.wantsToken(why);
    if (this.over) return;
    if (token === null) this.fail(why, "unauthorised");
    else this.connect();
  }

  fail(message, code) {
    this.end();
    this.handlers.failed(message, code);
  }

  /** No more of it: nothing is sent or taken. */
  end() {
    this.over = true;
    this.open = false;
    removeEventListener("online", this.retry);
    clearInterval(this.clock);
    clearTimeout(this.timer);
    this.drop();
  }
}
