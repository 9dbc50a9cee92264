// Right or wrong: what a person says about a search result and about the labels of the photo. Nothing is sent, and no
// search is kept, before the person has agreed.

import { Problem, judge } from "./api.js";
import { $, el, say, words } from "./dom.js";
import { showNotice } from "./notice.js";

const { keep, keepDays } = document.body.dataset;
let last = null; // the answer that is judged

const agreed = () => $("agree").checked;

function asked() {
  return last.listing_id ? { query_listing: last.listing_id } : { hash: last.hash };
}

/** Two buttons for one statement; the one that was pressed shows it. */
function buttons(statement, target) {
  const press = async (button, right) => {
    try {
      await judge({ consent: true, epoch: last.epoch, right, ...asked(), ...target });
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      showNotice(error.message);
      return;
    }
    for (const one of pair) one.setAttribute("aria-pressed", String(one === button));
    say(`Kept: ${statement}: ${right ? "right" : "wrong"}.`);
  };
  const pair = [["Right", true], ["Wrong", false]].map(([text, right]) => {
    const button = el("button", { class: "quiet small", type: "button", "aria-pressed": "false",
      "aria-label": `${statement}: ${text.toLowerCase()}`, ".disabled": !agreed() }, text);
    button.addEventListener("click", () => press(button, right));
    return button;
  });
  return el("span", { class: "buttons judge" }, ...pair);
}

function labels() {
  const heads = Object.entries(last.predictions).filter(([head]) => !last.applies || last.applies.includes(head));
  const offered = last.listing_id ? [] : heads.flatMap(([head, found]) =>
    found.filter((one) => one.offered).map((one) => [head, one]));
  $("judge-labels").replaceChildren(...offered.map(([head, { label, name }]) => el("li", { class: "label" },
    el("span", {}, `${words(head.split(".").pop())}: ${name}`), buttons(name, { head, label }))));
}

/** Ask about the results and labels of each search, if the service keeps feedback. */
export function judging() {
  if (keep === "nothing") return;
  $("judge").hidden = false;
  const photo = keep === "photos" ? "a small copy of my photo" : "a code of my photo, not the photo";
  $("agree-text").textContent = `Keep what I say, my next searches and ${photo} for ${keepDays} days, to improve the search.`;
  $("agree").addEventListener("change", () => {
    document.body.dataset.agreed = agreed() ? "true" : "";
    for (const button of document.querySelectorAll(".judge button")) button.disabled = !agreed();
  });
  document.addEventListener("found", ({ detail: found }) => {
    last = found;
    labels();
  });
  document.addEventListener("opened", ({ detail: listing }) => {
    const result = last && last.neighbours.some((one) => one.listing_id === listing.listing_id);
    $("judge-result").hidden = !result;
    if (!result) return;
    $("judge-result").replaceChildren(el("p", { class: "soft" }, "Is this the same product?"),
      buttons("The same product", { listing_id: listing.listing_id }));
  });
}
