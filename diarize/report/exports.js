/* The turns as files. Each text is, byte for byte, what `diarize convert` writes for the same turns: the rules
 * (order, rounding, how names are cleaned) are those of diarize/formats, and a test compares the two.
 */

const NO_NAME = "<NA>";
const SPACE = /[\p{Z}\t-\r\x1c-\x1f\x85]/gu;
const CONTROL = /[\p{Cc}\p{Cs}]/gu;

const encodable = (name) => name.replace(/\p{Cs}/gu, "_");
const cleanName = (name) => name.replace(SPACE, "_").replace(CONTROL, "_") || NO_NAME;
const oneLine = (name) =>
  name
    .replace(CONTROL, "_")
    .split(SPACE)
    .filter((part) => part)
    .join(" ") || NO_NAME;
const seconds = (ms) => `${Math.floor(ms / 1000)}.${String(ms % 1000).padStart(3, "0")}`;
const sure = (confidence, otherwise) => (confidence === null ? otherwise : confidence.toFixed(3));

/** Each name with its cleaned form; names that would become one are told apart by a number. */
function distinct(names, clean) {
  const dirty = (name) => (clean(name) === name ? 0 : 1);
  const unique = [...new Set(names)].sort((a, b) => dirty(a) - dirty(b) || compare(a, b));
  const cleaned = new Map();
  const taken = new Set();
  for (const name of unique) {
    let candidate = clean(name);
    for (let number = 2; taken.has(candidate); number++) candidate = `${clean(name)}_${number}`;
    cleaned.set(name, candidate);
    taken.add(candidate);
  }
  return cleaned;
}

/** The turns with their speakers' names, sorted as every format has them. */
function namedTurns(state) {
  const names = new Map(state.speakers.map((speaker) => [speaker.id, speaker.name]));
  return state.turns
    .map((turn) => ({ ...turn, name: names.get(turn.speaker) }))
    .sort((a, b) => a.start - b.start || a.end - b.end || compare(a.name, b.name));
}

/** The same in whole milliseconds; a turn that rounds to nothing is left out. */
function rowsOf(state) {
  return namedTurns(state)
    .map((turn) => ({ ...turn, start: toMs(turn.start), end: toMs(turn.end) }))
    .filter((row) => row.end > row.start)
    .sort((a, b) => a.start - b.start || a.end - b.end || compare(a.name, b.name));
}

function formatRttm(state, recording) {
  const rows = rowsOf(state);
  const names = distinct(
    namedTurns(state).map((turn) => turn.name),
    cleanName,
  );
  const uri = cleanName(recording.uri);
  return rows
    .map(
      (row) =>
        `SPEAKER ${uri} 1 ${seconds(row.start)} ${seconds(row.end - row.start)} ` +
        `<NA> <NA> ${names.get(row.name)} ${sure(row.confidence, NO_NAME)} <NA>\n`,
    )
    .join("");
}

function formatJson(state, recording) {
  const number = (value) => {
    const rounded = Number(value.toFixed(7));
    return Number.isInteger(rounded) ? `${rounded}.0` : String(rounded);
  };
  const object = (fields) =>
    `{${Object.entries(fields)
      .map(([name, text]) => `"${name}": ${text}`)
      .join(", ")}}`;
  const list = (entries) => `[${entries.map((entry) => `\n    ${entry}`).join(",")}${entries.length ? "\n  ]" : "]"}`;
  const text = (name) => JSON.stringify(encodable(name));
  const times = new Map();
  const turns = namedTurns(state).map((turn) => {
    times.set(turn.name, (times.get(turn.name) ?? 0) + turn.end - turn.start);
    return object({
      start: number(turn.start),
      end: number(turn.end),
      speaker: text(turn.name),
      confidence: turn.confidence === null ? "null" : String(Number(turn.confidence.toFixed(3))).replace(/^\d+$/, "$&.0"),
    });
  });
  const speakers = [...times].map(([name, time]) => object({ name: text(name), speaking_time: number(time) }));
  return (
    `{\n  "schema": "diarize/1",\n  "uri": ${text(recording.uri)},\n  "duration": ${number(recording.duration)},\n` +
    `  "turns": ${list(turns)},\n  "speakers": ${list(speakers)}\n}\n`
  );
}

function formatCsv(state, recording) {
  const cell = (name) => {
    name = encodable(name);
    return /[,;\t"\r\n]/.test(name) ? `"${name.replaceAll('"', '""')}"` : name;
  };
  const lines = rowsOf(state).map((row) =>
    [cell(recording.uri), seconds(row.start), seconds(row.end), cell(row.name), sure(row.confidence, "")].join(","),
  );
  return ["uri,start,end,speaker,confidence", ...lines].join("\n") + "\n";
}

function formatSrt(state) {
  const rows = rowsOf(state);
  const names = distinct(
    rows.map((row) => row.name),
    oneLine,
  );
  const pad = (value, digits = 2) => String(value).padStart(digits, "0");
  const time = (ms) =>
    `${pad(Math.floor(ms / 3600000))}:${pad(Math.floor(ms / 60000) % 60)}:${pad(Math.floor(ms / 1000) % 60)},${pad(ms % 1000, 3)}`;
  const shown = (name) => names.get(name).replaceAll("-->", "->").replaceAll("[", "(").replaceAll("]", ")");
  return rows
    .map((row, i) => `${i + 1}\n${time(row.start)} --> ${time(row.end)}\n[${shown(row.name)}]\n\n`)
    .join("");
}

const EXPORTS = {
  rttm: { type: "text/plain", format: formatRttm },
  json: { type: "application/json", format: formatJson },
  csv: { type: "text/csv", format: formatCsv },
  srt: { type: "text/plain", format: formatSrt },
};

/** Hand a file to the person: the browser saves it, nothing leaves the machine. */
function download(name, text, type) {
  const url = URL.createObjectURL(new Blob([text], { type: `${type};charset=utf-8` }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name.replace(/[\\/:*?"<>|\p{Cc}\p{Cs}]/gu, "_").replace(/^\.+/, "_");
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
