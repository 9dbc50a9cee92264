// A service may ask for a token: it is asked for once, and kept by this page alone.

import { authorise } from "./api.js";
import { $ } from "./dom.js";

const waiting = new Set();

/** Ask for the token, then do `again`. */
export function needsToken(again) {
  waiting.add(again);
  if (!$("token").open) $("token").showModal();
}

$("token-form").addEventListener("submit", () => {
  authorise($("token-text").value.trim() || null);
  $("token-text").value = "";
  const now = [...waiting];
  waiting.clear();
  for (const again of now) again();
});
$("token").addEventListener("cancel", () => waiting.clear());
