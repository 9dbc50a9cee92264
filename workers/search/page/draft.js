// For who sells: category, attributes and words for the title, read off the photo before anything is listed.

import { Problem, predict } from "./api.js";
import { $, called, el, percent, say, words } from "./dom.js";

function chips(target, suggestions, text) {
  $(target).replaceChildren(...suggestions.map((s) => el("li", { class: "chip" }, text(s),
    el("span", { class: "num" }, percent(s.probability)))));
  $(target).closest(".draft-row").hidden = suggestions.length === 0;
}

export class Draft {
  /** `look()` gives {file, box}: what is looked at now. */
  constructor(look) {
    this.look = look;
    $("draft").addEventListener("toggle", () => { if ($("draft").open) this.#fill(); });
    $("draft-copy").addEventListener("click", () => this.#copy());
  }

  /** Another photo, or another part of it: what is shown is no longer true. */
  changed(subject) {
    $("draft").hidden = !subject?.file;
    $("draft").open = false;
  }

  async #fill() {
    const { file, box } = this.look();
    $("draft-text").textContent = "Reading the photo …";
    $("draft-body").hidden = true;
    try {
      const found = await predict(file, box);
      const sure = found.category.filter((s) => s.offered), described = found.attributes.filter((s) => s.offered);
      const titleWords = found.title_words.filter((s) => s.offered);
      chips("draft-category", sure.slice(0, 3), (s) => s.name);
      chips("draft-attributes", described, (s) => `${words(s.head.split(".").pop())}: ${s.name}`);
      chips("draft-words", titleWords, (s) => s.name);
      const same = found.duplicates || [];
      $("draft-same").hidden = !same.length;
      $("draft-same-list").replaceChildren(...same.slice(0, 6).map((one) => el("li", { class: "chip" }, called(one))));
      this.text = [...new Set([...described, ...titleWords, ...sure.slice(0, 1)]
        .map((s) => s.name.toLowerCase()))].join(" ");
      $("draft-text").textContent = this.text ? "What a seller would be offered; nothing is stored."
        : "Nothing is known for sure about this, so nothing would be suggested.";
      $("draft-body").hidden = false;
      $("draft-copy").hidden = !this.text || !navigator.clipboard;
      say("Suggestions are ready.");
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      $("draft-text").textContent = error.message;
    }
  }

  async #copy() {
    try {
      await navigator.clipboard.writeText(this.text);
      say("Copied.");
      $("draft-copy").textContent = "Copied";
      setTimeout(() => { $("draft-copy").textContent = "Copy the words"; }, 2000);
    } catch {
      say("Copying is not allowed here.");
    }
  }
}
