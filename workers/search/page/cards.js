// Products as pictures with words: the grid's and the live strip's cards.

import { show } from "./api.js";
import { alike, bar, called, el, icon, percent, words } from "./dom.js";

/** A square picture that says so where there is none. */
export function picture(src, alt = "") {
  const box = el("span", { class: "shot" });
  const img = el("img", { alt, loading: "lazy", decoding: "async" });
  img.addEventListener("error", () => { img.remove(); box.append(icon("image")); });
  show(img, src);
  box.append(img);
  return box;
}

function card(listing, label, open, ...lines) {
  const button = el("button", { class: "card", type: "button", "aria-label": label },
    picture(listing.thumbnail),
    el("span", { class: "card-words" }, el("b", {}, called(listing)), ...lines));
  button.addEventListener("click", () => open(listing.listing_id));
  return el("li", {}, button);
}

/** What is known about a listing, as tags; its category where nothing is. */
function tags(listing) {
  const known = listing.tags.length ? listing.tags.map((tag) => el("span", { class: "tag" }, tag))
    : listing.category ? [el("span", { class: "soft" }, words(listing.category))] : [];
  return el("span", { class: "card-tags" }, ...known);
}

/** A search result, with how much it looks like what was searched for. */
export function resultCard(listing, open) {
  const label = [called(listing), ...listing.tags, alike(listing.likeness)].join(", ");
  const near = el("span", { class: "near" }, bar(listing.likeness), el("span", { class: "num" }, alike(listing.likeness)));
  if (!(listing.offers > 1)) return card(listing, label, open, tags(listing), near);
  const offers = `${listing.offers} offers`; // of one product, where the search is grouped
  return card(listing, `${label}, ${offers}`, open, tags(listing), el("span", { class: "soft num offers" }, offers), near);
}

/** A result of typed words, with how well it answers them. */
export function answerCard(listing, open) {
  const fits = `${percent(listing.relevance)} fitting`;
  const near = el("span", { class: "near" }, bar(listing.relevance), el("span", { class: "num" }, fits));
  return card(listing, [called(listing), ...listing.tags, fits].join(", "), open, tags(listing), near);
}

/** A listing of the live strip; `after` says how long after its upload it could be found, or is null. */
export function liveCard(listing, after, open) {
  const said = after ? `searchable ${after} after upload` : "searchable";
  const line = el("span", { class: "after num" }, icon("bolt"), after ? `searchable in ${after}` : "searchable");
  return card(listing, [called(listing), ...listing.tags, said].join(", "), open, tags(listing), line);
}

/** Grey places for what is on its way. */
export function placeholders(count) {
  return Array.from({ length: count }, () => el("li", { class: "ghost", "aria-hidden": "true" },
    el("span", { class: "shot" }), el("span", { class: "ghost-line" }), el("span", { class: "ghost-line short" })));
}
