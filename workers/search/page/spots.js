// The products that the detector found in the photo: an outline on the photo and a button for each of them.

import { $, el, percent, words } from "./dom.js";

const EDGES = ["left", "top", "right", "bottom"];
const NEAR = 0.005; // of a side: a frame that is so near to a box is that box

const asFrame = (box) => Object.fromEntries(EDGES.map((edge, i) => [edge, box[i]]));
const same = (frame, box) => EDGES.every((edge, i) => Math.abs(frame[edge] - box[i]) < NEAR);
const holds = (box, at) => at.x >= box[0] && at.x <= box[2] && at.y >= box[1] && at.y <= box[3];
const size = (box) => (box[2] - box[0]) * (box[3] - box[1]);

export class Spots {
  /** `choose(frame)` is called with the box that was chosen, as a frame. */
  constructor(choose) {
    this.choose = choose;
    this.found = [];
  }

  /** Show these boxes, [{box, kind, score}]; those of one search stay while a frame is dragged. */
  show(found) {
    this.found = found;
    $("spots").replaceChildren(...found.map(({ box }) => {
      const outline = el("span", { class: "spot" });
      outline.style.left = `${100 * box[0]}%`;
      outline.style.top = `${100 * box[1]}%`;
      outline.style.width = `${100 * (box[2] - box[0])}%`;
      outline.style.height = `${100 * (box[3] - box[1])}%`;
      return outline;
    }));
    this.buttons = found.map(({ box, kind, score }, i) => {
      const button = el("button", { class: "quiet small", type: "button", "aria-pressed": "false",
        "aria-label": `Product ${i + 1} of ${found.length}: ${words(kind)}, ${percent(score)} sure` },
      `${words(kind)} `, el("span", { class: "num" }, percent(score)));
      button.addEventListener("click", () => this.choose(asFrame(box)));
      return el("li", {}, button);
    });
    $("found").replaceChildren(...this.buttons);
    $("found-products").hidden = found.length === 0;
  }

  /** Mark the box that the frame shows. */
  mark(frame) {
    this.found.forEach(({ box }, i) => {
      const chosen = same(frame, box);
      this.buttons[i].firstChild.setAttribute("aria-pressed", String(chosen));
      $("spots").children[i].classList.toggle("chosen", chosen);
    });
  }

  /** The smallest box at a point of the photo, as a frame; null where there is none. */
  at(point) {
    const here = this.found.filter(({ box }) => holds(box, point)).sort((a, b) => size(a.box) - size(b.box));
    return here.length ? asFrame(here[0].box) : null;
  }
}
