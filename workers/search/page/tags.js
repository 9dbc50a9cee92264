// What a photo shows: predictions as bars, and the category with the neighbours that voted for it.

import { picture } from "./cards.js";
import { alike, bar, called, el, percent, plural, words } from "./dom.js";

const SHOWN_LABELS = 3, SHOWN_VOTERS = 6;
const LEAST_SHARE = 0.01; // of the vote: below it a rival is noise

function row({ name, probability, offered }) {
  return el("li", { class: offered ? "label offered" : "label" },
    el("span", { class: "label-name" }, name, offered && el("span", { class: "unseen" }, ", offered as a tag")),
    bar(probability), el("span", { class: "num" }, percent(probability)));
}

function group(head, labels) {
  const [kind, name] = head.includes(".") ? head.split(".", 2) : [null, head];
  return el("div", { class: "head" },
    el("h3", {}, words(name), kind && el("small", {}, ` ${words(kind).toLowerCase()}`)),
    el("ul", { class: "labels" }, ...labels.slice(0, SHOWN_LABELS).map(row)));
}

/** The offered labels as tags, the most useful first; two heads that say the same give one. */
function tags(heads) {
  const named = new Map();
  for (const [head, labels] of heads) {
    for (const label of labels.filter((one) => one.offered)) {
      const key = label.name.toLowerCase();
      if (!named.has(key)) named.set(key, el("li", { class: "tag", title: `${words(head.split(".").pop())}: ${percent(label.probability)}` }, label.name));
    }
  }
  return [...named.values()];
}

const behind = (summary, groups) => el("details", { class: "more" },
  el("summary", {}, summary), el("div", { class: "heads" }, ...groups));

/** Fill `target` with what an answer knows: {predictions: {head: [{name, probability, offered}]}, applies: [head] or null}.
    Heads come in the answer's order, the most useful first; a head that does not apply is not shown. */
export function showTags(target, { predictions, applies }) {
  const heads = Object.entries(predictions).filter(([head, labels]) => labels.length && (!applies || applies.includes(head)));
  const known = tags(heads);
  if (!known.length) {
    target.replaceChildren(el("p", { class: "unknown" }, "Nothing is known for sure about this."));
    if (heads.length) target.append(behind("See the guesses", heads.map(([head, labels]) => group(head, labels))));
    return;
  }
  const most = matchMedia("(max-width: 900px)").matches ? 2 : 4; // on a phone the results come below
  const sure = heads.filter(([, labels]) => labels.some((label) => label.offered)).slice(0, most);
  const rest = heads.filter((head) => !sure.includes(head)).map(([head, labels]) => group(head, labels));
  target.replaceChildren(el("ul", { class: "tags" }, ...known),
    el("div", { class: "heads" }, ...sure.map(([head, labels]) => group(head, labels))));
  if (rest.length) target.append(behind(plural(rest.length, "more attribute"), rest));
}

function voter(neighbour, open) {
  const label = `${called(neighbour)}, ${alike(neighbour.likeness)}`;
  const button = el("button", { class: "voter", type: "button", "aria-label": label, title: called(neighbour) },
    picture(neighbour.thumbnail), el("span", { class: "num" }, alike(neighbour.likeness)));
  button.addEventListener("click", () => open(neighbour.listing_id));
  return el("li", {}, button);
}

function reason(category, neighbours) {
  const voted = plural(category.voters.length, "neighbour");
  const own = category.own > 0 ? `The photo alone says ${percent(category.own)}` : "The photo alone cannot tell";
  return `${own}; the neighbours say ${percent(category.neighbours)}, ${voted} of ${neighbours} voted for it.`;
}

/** Fill `target` with the vote: the winner large, why, its rivals; leaves it empty where nobody voted. */
export function showVote(target, categories, neighbours, open) {
  target.replaceChildren();
  if (!categories.length) return;
  const [winner, ...others] = categories, rivals = others.filter((other) => other.share >= LEAST_SHARE);
  const known = new Map(neighbours.map((neighbour) => [neighbour.listing_id, neighbour]));
  const voters = winner.voters.map((id) => known.get(id)).filter(Boolean);
  const count = new Set(categories.flatMap((category) => category.voters)).size;
  target.append(
    el("p", { class: "winner" }, el("strong", {}, words(winner.category)),
      el("span", { class: "num" }, percent(winner.share))),
    bar(winner.share),
    el("details", { class: "why", ".open": true },
      el("summary", {}, "Why?"),
      el("p", { class: "soft" }, reason(winner, count)),
      el("ul", { class: "voters" }, ...voters.slice(0, SHOWN_VOTERS).map((neighbour) => voter(neighbour, open))),
      rivals.length > 0 && el("p", { class: "soft" }, "Also possible: ",
        rivals.slice(0, 3).map((rival) => `${words(rival.category)} ${percent(rival.share)}`).join(", "))));
}
