/* A recording on the server: sent with its progress, watched until it is done, and what came of it. */

import { askToken, authorisation, fetchWithToken } from "./token.js";

const POLL_MS = 700;
const MOST_NAME = 200; // characters that the server takes; the end tells recordings apart
const PATIENCE = 8; // questions in a row that may go unanswered

export class Recording {
  /** What an id stands for, as it is in an address. */
  constructor(id) {
    this.id = id;
    this.stopped = new AbortController();
  }

  get url() {
    return `v1/recordings/${encodeURIComponent(this.id)}`;
  }

  /** Send a file; progress(0..1) while it goes. Rejects with an Error for people; signal stops it. */
  static async send(file, numSpeakers, progress, signal) {
    const query = new URLSearchParams({ name: file.name.slice(-MOST_NAME) });
    if (numSpeakers) query.set("num_speakers", numSpeakers);
    await fetchWithToken("metrics", { method: "HEAD", signal }); // is a token wanted? asked before a file has gone its way
    for (;;) {
      const { status, body } = await post(`v1/recordings?${query}`, file, progress, signal);
      if (status === 202) return new Recording(JSON.parse(body).id);
      if (status !== 401) throw new Error(messageOf(body, status));
      if ((await askToken()) === null) throw new Error("This server wants a token.");
    }
  }

  /** Ask until it is done; told({state, progress}) each time. Rejects with what the server says went wrong. */
  async watch(told) {
    for (let unanswered = 0; ;) {
      const state = await this.ask().catch((error) => {
        if (this.stopped.signal.aborted || error.final || ++unanswered > PATIENCE) throw error;
      });
      if (state) {
        unanswered = 0;
        told(state);
        if (state.state === "done") return state;
        if (state.state === "failed") throw new Error(textOf(state.error) ?? "The server could not read this file.");
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      this.stopped.signal.throwIfAborted();
    }
  }

  async ask() {
    const answer = await fetchWithToken(this.url, { signal: this.stopped.signal });
    if (answer.status >= 400 && answer.status < 500) {
      const error = new Error(messageOf(await answer.text(), answer.status));
      throw Object.assign(error, { final: true });
    }
    await expectGood(answer);
    return answer.json();
  }

  async result(format) {
    const answer = await fetchWithToken(`${this.url}/result?format=${format}`);
    await expectGood(answer);
    return answer.text();
  }

  async report(address) {
    const answer = await fetchWithToken(address);
    await expectGood(answer);
    return answer.text();
  }

  /** Nobody waits for it any more: the server may forget it. */
  async forget() {
    this.stopped.abort();
    await fetchWithToken(this.url, { method: "DELETE" }).catch(() => {}); // it goes by itself after a while
  }
}

/** POST by XMLHttpRequest: `fetch` does not tell how much has gone. */
function post(url, body, progress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", url);
    for (const [name, value] of Object.entries(authorisation())) request.setRequestHeader(name, value);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.onprogress = (event) => event.lengthComputable && progress(event.loaded / event.total);
    request.onload = () => resolve({ status: request.status, body: request.responseText });
    request.onerror = () => reject(new Error("The server went away while the file was sent. Try again."));
    request.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    signal.addEventListener("abort", () => request.abort());
    request.send(body);
  });
}

async function expectGood(answer) {
  if (!answer.ok) throw new Error(messageOf(await answer.text(), answer.status));
}

/** What the server said went wrong, in its words. */
function messageOf(body, status) {
  try {
    const said = JSON.parse(body);
    const text = textOf(said.error ?? said);
    if (text) return text;
  } catch {
    // not JSON: a proxy in between, whose page helps nobody
  }
  return `The server answered with an error (${status}).`;
}

const textOf = (said) => (typeof said === "string" ? said : said?.message);
