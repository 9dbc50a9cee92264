// The query box: words alone, or words beside the photo or listing that is looked at.

import { $, say } from "./dom.js";

const MOST = Number(document.body.dataset.queryChars); // 0: the service takes no typed queries

/** `search(text)` is called with what was typed; with "" when a text is taken back. */
export function takeWords(search) {
  $("words").hidden = MOST === 0;
  $("words-text").maxLength = MOST || 1;
  let before = "";
  const submit = () => {
    const text = $("words-text").value.trim();
    if (!text && !before) return $("words-text").focus();
    before = text;
    search(text);
  };
  $("words").addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  $("words-text").addEventListener("search", () => { if (!$("words-text").value && before) submit(); });
}

/** Another photo or listing begins without words; at the start the box is empty. */
export function clearWords() {
  $("words-text").value = "";
  showMeaning(null);
}

const quoted = (text) => `“${text}”`;

/** Say what was understood of a query, as the answer's `query` has it; null: nothing was typed. */
export function showMeaning(query) {
  const phrases = query?.phrases || [];
  const of = (how) => phrases.filter((one) => one.understood === how);
  const told = [
    ["Photos are searched for", of("label").map((one) => one.corrected ? `${one.labels[0].name} (typed ${quoted(one.text)})` : quoted(one.text))],
    ["Only titles are searched for", of("title").map((one) => quoted(one.text))],
    ["Not understood", of("no").filter((one) => one.text.length > 2).map((one) => quoted(one.text))],
  ].filter(([, texts]) => texts.length).map(([what, texts]) => `${what}: ${texts.join(", ")}.`).join(" ");
  $("understood").hidden = !told;
  $("understood").textContent = told;
  if (told) say(told);
}
