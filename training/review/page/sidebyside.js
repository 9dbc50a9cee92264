// Several photos at once: duplicates and noise, whose photos can be marked, and products to merge.

import { $, el } from "./dom.js";
import { photoAddress } from "./api.js";

export const KEYS = [["arrows", "another photo"], ["Space", "mark or unmark the photo"]];

export class SideBySide {
  constructor(n, item, _, changed) {
    this.changed = changed;
    this.marks = item.kind !== "merge";
    this.marked = new Set((item.decision?.value.marked ?? item.proposal.marked ?? []));
    const photo = (k) => el("img", { src: photoAddress(n, k, item.photos.length > 12 ? "small" : "large"), alt: `Photo ${k + 1}: ${item.photos[k]}` });
    if (!this.marks) {
      const groups = item.proposal.groups?.length ? item.proposal.groups : item.photos.map((_photo, k) => [k]);
      $("view").replaceChildren(el("div", { class: "groups" }, ...groups.map((group, i) =>
        el("section", {}, el("h3", {}, item.proposal.names?.[i] ?? `Product ${i + 1}`), ...group.map(photo)))));
      this.tiles = [];
    } else {
      this.tiles = item.photos.map((path, k) => el("button", { type: "button", class: "tile", onclick: () => this.#toggle(k) }, photo(k), el("span", { class: "soft" }, path)));
      $("view").replaceChildren(el("div", { class: "grid" }, ...this.tiles));
    }
    $("details").replaceChildren(this.text = el("p", { class: "soft" }));
    this.#draw();
    this.tiles[0]?.focus({ preventScroll: true });
  }

  get value() {
    return this.marks ? { marked: [...this.marked].sort((a, b) => a - b) } : {};
  }

  close() {}
  forget() {}
  settle() {}

  key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key], at = this.tiles.indexOf(document.activeElement);
    if (step && this.tiles.length) {
      this.tiles[Math.min(this.tiles.length - 1, Math.max(0, at + step))].focus();
      return true;
    }
    if (event.key === " " && at >= 0) { this.#toggle(at); return true; }
    return false;
  }

  #toggle(k) {
    if (!this.marked.delete(k)) this.marked.add(k);
    this.#draw();
    this.changed();
  }

  #draw() {
    this.tiles.forEach((tile, k) => tile.setAttribute("aria-pressed", this.marked.has(k)));
    this.text.textContent = this.marks ? `${this.marked.size} of ${this.tiles.length} photos are marked to be left out.` : "";
  }
}
