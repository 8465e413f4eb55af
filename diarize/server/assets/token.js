/* The server's token, where it wants one: asked for once, kept until the tab is closed, sent to this server alone. */

import { $ } from "./dom.js";

const KEY = "diarize-token";
let asked = null; // while the dialog is open: what everybody who waits gets

export const token = () => sessionStorage.getItem(KEY);

/** Ask for it; resolves to the token, or to null if nobody has one. */
export function askToken() {
  asked ??= new Promise((resolve) => {
    const wrong = token() !== null; // the server has refused it
    sessionStorage.removeItem(KEY);
    const dialog = $("token-dialog");
    $("token-title").textContent = wrong ? "That token is not right" : "This server wants a token";
    $("token").value = "";
    let given = null;
    $("token-form").onsubmit = () => (given = $("token").value.trim() || null);
    $("token-cancel").onclick = () => dialog.close();
    dialog.onclose = () => {
      asked = null;
      if (given !== null) sessionStorage.setItem(KEY, given);
      resolve(given);
    };
    dialog.showModal();
  });
  return asked;
}

/** `fetch` with the token, asking for it as often as the server refuses; null where nobody has one. */
export async function fetchWithToken(url, options = {}) {
  for (;;) {
    const headers = { ...options.headers, ...authorisation() };
    const answer = await fetch(url, { ...options, headers });
    if (answer.status !== 401) return answer;
    if ((await askToken()) === null) throw new Error("This server wants a token.");
  }
}

export const authorisation = () => (token() === null ? {} : { Authorization: `Bearer ${token()}` });
