// The service, as the page asks it: every answer that is no success becomes a Problem with words for people.

const GONE = "The server cannot be reached. Your photo is kept; the search goes on when it is back.";

export class Problem extends Error {
  /** `status` 0: the server is gone. `retryAfter`: seconds, or null where coming back does not help. */
  constructor(message, status = 0, code = "gone", retryAfter = null) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }

  get gone() { return this.status === 0; }
  /** The photo itself is at fault: another one is needed. */
  get ofPhoto() { return [400, 413, 415, 422].includes(this.status); }
}

let token = null; // kept by this page alone, and gone with it

export const authorise = (given) => { token = given; };

function headers(more = {}) {
  return token ? { ...more, authorization: `Bearer ${token}` } : more;
}

function sentence(detail) {
  const text = detail.replace(/^(photo|body): /, "");
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}

async function send(url, options = {}) {
  let answer;
  try {
    answer = await fetch(url, { ...options, headers: headers(options.headers) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(GONE);
  }
  if (answer.ok) return answer;
  let told = {};
  try { told = await answer.json(); } catch { /* a proxy's page, not ours: the status says what there is to say */ }
  const detail = told.detail || `The server answered ${answer.status} ${answer.statusText}`;
  const after = Number(answer.headers.get("retry-after")) || null;
  throw new Problem(sentence(detail), answer.status, (told.type || "").split(":").pop(), after);
}

async function ask(url, options) {
  const answer = await send(url, options);
  try {
    return await answer.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(GONE); // the line broke in the middle of an answer
  }
}

const listingUrl = (id, rest = "") => `v1/listings/${encodeURIComponent(id)}${rest}`;

function form(photos) {
  const made = new FormData();
  for (const photo of photos) made.append("photo", photo);
  return made;
}

/** Search by photo, a File, by listing, an id, or by words alone. `q`: words beside a photo or listing. `frames`: the
    photos of a clip. `box`: null or "left,top,right,bottom".
    `detect`: null, "off", "subject" or "nearest". */
export function search({ file, frames = [], listingId }, { k, box, detect, category, q, signal }) {
  const query = new URLSearchParams({ k });
  if (q && file) query.set("q", q);
  if (box) query.set("box", box);
  if (detect) query.set("detect", detect);
  if (category) query.set("category", category);
  if (new URLSearchParams(location.search).get("group") === "product") query.set("group", "product");
  if (file && document.body.dataset.agreed) query.set("keep", "true");
  if (frames.length > 1 && !box) return ask(`v1/search?${query}`, { method: "POST", body: form(frames), signal });
  const [body, type] = file ? [file, file.type || "application/octet-stream"]
    : [JSON.stringify({ listing_id: listingId, q: q || undefined }), "application/json"];
  return ask(`v1/search?${query}`, { method: "POST", body, headers: { "content-type": type }, signal });
}

/** What to offer somebody who lists what the photo shows. */
export function predict(file, box) {
  const query = box ? `?${new URLSearchParams({ box })}` : "";
  return ask(`v1/predict${query}`, {
    method: "POST", body: file, headers: { "content-type": file.type || "application/octet-stream" },
  });
}

/** Say whether a result or a label is right; see FeedbackRequest in the API description. */
export const judge = (judgement) => ask("v1/feedback", {
  method: "POST", body: JSON.stringify(judgement), headers: { "content-type": "application/json" },
});

export const listing = (id) => ask(listingUrl(id));
export const price = (id) => ask(listingUrl(id, "/price"));
export const goesWith = (id) => ask(listingUrl(id, "/goes-with?k=12"));
export const duplicates = (id) => ask(listingUrl(id, "/duplicates?k=12"));
export const recent = (n) => ask(`v1/recent?n=${n}`);

/** {ready, stale, waiting_for}; a service that is not ready says so with 503. */
export async function readiness() {
  try {
    return await (await fetch("readyz")).json();
  } catch {
    return null;
  }
}

async function fill(img, src) {
  const url = URL.createObjectURL(await (await send(src)).blob());
  if (img.dataset.shows !== src) return URL.revokeObjectURL(url); // it shows something else by now
  img.addEventListener("load", () => URL.revokeObjectURL(url), { once: true });
  img.src = url;
}

/** Put a picture of the service into an <img>; one that needs the token cannot be fetched by the <img> itself. */
export async function show(img, src) {
  img.dataset.shows = src;
  if (!token) {
    img.src = src;
    return;
  }
  try {
    await fill(img, src);
  } catch {
    img.dispatchEvent(new Event("error"));
  }
}

/** Put a listing's photo into an <img>: the thumbnail at once, the photo itself when it is here. Where it cannot be
    had, the thumbnail stays. */
export async function showPhoto(img, listingId, image) {
  await show(img, image.thumbnail);
  const src = `v1/photo?${new URLSearchParams({ listing_id: listingId, image_id: image.image_id })}`;
  img.dataset.shows = src;
  try {
    await fill(img, src);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
  }
}
