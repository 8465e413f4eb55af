/* Small things of the page: elements, colours, words that pass by. What people or servers wrote is text, never markup. */

/** As in diarize/plotting.py; a test compares them. From the tenth speaker on colours come again, with stripes. */
export const PALETTE = [
  "#4477aa",
  "#ee6677",
  "#228833",
  "#ccbb44",
  "#66ccee",
  "#aa3377",
  "#994455",
  "#997700",
  "#77aadd",
];

export const $ = (id) => document.getElementById(id);

/** An element with these properties and children; text goes into textContent. */
export function element(tag, properties = {}, ...children) {
  const { label, ...plain } = properties;
  const made = Object.assign(document.createElement(tag), plain);
  if (label) made.setAttribute("aria-label", label);
  made.append(...children);
  return made;
}

/** Give an element the colour of a speaker. */
export function paint(target, speaker) {
  target.style.setProperty("--c", PALETTE[speaker.colour % PALETTE.length]);
  target.classList.toggle("striped", Math.floor(speaker.colour / PALETTE.length) % 2 === 1);
}

/** A notice that goes away; what stays until something is done about it is a `problem`. */
export function say(text, wrong = false) {
  $("said").textContent = text;
  $("said").classList.toggle("wrong", wrong);
  clearTimeout(say.timer);
  say.timer = setTimeout(() => ($("said").textContent = ""), 5000);
}

/** What went wrong, above everything; an empty text takes it away. */
export function problem(text, { passing = false } = {}) {
  $("problem").textContent = text;
  $("problem").hidden = !text;
  $("problem").classList.toggle("passing", passing);
}

/** Put the page into a state: what carries another in `data-in` is hidden. */
export function enter(state) {
  document.body.dataset.state = state;
  for (const part of document.querySelectorAll("[data-in]")) part.hidden = !part.dataset.in.split(" ").includes(state);
}

export const state = () => document.body.dataset.state;
export const many = (count, what) => `${count} ${what}${count === 1 ? "" : "s"}`;
