/* Sound on its way to the server: kept until it is known to have arrived, so that a lost connection loses none.
 *
 * Places are counted in samples since listening began. While away the box fills; what it cannot hold is lost, the
 * oldest first, and the next piece says where it lies, so that lost sound counts as time.
 */

/** Seconds of sound that are kept at most: 12 MB at 48 kHz. */
export const KEPT_S = 120;

export class Outbox {
  constructor(sampleRate) {
    this.sampleRate = sampleRate;
    this.pieces = []; // { first, samples }, in order
    this.end = 0; // where the next piece will lie
    this.next = 0; // of the next piece to send, its place in `pieces`
    this.there = 0; // where the server expects the next sample
    this.kept = 0; // samples in the box
  }

  push(samples) {
    this.pieces.push({ first: this.end, samples });
    this.end += samples.length;
    this.kept += samples.length;
    while (this.kept > KEPT_S * this.sampleRate) this.drop();
  }

  /** Time that went by unheard. */
  skip(seconds) {
    this.end += Math.round(seconds * this.sampleRate);
  }

  /** The next piece to send, or undefined; where seconds before it are missing, also the one `at` which it lies. */
  take() {
    const piece = this.pieces[this.next];
    if (!piece) return undefined;
    this.next++;
    const missing = (piece.first - this.there) / this.sampleRate;
    this.there = piece.first + piece.samples.length;
    return { samples: piece.samples, missing, at: piece.first / this.sampleRate };
  }

  get empty() {
    return this.next >= this.pieces.length;
  }

  /** The server has everything before this sample. */
  arrived(count) {
    while (this.next > 0 && this.pieces[0].first + this.pieces[0].samples.length <= count) this.drop();
  }

  /** After a lost connection: go on from this sample, in the middle of a piece if it must be. */
  rewind(count) {
    this.next = this.pieces.length; // all of it may have arrived
    this.arrived(count);
    this.next = 0;
    this.there = count;
    const piece = this.pieces[0];
    if (!piece || piece.first >= count) return;
    this.kept -= count - piece.first;
    this.pieces[0] = { first: count, samples: piece.samples.subarray(count - piece.first) };
  }

  drop() {
    this.kept -= this.pieces.shift().samples.length;
    if (this.next > 0) this.next--;
  }
}
