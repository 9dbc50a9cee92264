// One listing in a dialog: its photos, what they show, its price, what goes with it, its near-duplicates, and more.

import { Problem, duplicates, goesWith, listing as ask, price, showPhoto } from "./api.js";
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

/** How it is known that a listing goes with another. */
const WHY = { counts: "together before", neighbours: "with similar ones", categories: "with its category" };

/** An answer that may be missing: null where the service has none. */
async function extra(asked) {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof Problem) return null;
    throw error;
  }
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
    $("twins").hidden = $("companions").hidden = true;
    if (!$("detail").open) $("detail").showModal();
    $("detail").scrollTop = 0;
    await Promise.all([this.#price(listing), this.#companions(listing), this.#twins(listing)]);
  }

  /** The usual price is an extra, as all that follows: where it cannot be had, nothing is said of it. */
  async #price(listing) {
    const found = (await extra(price(listing.listing_id)))?.price;
    if (listing !== this.listing || !found) return;
    const of = found.from === "copies" ? "this product" : "products like it";
    const said = `${found.low} to ${found.high} ${found.currency}, of ${plural(found.sellers, "seller")} of ${of}`;
    $("detail-facts").append(el("dt", {}, "Usual price"), el("dd", {}, said));
  }

  async #companions(listing) {
    const found = (await extra(goesWith(listing.listing_id)))?.companions;
    if (listing !== this.listing || !found?.length) return;
    $("companions").hidden = false;
    $("companions-list").replaceChildren(...found.map((one) => this.#small(one, WHY[one.from])));
  }

  /** A listing as a small picture with a line below it, which opens it. */
  #small(listing, line) {
    const label = `${called(listing)}, ${line}`;
    const button = el("button", { class: "voter", type: "button", "aria-label": label, title: called(listing) },
      picture(listing.thumbnail), el("span", { class: "num" }, line));
    button.addEventListener("click", () => this.open(listing.listing_id));
    return el("li", {}, button);
  }

  async #twins(listing) {
    const found = await extra(duplicates(listing.listing_id));
    if (listing !== this.listing || !found?.duplicates.length) return;
    $("twins").hidden = false;
    $("twins-title").textContent = found.complete ? plural(found.duplicates.length, "near-duplicate")
      : `More than ${plural(found.duplicates.length, "near-duplicate")}`;
    $("twins-list").replaceChildren(...found.duplicates.map((twin) => this.#small(twin, alike(twin.likeness))));
  }
}
