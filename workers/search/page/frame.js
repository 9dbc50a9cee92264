// The frame around the product: dragged by pointer, moved by keys, set by four sliders. Shares of the photo, 0 to 1.

import { $ } from "./dom.js";

const LEAST = 0.08; // of a side: a smaller frame shows too little to be recognised
const EDGES = ["left", "top", "right", "bottom"];
const WHOLE = { left: 0, top: 0, right: 1, bottom: 1 };
const KEY_PAUSE_MS = 400; // after the last key before it counts as done
const STEP = 0.02, LEAP = 0.1; // of a side, a key

const within = (value, low, high) => Math.min(high, Math.max(low, value));
const share = (value) => `${Math.round(100 * value)} %`;

/** Move the edges named in `moved`; all four keep the frame's size, fewer keep the other edges where they are. */
export function shifted(frame, moved, dx, dy) {
  if (moved.length === EDGES.length) {
    const x = within(dx, -frame.left, 1 - frame.right), y = within(dy, -frame.top, 1 - frame.bottom);
    return { left: frame.left + x, top: frame.top + y, right: frame.right + x, bottom: frame.bottom + y };
  }
  const next = { ...frame };
  if (moved.includes("left")) next.left = within(frame.left + dx, 0, frame.right - LEAST);
  if (moved.includes("right")) next.right = within(frame.right + dx, frame.left + LEAST, 1);
  if (moved.includes("top")) next.top = within(frame.top + dy, 0, frame.bottom - LEAST);
  if (moved.includes("bottom")) next.bottom = within(frame.bottom + dy, frame.top + LEAST, 1);
  return next;
}

/** The frame between two points, widened to the least size and kept inside the photo. */
export function spanned(from, to) {
  const span = (a, b) => {
    const size = Math.max(LEAST, Math.abs(within(b, 0, 1) - a));
    const low = within(Math.min(a, b), 0, 1 - size);
    return [low, low + size];
  };
  const [left, right] = span(from.x, to.x), [top, bottom] = span(from.y, to.y);
  return { left, top, right, bottom };
}

export const isWhole = (frame) => EDGES.every((edge) => Math.abs(frame[edge] - WHOLE[edge]) < 1e-4);

export class Frame {
  /** `changed()` is called once a change is done: at the pointer's release, or a moment after the last key. `clicked(at)`
      gives the frame for a click at a point of the photo, or null. `shown(frame)` hears of every frame. */
  constructor(changed, { clicked = () => null, shown = () => {} } = {}) {
    this.clicked = clicked;
    this.shown = shown;
    this.stage = $("stage");
    this.node = $("frame");
    this.changed = changed;
    this.drag = null;
    this.timer = 0;
    this.stage.addEventListener("pointerdown", (event) => this.#down(event));
    this.stage.addEventListener("pointermove", (event) => this.#move(event));
    this.stage.addEventListener("pointerup", () => this.#up());
    this.stage.addEventListener("pointercancel", () => this.#cancel());
    this.node.addEventListener("keydown", (event) => this.#key(event));
    for (const edge of EDGES) {
      $(`edge-${edge}`).addEventListener("input", (event) => this.#slide(edge, Number(event.target.value) / 100));
    }
    $("whole").addEventListener("click", () => { this.node.focus(); this.#show(WHOLE); this.#done(); });
    this.reset();
  }

  /** Back to the whole photo, telling nobody. */
  reset() {
    clearTimeout(this.timer);
    this.drag = null;
    this.#show(WHOLE);
  }

  /** Take a frame that was chosen elsewhere on the page. */
  take(frame) {
    this.#show(frame);
    this.#done();
  }

  /** Show a frame that has been searched already, telling nobody. */
  place(frame) {
    if (!this.drag) this.#show(frame);
  }

  /** The frame as the service takes it; null where it is the whole photo. */
  get box() {
    return isWhole(this.value) ? null : EDGES.map((edge) => this.value[edge].toFixed(4)).join(",");
  }

  #show(frame) {
    this.value = { ...frame };
    const { left, top, right, bottom } = frame, style = this.node.style, whole = isWhole(frame);
    style.left = `${100 * left}%`;
    style.top = `${100 * top}%`;
    style.width = `${100 * (right - left)}%`;
    style.height = `${100 * (bottom - top)}%`;
    for (const edge of EDGES) {
      const slider = $(`edge-${edge}`);
      slider.value = Math.round(100 * frame[edge]);
      slider.setAttribute("aria-valuetext", share(frame[edge]));
    }
    $("whole").disabled = whole;
    this.node.classList.toggle("whole", whole);
    this.node.setAttribute("aria-label", `Frame around the product: ${whole ? "the whole photo"
      : `${share(left)} to ${share(right)} across, ${share(top)} to ${share(bottom)} down`}`);
    this.shown(this.value);
  }

  #at(event) {
    const area = this.stage.getBoundingClientRect();
    return { x: (event.clientX - area.left) / area.width, y: (event.clientY - area.top) / area.height };
  }

  #down(event) {
    if (event.button !== 0) return;
    const edges = (event.target.dataset.edges || "").split(" ").filter(Boolean), before = this.value;
    // Outside the frame, or inside one that is the whole photo, a new one is drawn; but a finger scrolls there.
    const draws = !edges.length && (event.target !== this.node || isWhole(before));
    if (draws && event.pointerType === "touch") return;
    this.drag = { before, draws, from: this.#at(event), moved: edges.length ? edges : EDGES, grip: edges.length > 0 };
    this.stage.setPointerCapture(event.pointerId);
    event.preventDefault(); // no ghost of the photo is dragged
    this.node.focus({ preventScroll: true });
  }

  #move(event) {
    if (!this.drag) return;
    const { before, draws, from, moved } = this.drag, at = this.#at(event);
    if (draws && Math.max(Math.abs(at.x - from.x), Math.abs(at.y - from.y)) < LEAST / 2) return; // a click draws none
    this.#show(draws ? spanned(from, at) : shifted(before, moved, at.x - from.x, at.y - from.y));
  }

  #up() {
    const drag = this.drag;
    this.drag = null;
    if (!drag) return;
    const moved = EDGES.some((edge) => Math.abs(drag.before[edge] - this.value[edge]) > 1e-3);
    const chosen = moved || drag.grip ? null : this.clicked(drag.from);
    if (chosen) this.#show(chosen);
    if (moved || chosen) this.#done();
  }

  #cancel() {
    if (this.drag) this.#show(this.drag.before);
    this.drag = null;
  }

  #key(event) {
    if (event.key === "Escape") return this.#cancel();
    const step = event.altKey || event.ctrlKey ? LEAP : STEP;
    const by = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
    if (!by) return undefined;
    event.preventDefault();
    return this.#change(shifted(this.value, event.shiftKey ? ["right", "bottom"] : EDGES, ...by));
  }

  #slide(edge, value) {
    const by = value - this.value[edge];
    this.#change(shifted(this.value, [edge], by, by));
  }

  #change(frame) {
    const same = EDGES.every((edge) => frame[edge] === this.value[edge]);
    this.#show(frame);
    clearTimeout(this.timer);
    if (!same) this.timer = setTimeout(() => this.#done(), KEY_PAUSE_MS);
  }

  #done() {
    clearTimeout(this.timer);
    this.changed();
  }
}
