// One search: a photo, a listing or words, the frame, the category asked for; and what came of it.

import { Problem, search, showPhoto } from "./api.js";
import { answerCard, placeholders, resultCard } from "./cards.js";
import { $, called, el, percent, plural, say, words } from "./dom.js";
import { Frame } from "./frame.js";
import { clearNotice, showNotice } from "./notice.js";
import { showTags, showVote } from "./tags.js";
import { Spots } from "./spots.js";
import { needsToken } from "./token.js";
import { clearWords, showMeaning } from "./words.js";

const FIRST = 24, MORE = 24, MOST = 96;
const RETRIES = 3; // by itself, where the service asks to come back

const MAX_BYTES = Number(document.body.dataset.maxBytes);
const DETECTS = document.body.dataset.detects === "yes";
export const MAX_MB = Math.floor(MAX_BYTES / 1e5) / 10;

export class Finder {
  /** `open(listingId)` shows a listing; `changed(subject)` is called when another photo or listing is looked at. */
  constructor(open, changed) {
    this.open = open;
    this.changed = changed;
    this.subject = null; // {file}, {listingId}, or {} for words alone
    this.q = ""; // what was typed
    this.k = FIRST;
    this.category = "";
    this.asking = null;
    this.framed = false; // somebody has set the frame, so nothing is to be detected
    this.spots = new Spots((frame) => this.frame.take(frame));
    this.frame = new Frame(() => {
      this.framed = true;
      this.changed(this.subject);
      this.#again({ framed: true });
    }, { clicked: (at) => this.spots.at(at), shown: (frame) => this.spots.mark(frame) });
    $("more").addEventListener("click", () => this.#more());
    $("category").addEventListener("change", (event) => {
      this.category = event.target.value;
      this.#again();
    });
    $("preview").addEventListener("load", () => { $("stage").hidden = false; });
    $("preview").addEventListener("error", () => { $("stage").hidden = true; });
  }

  /** Look for what a photo, a File, shows. `frames`: all photos of a clip, `file` among them. */
  photo(file, frames = [file]) {
    if (file.size > MAX_BYTES) {
      const size = Math.ceil(file.size / 1e5) / 10;
      showNotice(`This photo is too large: ${size} MB of at most ${MAX_MB} MB. Choose a smaller one.`);
      return;
    }
    this.#preview(file);
    const all = frames.reduce((sum, one) => sum + one.size, 0) <= MAX_BYTES ? frames : [file];
    this.#begin({ file, frames: all });
  }

  #preview(file) {
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = URL.createObjectURL(file);
    $("preview").dataset.shows = this.url;
    $("preview").src = this.url;
    $("preview").alt = "The photo you gave";
  }

  /** Look for what resembles a stored listing: {listing_id, title, images}. */
  listing(listing) {
    showPhoto($("preview"), listing.listing_id, listing.images[0]);
    $("preview").alt = called(listing);
    this.#begin({ listingId: listing.listing_id });
    scrollTo({ top: 0 });
    $("results-title").focus();
  }

  /** Look for typed words: beside the photo or listing that is looked at, or alone. "" takes them back. */
  words(text) {
    this.q = text;
    if (this.subject && !this.#alone()) this.#again();
    else if (text) this.#begin({}, text);
    else this.leave();
  }

  #alone() {
    return !this.subject.file && !this.subject.listingId;
  }

  /** Back to the start. */
  leave() {
    this.asking?.abort();
    this.q = "";
    clearWords();
    $("words-label").textContent = "Type what it should show";
    this.subject = null;
    $("work").hidden = true;
    $("start").hidden = false;
    clearNotice();
    this.changed(null);
  }

