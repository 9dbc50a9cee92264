// The strip of listings as they become searchable, with how long that took; and whether the service is there.

import { Problem, readiness, recent } from "./api.js";
import { liveCard } from "./cards.js";
import { $, duration, plural, say } from "./dom.js";
import { tryAgain } from "./notice.js";
import { needsToken } from "./token.js";

const SHOWN = 24;
const EVERY_MS = 1500, PROBE_MS = 3000, GONE_MS = 1500;
const SAY_MS = 15000; // between two announcements: a stream of listings must not drown the rest

const keyOf = (listing) => `${listing.listing_id} ${listing.freshness.event_time}`;

function median(values) {
  const sorted = [...values].sort((a, b) => a - b), middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export class Live {
  constructor(open) {
    this.open = open;
    this.cards = new Map(); // key -> <li>; null until the first answer
    this.started = false;
    this.paused = false;
    this.unsaid = 0;
    this.said = 0;
    $("pause").addEventListener("click", () => this.#pause());
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.#refresh(); });
    this.#refresh();
    setInterval(() => this.#refresh(), EVERY_MS);
  }

  #pause() {
    this.paused = !this.paused;
    $("pause").setAttribute("aria-pressed", String(this.paused));
    if (!this.paused) this.#refresh();
  }

  async #refresh() {
    if (document.hidden || this.paused || this.asking) return;
    this.asking = true;
    try {
      const { listings } = await recent(SHOWN);
      if (!this.paused) this.#show(listings);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (error.status === 401) needsToken(() => this.#refresh());
    } finally {
      this.asking = false;
    }
  }

  #show(listings) {
    const strip = $("strip"), wanted = new Map(listings.map((listing) => [keyOf(listing), listing]));
    for (const [key, item] of this.cards) {
      if (wanted.has(key)) continue;
      item.remove();
      this.cards.delete(key);
    }
    const before = strip.scrollWidth, scrolled = strip.scrollLeft;
    let fresh = 0, place = strip.firstChild;
    for (const [key, listing] of wanted) {
      let item = this.cards.get(key);
      if (!item) {
        item = liveCard(listing, duration(listing.freshness.upload_to_searchable_s), this.open);
        if (this.started) item.classList.add("new");
        this.cards.set(key, item);
        fresh += 1;
      }
      if (item === place) place = place.nextSibling;
      else strip.insertBefore(item, place); // cards that stay keep their place, and so the focus in them
    }
    if (scrolled > 0) strip.scrollLeft = scrolled + strip.scrollWidth - before;
    $("quiet").hidden = listings.length > 0;
    this.#times(listings);
    if (this.started) this.#tell(fresh);
    this.started = true;
  }

  #times(listings) {
    const times = listings.map((listing) => listing.freshness.upload_to_searchable_s).filter((s) => s !== null);
    $("fresh").hidden = times.length === 0;
    if (times.length) $("fresh-time").textContent = duration(median(times));
  }

  #tell(fresh) {
    this.unsaid += fresh;
    const now = performance.now();
    if (!this.unsaid || (this.said && now - this.said < SAY_MS)) return;
    say(`${plural(this.unsaid, "new listing")} searchable.`);
    this.unsaid = 0;
    this.said = now;
  }
}

/** Keep the status in the header true; what failed while the service was gone is done again once it is back. */
export async function watch(state = "unknown") {
  const told = await readiness();
  const [now, text] = !told ? ["gone", "Server gone"]
    : !told.ready ? ["waiting", `Waiting for ${told.waiting_for}`]
      : told.stale ? ["stale", "Ready, index lags"] : ["ready", "Ready"];
  if ($("status-text").textContent !== text) $("status-text").textContent = text;
  $("status").dataset.state = now;
  if (state === "gone" && told?.ready) tryAgain();
  const next = now === "waiting" && state === "gone" ? "gone" : now; // back is who answers again and is ready
  setTimeout(() => watch(next), now === "gone" ? GONE_MS : PROBE_MS);
}
