/* The sound, and the waveform that shows it.
 *
 * wavesurfer.js draws the waveform, the ruler and the edges of the selected turn, scrolls with the sound and zooms.
 * It is given a `Media` in place of an audio element: one that keeps the clock of the recording whatever the
 * browser makes of the file, and that works without any sound as well.
 */

class Media extends EventTarget {
  constructor(duration) {
    super();
    this.duration = duration;
    this.audio = null;
    this.shift = 0; // seconds by which the browser plays too late
    this.place = 0; // where the playhead is while there is no sound
    this.src = ""; // wavesurfer may set it; the sound comes from attach()
    this.currentSrc = "";
    this.crossOrigin = null;
    this.muted = false;
  }

  /** Play this from now on: bytes of MP3 that are `heard` seconds; `late` as lateness() found it. */
  attach(bytes, heard, late) {
    const audio = new Audio();
    audio.preload = "auto";
    const hand = (name) => audio.addEventListener(name, () => this.dispatchEvent(new Event(name)));
    ["play", "pause", "ended", "timeupdate", "seeking", "seeked", "ratechange", "volumechange"].forEach(hand);
    return new Promise((resolve, reject) => {
      audio.addEventListener("error", () => reject(new Error("This browser cannot play the sound of this page.")));
      audio.addEventListener(
        "loadedmetadata",
        () => {
          // A browser that leaves the encoder's delay out, as the header asks, finds a file of `heard` seconds.
          // One that does not finds more, and plays everything late.
          this.shift = audio.duration - heard > 0.005 ? late : 0;
          this.audio = audio;
          audio.currentTime = this.place + this.shift;
          resolve(this);
        },
        { once: true },
      );
      audio.src = URL.createObjectURL(new Blob([bytes], { type: "audio/mpeg" }));
    });
  }

  get currentTime() {
    return this.audio ? Math.max(0, this.audio.currentTime - this.shift) : this.place;
  }

  set currentTime(seconds) {
    this.place = seconds;
    if (this.audio) this.audio.currentTime = seconds + this.shift;
    else this.dispatchEvent(new Event("timeupdate"));
  }

  play() {
    return this.audio ? this.audio.play() : Promise.resolve();
  }

  pause() {
    this.audio?.pause();
  }

  load() {}

  removeAttribute() {}

  canPlayType() {
    return "maybe";
  }

  get paused() {
    return this.audio ? this.audio.paused : true;
  }

  get ended() {
    return this.audio ? this.audio.ended : false;
  }

  get seeking() {
    return this.audio ? this.audio.seeking : false;
  }

  get volume() {
    return this.audio ? this.audio.volume : 1;
  }

  set volume(volume) {
    if (this.audio) this.audio.volume = volume;
  }

  get playbackRate() {
    return this.audio ? this.audio.playbackRate : 1;
  }

  set playbackRate(rate) {
    if (this.audio) this.audio.playbackRate = rate;
  }
}

/** Seconds by which this browser hears MP3 too late: those from where a click is to where it is heard. */
async function lateness(bytes, click) {
  try {
    const sound = await new OfflineAudioContext(1, 1, 16000).decodeAudioData(bytes.buffer);
    const samples = sound.getChannelData(0).map(Math.abs);
    return samples.indexOf(Math.max(...samples)) / sound.sampleRate - click;
  } catch {
    return 0; // no Web Audio: at most 69 ms are wrong
  }
}

/** Bytes of a base64 text; in slices, for an hour of sound is a text of 19 million characters. */
function fromBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const pieces = [];
  let length = 0;
  for (let at = 0; at < text.length; at += 1 << 20) {
    const piece = Uint8Array.from(atob(text.slice(at, at + (1 << 20))), (ch) => ch.charCodeAt(0));
    pieces.push(piece);
    length += piece.length;
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

/** The points of the waveform over the whole duration, in [0, 1]; silence where nothing was heard. */
function outlineOf(data) {
  const bytes = fromBase64(data.peaks);
  const width = data.peak_s || data.duration / 1000 || 1; // a flat line, where nothing was heard
  const points = new Float32Array(Math.max(1, Math.ceil(data.duration / width - 1e-6), bytes.length));
  for (let i = 0; i < bytes.length; i++) points[i] = bytes[i] / 255;
  return points;
}

/** Seconds between two ticks of the ruler, and between two numbers, so that numbers stand far enough apart. */
function rulerSteps(pxPerSec) {
  const steps = [1, 5, 10, 30, 60, 300, 600, 1800, 3600, 7200, 14400];
  const number = steps.find((step) => step * pxPerSec >= 72) ?? 28800;
  return { timeInterval: number === 1 ? 0.5 : number / 5, primaryLabelInterval: number, secondaryLabelInterval: number };
}
