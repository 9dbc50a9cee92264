// One listing in a dialog: its photos, what they show, how fresh it is, its near-duplicates, and more like it.

import { Problem, duplicates, listing as ask, showPhoto } from "./api.js";
import { picture } from "./cards.js";
import { $, alike, called, duration, el, plural, words } from "./dom.js";
import { showNotice } from "./notice.js";
import { showTags } from "./tags.js";
import { needsToken } from "./token.js";

function facts(listing) {
  const { upload_to_stored_s: stored, upload_to_searchable_s: found, searchable } = listing.freshness;
  const bad = listing.bad_images.length, shown = new Set(listing.images.map((image) => image.image_id)).size;
  const rows = [
    ["Listing", listing.listing_id],
    ["Category", listing.category && words(listing.category)],
    ["State", words(listing.state)],
    ["Stored", duration(stored) && `${duration(stored)} after upload`],
    ["Searchable", searchable === null ? null : !searchable ? "not yet"
      : duration(found) ? `${duration(found)} after upload` : "yes"],
    ["Photos", bad ? `${shown}, and ${bad} that cannot be used` : String(shown)],
  ];
  return rows.filter(([, value]) => value).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]);
}

/** One photo large, and the others as buttons that make them the large one. */
function photos(listing) {
  const images = listing.images.filter((image, i, all) => all.findIndex((o) => o.image_id === image.image_id) === i);
  const count = images.length; // a photo with several boxes is there several times
  const large = el("img", { class: "large" });
  const choose = (image) => {
    large.alt = `Photo ${image.image_id}${count > 1 ? ` of ${count}` : ""}`;
    showPhoto(large, listing.listing_id, image);
    for (const one of others) one.setAttribute("aria-pressed", String(one.dataset.image === image.image_id));
  };
  const others = count < 2 ? [] : images.map((image) => {
    const button = el("button", { class: "other", type: "button", "aria-label": `Photo ${image.image_id}` },
      picture(image.thumbnail));
    button.dataset.image = image.image_id;
    button.addEventListener("click", () => choose(image));
    return button;
  });
  if (count) choose(images[0]);
  return count ? [large, ...(others.length ? [el("div", { class: "others" }, ...others)] : [])] : [];
}

export class Detail {
  /** `similar(listing)` looks for more like it. */
  constructor(similar) {
    this.similar = similar;
    this.listing = null;
    $("detail-close").addEventListener("click", () => $("detail").close());
    $("detail").addEventListener("click", (event) => { if (event.target === $("detail")) $("detail").close(); });
    $("detail-similar").addEventListener("click", () => {
      $("detail").close();
      this.similar(this.listing);
    });
  }

  async open(listingId) {
    try {
      this.listing = await ask(listingId);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (error.status === 401) needsToken(() => this.open(listingId));
      else showNotice(error.message, error.gone ? () => this.open(listingId) : null);
      return;
    }
    const { listing } = this;
    $("detail-title").textContent = called(listing);
    $("detail-photos").replaceChildren(...photos(listing));
    $("detail-facts").replaceChildren(...facts(listing));
    showTags($("detail-tags"), listing);
    document.dispatchEvent(new CustomEvent("opened", { detail: listing }));
    $("detail-similar").hidden = listing.images.length === 0;
    $("twins").hidden = true;
    if (!$("detail").open) $("detail").showModal();
    $("detail").scrollTop = 0;
    await this.#twins(listing);
  }

  /** Near-duplicates are an extra: where they cannot be had, nothing is said of them. */
  async #twins(listing) {
    let found;
    try {
      found = await duplicates(listing.listing_id);
    } catch (error) {
      if (error instanceof Problem) return;
      throw error;
    }
    if (listing !== this.listing || !found.duplicates.length) return;
    $("twins").hidden = false;
    $("twins-title").textContent = found.complete ? plural(found.duplicates.length, "near-duplicate")
      : `More than ${plural(found.duplicates.length, "near-duplicate")}`;
    $("twins-list").replaceChildren(...found.duplicates.map((twin) => {
      const label = `${called(twin)}, ${alike(twin.likeness)}`;
      const button = el("button", { class: "voter", type: "button", "aria-label": label, title: called(twin) },
        picture(twin.thumbnail), el("span", { class: "num" }, alike(twin.likeness)));
      button.addEventListener("click", () => this.open(twin.listing_id));
      return el("li", {}, button);
    }));
  }
}