  #begin(subject, q = "") {
    this.subject = subject;
    this.q = q;
    if (!q) clearWords();
    this.k = FIRST;
    this.category = "";
    $("start").hidden = true;
    $("work").hidden = false;
    $("work").dataset.subject = subject.file ? "photo" : subject.listingId ? "listing" : "words";
    $("words-label").textContent = this.#alone() ? "Type what it should show" : "Like this, and …";
    this.framed = false;
    this.spots.show([]);
    this.frame.reset();
    showVote($("vote"), [], [], this.open);
    $("tags").replaceChildren();
    $("far").hidden = true;
    $("grid").replaceChildren();
    this.#categories([]);
    this.changed(subject);
    this.#again();
  }

  /** Ask anew with what is set; an answer that is no longer wanted is dropped. */
  async #again({ tries = RETRIES, framed = false } = {}) {
    this.asking?.abort();
    const asking = this.asking = new AbortController();
    clearNotice();
    this.#busy(true);
    try {
      const { k, category, q } = this, box = this.subject.file ? this.frame.box : null;
      const looks = this.subject.frames?.length > 1 ? "subject" : "nearest";
      const detect = box || !DETECTS || !this.subject.file ? null : this.framed ? "off" : looks;
      const found = await search(this.subject, { k, box, detect, category, q, signal: asking.signal });
      if (asking !== this.asking) return;
      if (this.#alone()) this.#answered(found);
      else this.#found(found, framed);
    } catch (error) {
      if (asking !== this.asking || error.name === "AbortError") return;
      if (!(error instanceof Problem)) throw error;
      this.#failed(error, tries);
    } finally {
      if (asking === this.asking) this.#busy(false);
    }
  }

  /** Of a clip, the frame that was searched with is the photo from now on. */
  #settleOn(frames) {
    if (!(this.subject.frames?.length > 1) || !frames.length) return;
    const best = this.subject.frames[frames[0]];
    if (best !== this.subject.file) this.#preview(best);
    this.subject = { file: best };
    this.changed(this.subject);
  }

  /** The answer to words alone. */
  #answered({ query, listings, took_s, stale, complete }) {
    this.#grid(listings, answerCard);
    $("far").hidden = true;
    this.#categories(listings.map((one) => one.category).filter(Boolean));
    const late = stale || !complete ? " · some listings may be missing" : "";
    $("took").textContent = `${plural(listings.length, "listing")} in ${Math.round(1000 * took_s)} ms, best first${late}`;
    say(`${plural(listings.length, "listing")} found.`);
    showMeaning(query);
  }

  #found(found, framed) {
    showMeaning(found.query);
    this.#settleOn(found.frames);
    if (this.subject.file && !this.framed) {
      this.spots.show(found.detected);
      if (found.box) this.frame.place(Object.fromEntries(["left", "top", "right", "bottom"].map((e, i) => [e, found.box[i]])));
      this.changed(this.subject);
    }
    const { neighbours, categories = [] } = found;
    const voted = found.close ? categories : []; // what looks nothing like it cannot say what it is
    showVote($("vote"), voted, neighbours, this.open);
    showTags($("tags"), found);
    this.#grid(neighbours);
    $("far").hidden = found.close || !neighbours.length;
    $("far").textContent = `Nothing here looks much like ${this.subject.file ? "this photo" : "this listing"}. The nearest are:`;
    document.dispatchEvent(new CustomEvent("found", { detail: found }));
    this.#categories([...categories.map((c) => c.category), ...neighbours.map((n) => n.category)].filter(Boolean));
    const took = `${Math.round(1000 * found.took_s)} ms`;
    $("jump").textContent = `See ${neighbours.length} similar`;
    const order = this.q ? "best first" : "nearest first";
    $("took").textContent = `${plural(neighbours.length, "listing")} in ${took}, ${order}${found.stale ? " · the index lags behind" : ""}`;
    const best = voted.length ? ` Looks like ${words(voted[0].category)}, ${percent(voted[0].share)}.` : "";
    const far = $("far").hidden ? "" : " Nothing looks much like it.";
    const nearest = neighbours.length ? ` Nearest: ${called(neighbours[0])}.` : "";
    say(`${framed ? "Frame searched. " : ""}${plural(neighbours.length, "similar listing")}.${far}${best}${nearest}`);
  }

  #grid(neighbours, card = resultCard) {
    const focused = [...$("grid").children].findIndex((item) => item.contains(document.activeElement));
    $("grid").replaceChildren(...neighbours.map((neighbour) => card(neighbour, this.open)));
    if (focused >= 0) $("grid").children[Math.min(focused, neighbours.length - 1)]?.firstChild.focus();
    $("nothing").hidden = neighbours.length > 0;
    $("nothing").textContent = this.q && this.#alone() ? "No listing answers these words." : this.category
      ? `No listing of ${words(this.category)} is searchable.` : "No listing is searchable yet.";
    $("more").hidden = neighbours.length < this.k || this.k >= MOST;
  }

  #more() {
    this.k = Math.min(MOST, this.k + MORE);
    this.#again();
  }

  #categories(seen) {
    const names = [...new Set(this.category ? [this.category, ...this.offered || [], ...seen] : seen)].sort();
    this.offered = names;
    $("filter").hidden = names.length < 2;
    $("category").replaceChildren(el("option", { value: "" }, "All categories"),
      ...names.map((name) => el("option", { value: name, ".selected": name === this.category }, words(name))));
  }

  #busy(busy) {
    $("results").setAttribute("aria-busy", String(busy));
    $("busy").hidden = !busy;
    if (busy && !$("grid").querySelector(".card")) {
      $("grid").replaceChildren(...placeholders(8));
      $("nothing").hidden = true;
      $("more").hidden = true;
      $("took").textContent = "";
    }
  }

  #failed(problem, tries) {
    $("grid").querySelector(".ghost")?.parentNode.replaceChildren();
    $("far").hidden = $("far").hidden || !$("grid").children.length;
    if (problem.status === 401) {
      needsToken(() => this.#again());
    } else if (problem.ofPhoto && this.subject.file && !this.frame.box && !this.q) {
      this.leave();
      $("grid").replaceChildren();
      showNotice(problem.message);
      $("choose").focus();
    } else if (problem.retryAfter && tries > 0) {
      const seconds = plural(problem.retryAfter, "second");
      showNotice(`${problem.message} Trying again in ${seconds}.`, () => this.#again({ tries: tries - 1 }), problem.retryAfter);
    } else {
      showNotice(problem.message, () => this.#again());
    }
  }
}
