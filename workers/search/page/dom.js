// Small helpers that every part of the page uses: nodes, wording, and the voice for screen readers.

export const $ = (id) => document.getElementById(id);

/** A node; `props` are attributes, or properties where they start with a dot; null and false children are left out. */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") node.className = value;
    else if (name.startsWith(".")) node[name.slice(1)] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** One of the icons that index.html holds as symbols. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

/** A bar filled to `share`, 0 to 1; what it says is always written beside it too. */
export function bar(share) {
  const fill = el("span", { class: "bar-fill" });
  fill.style.width = `${Math.round(1000 * Math.min(1, Math.max(0, share))) / 10}%`;
  return el("span", { class: "bar", "aria-hidden": "true" }, fill);
}

export const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

/** "product_type" as words. */
export function words(id) {
  const text = id.replace(/[_-]+/g, " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** A probability in whole percent; never a flat 100 or 0, which no prediction is. */
export function percent(probability) {
  if (probability >= 0.995) return "> 99\u00a0%";
  if (probability < 0.005) return "< 1\u00a0%";
  return `${Math.round(100 * probability)}\u00a0%`;
}

/** A likeness from 0 to 1 in whole percent; 100 only where nothing differs. */
export const alike = (likeness) => `${Math.floor(100 * likeness + 1e-9)}\u00a0% alike`;

/** A duration for people; null where it is not known. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return null;
  if (seconds < 1) return `${seconds.toFixed(2)} s`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}

/** What a listing is called: its title, or its id where it has none. */
export const called = (listing) => listing.title || listing.listing_id;

/** Say something to a screen reader, once, when it has nothing else to say. */
export function say(text) {
  const voice = $("voice");
  voice.textContent = "";
  // A region that gets the text it has is silent; the next frame makes it new.
  requestAnimationFrame(() => { voice.textContent = text; });
}
