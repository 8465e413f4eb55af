/* On the audio thread: blocks of 128 samples of any number of channels become pieces of mono 16-bit samples. */

const PIECE_S = 0.05;

class Pieces extends AudioWorkletProcessor {
  constructor() {
    super();
    this.piece = new Int16Array(Math.round(sampleRate * PIECE_S));
    this.filled = 0;
    this.peak = 0;
    this.over = false;
    this.port.onmessage = () => {
      this.send();
      this.over = true;
      this.port.postMessage({ over: true });
    };
  }

  /** Without an input, as while the microphone is muted by the system, time goes on: silence is sent. */
  process([channels], [output]) {
    const length = channels[0]?.length ?? output[0].length;
    for (let i = 0; i < length && !this.over; i++) {
      let value = 0;
      for (const channel of channels) value += channel[i];
      value /= channels.length || 1;
      this.peak = Math.max(this.peak, Math.abs(value));
      this.piece[this.filled++] = Math.max(-32768, Math.min(32767, Math.round(value * 32768)));
      if (this.filled === this.piece.length) this.send();
    }
    return !this.over;
  }

  send() {
    const samples = this.piece.slice(0, this.filled);
    this.port.postMessage({ samples, peak: this.peak }, [samples.buffer]);
    this.filled = 0;
    this.peak = 0;
  }
}

registerProcessor("pieces", Pieces);
