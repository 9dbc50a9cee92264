// Products as pictures with words: the grid's and the live strip's cards.

import { show } from "./api.js";
import { BITS, bar, called, el, icon } from "./dom.js";

/** A square picture that says so where there is none. */
export function picture(src, alt = "") {
  const box = el("span", { class: "shot" });
  const img = el("img", { alt, loading: "lazy", decoding: "async" });
  img.addEventListener("error", () => { img.remove(); box.append(icon("image")); });
  show(img, src);
  box.append(img);
  return box;
}

/** How near a photo is: 1 for the same hash, 0 for one as far as chance puts two photos (half of the bits). */
export const nearness = (distance) => Math.max(0, 1 - distance / (BITS / 2));

function card(listing, label, open, ...lines) {
  const button = el("button", { class: "card", type: "button", "aria-label": label },
    picture(listing.thumbnail),
    el("span", { class: "card-words" }, el("b", {}, called(listing)), ...lines));
  button.addEventListener("click", () => open(listing.listing_id));
  return el("li", {}, button);
}

function subtitle(listing) {
  const tags = listing.tags.slice(listing.title ? 0 : 1).join(" · ");
  return el("span", { class: "soft" }, tags || listing.category || listing.listing_id);
}

/** A search result, with its distance. */
export function resultCard(listing, open) {
  const label = [called(listing), ...listing.tags, `${listing.distance} of ${BITS} bits differ`].join(", ");
  const near = el("span", { class: "near", title: "Bits of the hash that differ: the fewer, the nearer" },
    bar(nearness(listing.distance)), el("span", { class: "num" }, `${listing.distance} / ${BITS}`));
  return card(listing, label, open, subtitle(listing), near);
}

/** A listing of the live strip; `after` says how long after its upload it could be found, or is null. */
export function liveCard(listing, after, open) {
  const said = after ? `searchable ${after} after upload` : "searchable";
  const line = el("span", { class: "after num" }, icon("bolt"), after ? `searchable in ${after}` : "searchable");
  return card(listing, [called(listing), ...listing.tags, said].join(", "), open, subtitle(listing), line);
}

/** Grey places for what is on its way. */
export function placeholders(count) {
  return Array.from({ length: count }, () => el("li", { class: "ghost", "aria-hidden": "true" },
    el("span", { class: "shot" }), el("span", { class: "ghost-line" }), el("span", { class: "ghost-line short" })));
}
