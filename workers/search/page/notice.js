// What went wrong, in one place that a screen reader is told of at once, with the way out beside it.

import { $ } from "./dom.js";

let retry = null;
let timer = 0;

export function clearNotice() {
  clearTimeout(timer);
  retry = null;
  $("notice").hidden = true;
  $("notice-text").textContent = "";
}

/** Show `text`; with `again`, a button that does it again. `after` seconds: it is done again by itself. */
export function showNotice(text, again = null, after = null) {
  clearNotice();
  $("notice").hidden = false;
  $("notice-text").textContent = text;
  $("notice-again").hidden = !again;
  retry = again;
  if (again && after) timer = setTimeout(tryAgain, 1000 * after);
}

/** Do again what failed, if anything did. */
export function tryAgain() {
  const again = retry;
  if (!again) return;
  clearNotice();
  again();
}

$("notice-again").addEventListener("click", tryAgain);
$("notice-close").addEventListener("click", clearNotice);
