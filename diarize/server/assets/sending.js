/* A recording from the file chooser or dropped anywhere: its way to the server, and the report in the page. */

import { $, element, enter, problem, say } from "./dom.js";
import { Recording } from "./recordings.js";

/* global download */

const TYPES = { rttm: "text/plain", json: "application/json", csv: "text/csv", srt: "text/plain", html: "text/html" };

/** An address of this server as it is seen from here, where a proxy may have put it under a folder. */
const relative = (path) => new URL(path.replace(/^\//, ""), document.baseURI).href;

export class Sending {
  /** home(): back to the beginning, with the problem shown. */
  constructor(home) {
    this.home = home;
    this.recording = null;
  }

  async send(file, numSpeakers) {
    problem("");
    if (!file.size) return problem(`${file.name} is empty.`);
    this.name = file.name;
    this.cancelled = new AbortController();
    this.work("Sending", file.name, 0);
    enter("uploading");
    await this.guard(async () => {
      const told = (part) => this.work(part < 1 ? "Sending" : "Sent", file.name, part);
      this.recording = await Recording.send(file, numSpeakers, told, this.cancelled.signal);
      await this.follow();
    });
  }

  /** The recording of an address, after the page was loaded anew. */
  async open(id) {
    this.cancelled = new AbortController();
    this.recording = new Recording(id);
    await this.guard(() => this.follow());
  }

  async guard(action) {
    try {
      await action();
    } catch (error) {
      if (error.name === "AbortError") return;
      history.replaceState(null, "", " ");
      this.home();
      problem(error.message);
    }
  }

  async follow() {
    const { recording } = this;
    history.replaceState(null, "", `#recording=${encodeURIComponent(recording.id)}`);
    this.work("Waiting", this.name ?? "", null);
    enter("processing");
    const found = await recording.watch(({ state, progress, name }) => {
      this.name ??= name;
      if (state === "running") this.work("Finding who speaks", this.name ?? "", progress);
    });
    this.name ??= found.name ?? "recording";
    this.show(relative(found.report_url));
  }

  work(title, facts, part) {
    $("work-title").textContent = title;
    $("work-facts").textContent = part === null ? facts : `${facts} · ${Math.floor(100 * part)} %`;
    if (part === null) $("progress").removeAttribute("value");
    else $("progress").value = part;
  }

  /** The report page is a page of its own, with a policy of its own; here it cannot touch this one. */
  show(address) {
    const frame = element("iframe", { title: `Report of ${this.name}` });
    frame.setAttribute("sandbox", "allow-scripts allow-downloads allow-modals");
    $("report").replaceChildren(frame);
    $("title").textContent = "Recording";
    $("facts").textContent = "Correct it here; Export saves it as corrected";
    enter("report");
    this.reportUrl = $("alone").href = frame.src = address; // with a token, one that opens this report alone, for a while
  }

  async save(kind) {
    try {
      const text = await (kind === "html" ? this.recording.report(this.reportUrl) : this.recording.result(kind));
      const file = `${this.name.replace(/\.[^.]{1,5}$/, "")}.${kind}`;
      download(file, text, TYPES[kind]);
      say(`Saved ${file}`);
    } catch (error) {
      say(error.message, true);
    }
  }

  cancel() {
    this.cancelled.abort();
    this.recording?.forget();
    this.clear();
    this.home();
  }

  clear() {
    this.recording = null;
    this.name = undefined;
    $("report").replaceChildren();
    history.replaceState(null, "", " ");
  }
}
