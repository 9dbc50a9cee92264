// The list of items. Only the rows in view are nodes, so that ten thousand items cost as little as twenty.

import { $, el } from "./dom.js";
import { photoAddress } from "./api.js";

const ROW = 56, BEYOND = 6; // pixels of a row; rows that are kept above and below the view
const SHOWN = { open: (state) => state === "open" || state === "draft", all: () => true, decided: (state) => state !== "open" && state !== "draft" };

export class List {
  /** `items` are [id, kind, state]; `chosen(n)` is called with the number of an item. */
  constructor(items, chosen) {
    this.items = items;
    this.chosen = chosen;
    this.current = -1;
    this.node = $("list");
    this.rows = $("rows");
    this.node.addEventListener("scroll", () => this.#draw());
    this.node.addEventListener("keydown", (event) => this.#key(event));
    this.rows.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row) chosen(Number(row.dataset.n));
    });
    $("filter").addEventListener("change", () => this.refresh());
    new ResizeObserver(() => this.#draw()).observe(this.node);
    this.refresh();
  }

  /** Choose again which items are listed. */
  refresh() {
    const shown = SHOWN[$("filter").value];
    this.order = this.items.flatMap(([, , state], n) => (shown(state) || n === this.current ? [n] : []));
    this.rows.style.height = `${Math.max(1, this.order.length) * ROW}px`;
    this.#draw();
  }

  /** Show which item is open, and bring its row into view. */
  select(n) {
    this.current = n;
    this.refresh();
    const place = this.order.indexOf(n), top = place * ROW, view = this.node;
    if (top < view.scrollTop) view.scrollTop = top;
    else if (top + ROW > view.scrollTop + view.clientHeight) view.scrollTop = top + ROW - view.clientHeight;
    this.#draw();
  }

  setState(n, state) {
    this.items[n][2] = state;
    this.#draw();
  }

  /** The next or previous item of the list; with `open`, the next one that nobody has decided. */
  beside(n, step, open = false) {
    const inList = open ? SHOWN.open : SHOWN[$("filter").value];
    for (let i = n + step; i >= 0 && i < this.items.length; i += step) if (inList(this.items[i][2])) return i;
    return -1;
  }

  #draw() {
    const first = Math.max(0, Math.floor(this.node.scrollTop / ROW) - BEYOND);
    const end = Math.min(this.order.length, Math.ceil((this.node.scrollTop + this.node.clientHeight) / ROW) + BEYOND);
    const had = new Map([...this.rows.children].map((row) => [row.dataset.key, row]));
    const now = [];
    for (let place = first; place < end; place++) {
      const n = this.order[place], [id, , state] = this.items[n], key = `${n} ${state}`;
      const row = had.get(key) || el("div", { class: "row", role: "option", id: `item-${n}`, "data-n": n, "data-key": key },
        el("img", { src: photoAddress(n, 0, "small"), alt: "", loading: "lazy" }),
        el("span", {}, id, el("small", {}, state === "draft" ? "begun" : state)));
      row.style.top = `${place * ROW}px`;
      row.setAttribute("aria-selected", n === this.current);
      row.setAttribute("aria-setsize", this.order.length);
      row.setAttribute("aria-posinset", place + 1);
      now.push(row);
    }
    this.rows.replaceChildren(...now);
    const active = $(`item-${this.current}`);
    if (active) this.node.setAttribute("aria-activedescendant", active.id);
    else this.node.removeAttribute("aria-activedescendant");
  }

  #key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const n = this.beside(this.current, step);
    if (n >= 0) this.chosen(n);
  }
}
