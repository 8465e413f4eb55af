/* The live page: which state it is in, and what its buttons do there.
 *
 *   home -> starting -> listening -> finishing -> done      a microphone; `broken` where it ended without a result
 *   home -> uploading -> processing -> report               a recording
 */

import { Board } from "./board.js";
import { $, enter, problem, state } from "./dom.js";
import { Listening } from "./listening.js";
import { Sending } from "./sending.js";

const MOST_SPEAKERS = 10; // in the choices

const board = new Board();
const sending = new Sending(home);
let listening = null;

function home() {
  listening = null;
  board.clear();
  $("title").textContent = "Who speaks when";
  $("facts").textContent = "Live from a microphone, or from a recording";
  enter("home");
}

const count = (id) => Number($(id).value) || null;

// A microphone -----------------------------------------------------------------------------------------------------

async function listen() {
  problem("");
  $("listen").disabled = true; // while the browser asks
  const options = { latency_s: Number($("latency").value), num_speakers: count("listen-speakers") };
  listening = new Listening(board, options, ended);
  try {
    await listening.begin();
    $("title").textContent = "Listening";
  } catch (error) {
    home();
    problem(error.message);
  } finally {
    $("listen").disabled = false;
  }
}

/** whole : there is a result; without one, the turns that were final by then are what there is */
function ended(name, talk, whole) {
  listening = null;
  if (!whole && !talk.turns.length) return home();
  $("title").textContent = name;
  enter(whole ? "done" : "broken");
  board.settle(talk, name);
  $("again").focus({ preventScroll: true });
}

$("listen-form").addEventListener("submit", (event) => {
  event.preventDefault();
  listen();
});
$("stop").addEventListener("click", () => listening?.stop());

// A recording ------------------------------------------------------------------------------------------------------

const send = (file) => file && sending.send(file, count("file-speakers"));

$("drop").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", () => {
  send($("file").files[0]);
  $("file").value = ""; // the same one may be chosen again
});
$("cancel").addEventListener("click", () => sending.cancel());

// A file may be dropped anywhere on the page; elsewhere than at home it is not opened instead of the page, at least.
const hasFile = (event) => event.dataTransfer?.types.includes("Files");
addEventListener("dragover", (event) => {
  if (!hasFile(event)) return;
  event.preventDefault();
  event.dataTransfer.dropEffect = state() === "home" ? "copy" : "none";
  document.body.classList.toggle("dropping", state() === "home");
});
addEventListener("dragleave", (event) => event.relatedTarget ?? document.body.classList.remove("dropping"));
addEventListener("drop", (event) => {
  if (!hasFile(event)) return;
  event.preventDefault();
  document.body.classList.remove("dropping");
  if (state() !== "home") return;
  if (event.dataTransfer.files.length > 1) return problem("One recording at a time, please.");
  send(event.dataTransfer.files[0]);
});

// Both -------------------------------------------------------------------------------------------------------------

for (const button of document.querySelectorAll("[data-export]"))
  button.addEventListener("click", () => (state() === "report" ? sending : board).save(button.dataset.export));

$("again").addEventListener("click", () => {
  if (board.unsaved && !confirm("What was heard is not saved. Leave it?")) return;
  sending.clear();
  problem("");
  home();
  $("listen").focus({ preventScroll: true });
});

addEventListener("beforeunload", (event) => {
  if (listening?.busy || board.unsaved || state() === "uploading") event.preventDefault();
});

for (const choice of document.querySelectorAll(".speakers-choice")) {
  choice.append(new Option("find out", ""));
  for (let n = 1; n <= MOST_SPEAKERS; n++) choice.append(new Option(String(n), String(n)));
}
home();
const recording = /^#recording=(.+)$/.exec(location.hash);
if (recording) sending.open(decodeURIComponent(recording[1]));
