/* The microphone: what it hears as pieces of mono 16-bit samples, as raw as the browser gives it. */

/** What the browser does to sound for calls would take away what tells voices apart. */
const RAW = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };

const WHY = {
  NotAllowedError:
    "This page may not use the microphone. Allow it in the browser, beside the address, and press Listen again.",
  NotFoundError: "There is no microphone here. Plug one in and press Listen again.",
  NotReadableError: "The microphone does not answer; another program may hold it. Close that one and try again.",
};

export class Microphone {
  /** handlers: piece(Int16Array, peak 0..1), gap(seconds that were not recorded), ended() when it is unplugged */
  constructor(handlers) {
    this.handlers = handlers;
    this.stopped = false;
  }

  /** Ask for it; from a click, or the browser keeps the sound stopped. Throws an Error for people. */
  async open() {
    if (!navigator.mediaDevices?.getUserMedia)
      throw new Error("Browsers give the microphone to pages of https:// and of localhost only; open this page so.");
    this.context = new AudioContext();
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({ audio: RAW });
      await this.context.audioWorklet.addModule(new URL("worklet.js", import.meta.url));
      await this.context.resume();
    } catch (error) {
      this.release();
      throw new Error(WHY[error.name] ?? `The microphone cannot be used: ${error.message}`);
    }
    this.watch();
  }

  /** From now on pieces come. */
  begin() {
    this.node = new AudioWorkletNode(this.context, "pieces");
    this.node.port.onmessage = ({ data }) => this.hear(data);
    this.context.createMediaStreamSource(this.stream).connect(this.node);
    this.node.connect(this.context.destination); // silent: a node that leads nowhere may not be run
  }

  get sampleRate() {
    return this.context.sampleRate;
  }

  hear({ samples, peak, over }) {
    if (over) {
      this.release();
      this.flushed?.();
    } else if (samples.length) this.handlers.piece(samples, peak);
  }

  /** A call, or a screen that went dark, stops the sound for a while: that time has to count. */
  watch() {
    let since = null;
    this.context.addEventListener("statechange", () => {
      if (this.context.state === "running") {
        if (since !== null) this.handlers.gap((performance.now() - since) / 1000);
        since = null;
      } else if (this.context.state !== "closed") since ??= performance.now();
    });
    for (const track of this.stream.getTracks())
      track.addEventListener("ended", () => this.stopped || this.handlers.ended());
  }

  /** Stop; resolves when the last piece has been handed over. */
  stop() {
    this.stopped = true;
    if (!this.node || this.context.state !== "running") return this.release();
    return new Promise((done) => {
      this.flushed = done;
      this.node.port.postMessage("stop");
    });
  }

  release() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    if (this.context.state !== "closed") return this.context.close();
  }
}
