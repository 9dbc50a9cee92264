// One photo and its boxes: drawn, moved, resized, deleted and classed, by pointer or by keys.

import { $, el, say } from "./dom.js";
import { photoAddress } from "./api.js";
import { area, shifted, spanned } from "./geometry.js";

const STEP = 0.01, LEAP = 0.05; // of a side, a key
const KEY_PAUSE_MS = 400; // after the last arrow key before the change is saved
const LARGEST = 4; // a small photo is shown at most this many times its size
const HANDLES = [[0, 1], [1], [1, 2], [2], [2, 3], [3], [3, 0], [0]]; // the edges that each handle moves
const PLACES = ["0 0", "50 0", "100 0", "100 50", "100 100", "50 100", "0 100", "0 50"];
const CURSORS = ["nwse", "ns", "nesw", "ew", "nwse", "ns", "nesw", "ew"];

export const KEYS = [
  ["N", "new box in the middle"], ["Tab", "next box"], ["arrows", "move the box; with Shift its lower right corner; with Alt further"],
  ["1 … 9", "class of the box"], ["C", "type a class"], ["Del", "delete the box"], ["Esc", "no box"],
];

export class BoxesView {
  /** `changed()` is called after each change that is done. */
  constructor(n, item, classes, changed) {
    this.classes = classes;
    this.changed = changed;
    this.boxes = starting(item);
    this.chosen = -1;
    this.drag = null;
    this.timer = 0;
    this.kind = this.boxes.length ? this.boxes[0].kind : classes[0] || "product";
    this.image = el("img", { alt: `Photo ${item.photos[0]}`, draggable: "false" });
    this.stage = el("div", { class: "stage" }, this.image);
    this.#listen();
    this.image.addEventListener("load", () => this.#fit());
    this.image.src = photoAddress(n, 0, "large");
    $("view").replaceChildren(this.stage);
    this.watch = new ResizeObserver(() => this.#fit());
    this.watch.observe($("view"));
    this.#panel();
    this.#draw();
  }

  get value() {
    return { boxes: this.boxes.map(({ box, kind, was }) => ({ box, kind, was })) };
  }

  close() {
    this.watch.disconnect();
    this.forget();
  }

  /** Do not report a change that waits for the last key: it is reported otherwise. */
  forget() {
    clearTimeout(this.timer);
    this.timer = 0;
  }

  /** Report a change that waits for the last key. */
  settle() {
    if (this.timer) this.#done();
  }

  /** Handle a key; true if it meant something here. */
  key(event) {
    const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (by && this.chosen >= 0) return this.#arrow(event, by);
    if (/^[1-9]$/.test(event.key) && this.classes[event.key - 1]) return this.#setKind(this.classes[event.key - 1]);
    switch (event.key) {
      case "n": case "N": return this.#add([0.35, 0.35, 0.65, 0.65], true);
      case "c": case "C": $("kind").focus(); $("kind").select(); return true;
      case "Delete": case "Backspace": return this.#remove();
      case "Escape": this.drag = null; this.#choose(-1); document.activeElement.blur(); return true;
      default: return false;
    }
  }

  #listen() {
    this.stage.addEventListener("pointerdown", (event) => this.#down(event));
    this.stage.addEventListener("pointermove", (event) => this.#move(event));
    this.stage.addEventListener("pointerup", () => this.#up());
    this.stage.addEventListener("pointercancel", () => this.#cancel());
    this.stage.addEventListener("focusin", (event) => {
      const place = this.nodes.indexOf(event.target.closest(".box"));
      if (place >= 0 && place !== this.chosen) this.#choose(place);
    });
  }

  #panel() {
    const options = this.classes.map((name) => el("option", { value: name }));
    const field = el("input", { id: "kind", list: "kinds", autocomplete: "off", spellcheck: "false",
      onchange: (event) => { if (event.target.value.trim()) this.#setKind(event.target.value.trim()); },
      onkeydown: (event) => { if (event.key === "Enter" || event.key === "Escape") { event.preventDefault(); event.stopPropagation(); event.target.blur(); this.nodes[this.chosen]?.focus(); } } });
    const named = this.classes.slice(0, 9).map((name, i) => el("button", { type: "button", class: "kind", onclick: () => this.#setKind(name) }, `${name} `, el("kbd", {}, i + 1)));
    this.table = el("tbody");
    $("details").replaceChildren(
      el("label", { class: "soft" }, "Class ", field, el("datalist", { id: "kinds" }, ...options)),
      el("div", { class: "buttons" }, ...named),
      el("div", { class: "buttons" }, el("button", { type: "button", id: "delete", onclick: () => this.#remove() }, "Delete the box ", el("kbd", {}, "Del"))),
      el("table", {}, el("thead", {}, el("tr", {}, el("th", {}, "box"), el("th", {}, "from"))), this.table));
  }

  #fit() {
    const { naturalWidth: width, naturalHeight: height } = this.image, room = $("view");
    if (!width) return;
    const scale = Math.min((room.clientWidth - 4) / width, (Math.max(300, room.clientHeight) - 8) / height, LARGEST);
    this.image.style.width = `${Math.max(1, Math.floor(scale * width))}px`;
    this.image.style.height = `${Math.max(1, Math.floor(scale * height))}px`;
    this.stage.dataset.ready = "yes";
  }

  #draw() {
    const focused = this.nodes ? this.nodes.indexOf(document.activeElement) : -1;
    this.nodes = this.boxes.map((one, place) => this.#node(one, place));
    this.stage.replaceChildren(this.image, ...this.nodes);
    if (focused >= 0 && this.nodes[this.chosen]) this.nodes[this.chosen].focus({ preventScroll: true });
    this.table.replaceChildren(...this.boxes.map((one, place) => el("tr", { class: place === this.chosen ? "chosen" : null },
      el("td", {}, one.kind), el("td", {}, origin(one)))));
    $("kind").value = this.boxes[this.chosen]?.kind ?? this.kind;
    $("delete").disabled = this.chosen < 0;
    for (const button of document.querySelectorAll("button.kind")) button.setAttribute("aria-pressed", button.firstChild.data.trim() === $("kind").value);
  }

  #node(one, place) {
    const [left, top, right, bottom] = one.box, score = one.was?.score;
    const node = el("button", { type: "button", "data-place": place, "aria-pressed": place === this.chosen,
      class: `box tone${tone(one.kind)}${place === this.chosen ? " chosen" : ""}${untouched(one) && score !== null ? " doubtful" : ""}${top < 0.05 ? " high" : ""}`,
      "aria-label": `${one.kind}, ${origin(one)}: ${percent(left)} to ${percent(right)} across, ${percent(top)} to ${percent(bottom)} down` },
    el("span", { class: "name" }, untouched(one) && typeof score === "number" ? `${one.kind} ${score.toFixed(2)}` : one.kind));
    Object.assign(node.style, { left: `${100 * left}%`, top: `${100 * top}%`, width: `${100 * (right - left)}%`, height: `${100 * (bottom - top)}%` });
    node.style.zIndex = place === this.chosen ? 1002 : 1 + Math.round(1000 * (1 - area(one.box))); // small ones above large ones
    HANDLES.forEach((edges, i) => {
      const handle = el("i", { "data-edges": edges.join(" ") }), [x, y] = PLACES[i].split(" ");
      Object.assign(handle.style, { left: `${x}%`, top: `${y}%`, cursor: `${CURSORS[i]}-resize` });
      node.append(handle);
    });
    return node;
  }

  #choose(place) {
    this.settle();
    this.chosen = place;
    if (place >= 0) this.kind = this.boxes[place].kind;
    this.#draw();
  }

  #at(event) {
    const room = this.stage.getBoundingClientRect();
    return { x: (event.clientX - room.left) / room.width, y: (event.clientY - room.top) / room.height };
  }

  #down(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    const node = event.target.closest(".box"), edges = event.target.dataset.edges;
    const place = node ? Number(node.dataset.place) : -1;
    this.#choose(place);
    const before = place >= 0 ? this.boxes[place].box : null;
    const moved = edges ? edges.split(" ").map(Number) : [0, 1, 2, 3];
    this.drag = { from: this.#at(event), before, moved };
    this.stage.setPointerCapture(event.pointerId);
    if (place >= 0) this.nodes[place].focus({ preventScroll: true });
  }

  #move(event) {
    if (!this.drag) return;
    const { from, before, moved } = this.drag, at = this.#at(event);
    if (before) {
      this.boxes[this.chosen] = { ...this.boxes[this.chosen], box: shifted(before, moved, at.x - from.x, at.y - from.y) };
    } else {
      const box = spanned(from, at);
      if (!box) return;
      if (this.chosen < 0) { this.boxes = [...this.boxes, { box, kind: this.kind, was: null }]; this.chosen = this.boxes.length - 1; }
      else this.boxes[this.chosen] = { ...this.boxes[this.chosen], box };
    }
    this.#draw();
  }

  #up() {
    const drag = this.drag;
    this.drag = null;
    if (!drag || this.chosen < 0) return;
    if (!drag.before || drag.before.some((edge, i) => Math.abs(edge - this.boxes[this.chosen].box[i]) > 1e-4)) this.#done();
    this.nodes[this.chosen].focus({ preventScroll: true });
  }

  #cancel() {
    if (this.drag?.before) this.boxes[this.chosen] = { ...this.boxes[this.chosen], box: this.drag.before };
    this.drag = null;
    this.#draw();
  }

  #arrow(event, [x, y]) {
    const step = event.altKey || event.ctrlKey ? LEAP : STEP;
    const one = this.boxes[this.chosen], moved = event.shiftKey ? [2, 3] : [0, 1, 2, 3];
    this.boxes[this.chosen] = { ...one, box: shifted(one.box, moved, step * x, step * y) };
    this.#draw();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#done(), KEY_PAUSE_MS);
    return true;
  }

  #add(box, focus) {
    this.boxes = [...this.boxes, { box, kind: this.kind, was: null }];
    this.chosen = this.boxes.length - 1;
    this.#draw();
    if (focus) this.nodes[this.chosen].focus();
    say(`New box, ${this.kind}`);
    this.#done();
    return true;
  }

  #remove() {
    if (this.chosen < 0) return true;
    say(`Deleted ${this.boxes[this.chosen].kind}`);
    this.boxes = this.boxes.filter((_, place) => place !== this.chosen);
    this.chosen = Math.min(this.chosen, this.boxes.length - 1);
    this.#draw();
    this.nodes[this.chosen]?.focus();
    this.#done();
    return true;
  }

  #setKind(kind) {
    this.kind = kind;
    if (!this.classes.includes(kind)) this.classes.push(kind);
    const one = this.boxes[this.chosen];
    if (one && one.kind !== kind) {
      this.boxes[this.chosen] = { ...one, kind };
      this.#done();
    }
    this.#draw();
    return true;
  }

  #done() {
    this.forget();
    this.changed();
  }
}

/** The boxes to begin with: as they were left, else as they are proposed. */
function starting(item) {
  if (item.decision?.value.boxes) return item.decision.value.boxes.map((one) => ({ was: null, ...one }));
  return (item.proposal.boxes || []).map((one) => ({ box: one.box, kind: one.kind, was: one }));
}

const untouched = ({ box, kind, was }) => was !== null && was.kind === kind && was.box.every((edge, i) => Math.abs(edge - box[i]) < 1e-6);

function origin(one) {
  if (one.was === null) return "drawn";
  const source = typeof one.was.score === "number" ? `detector ${one.was.score.toFixed(2)}` : one.was.source || "table";
  return untouched(one) ? source : `${source}, changed`;
}

const percent = (share) => `${Math.round(100 * share)} %`;

/** One of eight colours for a class, the same on every visit. */
function tone(kind) {
  let sum = 0;
  for (const letter of kind) sum = (31 * sum + letter.codePointAt(0)) % 9973;
  return sum % 8;
}

