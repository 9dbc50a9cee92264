// The page: shows one item after the other, saves each change, and stores decisions.

import { $, el, isTyping, say } from "./dom.js";
import { photoAddress, readItem, readQueue, sendDecision, sendUndo } from "./api.js";
import { BoxesView, KEYS as BOX_KEYS } from "./boxes.js";
import { restart, taken } from "./clock.js";
import { List } from "./list.js";
import { KEYS as SIDE_KEYS, SideBySide } from "./sidebyside.js";

const KEPT = 4; // photos on both sides of the open one that are loaded ahead
const prefetched = new Map();
const unsaved = new Map(); // id of an item → [its number, its newest decision], where the service did not store it
let queue, list, view, item, current = -1, turn = 0, waiting = 0, deciding = false;

function status(state, text) {
  $("status").dataset.state = state;
  $("status").textContent = text;
}

function complain(text = "") {
  $("notice").hidden = !text;
  $("notice").textContent = text;
}

function count(counts) {
  const total = queue.items.length, open = (counts.open || 0) + (counts.draft || 0);
  $("counts").textContent = `${total - open} of ${total} decided`;
}

const save = (choice) => store(current, { item: item.id, choice, value: view.value, seconds: taken() });

async function store(n, decision) {
  waiting += 1;
  status("saving", "Saving");
  try {
    const answer = await sendDecision(decision);
    unsaved.delete(decision.item);
    list.setState(n, decision.choice);
    count(answer.counts);
    if (!unsaved.size) complain();
    return true;
  } catch (error) {
    unsaved.set(decision.item, [n, decision]);
    complain(`Not saved: ${error.message}`);
    return false;
  } finally {
    waiting -= 1;
    if (unsaved.size) status("gone", "Not saved");
    else if (!waiting) status("ready", "All is saved");
  }
}

/** Try again to store what was not stored; true if everything is stored now. */
async function saveAgain() {
  for (const [n, decision] of unsaved.values()) if (!(await store(n, decision))) return false;
  return true;
}

/** Show item number `n`; `back` after an undo. */
async function show(n, back = false) {
  if (n < 0 || n >= queue.items.length) return;
  view?.settle();
  const mine = ++turn;
  if (!back && !(await saveAgain())) return;
  let read;
  try {
    read = await readItem(n);
  } catch (error) {
    return complain(error.message);
  }
  if (mine !== turn) return; // another item was asked for meanwhile
  view?.settle(); // a key that was pressed meanwhile has changed the item that is still open
  if (back) unsaved.clear(); // the newest change was never stored, and is taken back
  view?.close();
  current = n;
  item = read;
  complain();
  $("question").textContent = item.question;
  const boxes = item.kind === "boxes";
  view = new (boxes ? BoxesView : SideBySide)(n, item, queue.classes, () => save("draft"));
  choices(boxes);
  keys(boxes ? BOX_KEYS : SIDE_KEYS);
  list.select(n);
  restart();
  prefetch(n);
  document.body.dataset.item = item.id;
  say(`${back ? "Undone. " : ""}${item.question} ${item.id}`);
}

function choiceKey(boxes, i) {
  if (i === 0) return "Enter";
  return boxes ? (i === 1 ? "S" : "") : String(i + 1);
}

function choices(boxes) {
  $("choices").replaceChildren(...item.choices.map((choice, i) => el("button", {
    type: "button", class: i === 0 ? "first" : null, "aria-pressed": item.decision?.choice === choice, onclick: () => choose(choice),
  }, `${choice} `, choiceKey(boxes, i) && el("kbd", {}, choiceKey(boxes, i)))));
}

function keys(of) {
  const all = [...of, ["Enter", "the first decision"], ["J K", "next, previous"], ["Z", "undo"]];
  $("key-list").replaceChildren(...all.flatMap(([key, meaning]) => [el("dt", {}, el("kbd", {}, key)), el("dd", {}, meaning)]));
}

async function choose(choice) {
  if (deciding) return; // the key was pressed twice
  const n = current;
  view.forget(); // a change that waits for the last key is part of this decision
  deciding = true;
  try {
    if (await save(choice) && current === n) await showNext(n);
  } finally {
    deciding = false;
  }
}

async function showNext(n) {
  const next = list.beside(n, 1, true);
  if (next >= 0) await show(next);
  else {
    list.refresh();
    const left = queue.items.findIndex(([, , state]) => state === "open" || state === "draft");
    if (left >= 0) return show(left);
    say("Everything is decided.");
    status("ready", "All is decided and saved");
    await show(n);
  }
}

async function undo() {
  view.settle();
  status("saving", "Undoing");
  try {
    if (unsaved.size) {
      await show(current, true);
      return unsaved.size ? status("gone", "Not saved") : status("ready", "All is saved");
    }
    const answer = await sendUndo();
    status("ready", "All is saved");
    count(answer.counts);
    if (answer.item === null) return say("Nothing to undo.");
    list.setState(answer.item, answer.state);
    await show(answer.item, true);
  } catch (error) {
    status("gone", "Not undone");
    complain(error.message);
  }
}

function prefetch(n) {
  const near = new Map();
  for (let step = 1; step <= KEPT; step++) for (const m of [n + step, n - step]) {
    if (m < 0 || m >= queue.items.length) continue;
    const address = photoAddress(m, 0, "large");
    const image = prefetched.get(address) || new Image();
    if (!image.src) image.src = address;
    near.set(address, image);
  }
  prefetched.clear();
  for (const [address, image] of near) prefetched.set(address, image);
}

function onKey(event) {
  if (isTyping(event) || !view) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if ((event.ctrlKey || event.metaKey) && key !== "z" && !key.startsWith("Arrow")) return; // the browser's own
  const onButton = event.target.matches("button:not(.box):not(.tile), summary");
  if (onButton && (key === "Enter" || key === " ")) return;
  let done = !deciding && view.key(event); // the open item is decided: a key that changes it is meant for the next one
  if (!done) {
    done = true;
    if (key === "z") undo();
    else if (key === "j" || key === "PageDown" || key === "ArrowRight") show(list.beside(current, 1));
    else if (key === "k" || key === "PageUp" || key === "ArrowLeft") show(list.beside(current, -1));
    else if (key === "Enter") choose(item.choices[0]);
    else if (key === "s" && item.kind === "boxes" && item.choices[1]) choose(item.choices[1]);
    else if (/^[1-9]$/.test(key) && item.kind !== "boxes" && item.choices[key - 1]) choose(item.choices[key - 1]);
    else done = false;
  }
  if (done) event.preventDefault();
}

async function start() {
  try {
    queue = await readQueue();
  } catch (error) {
    status("gone", "Gone");
    return complain(error.message);
  }
  $("title").textContent = queue.title;
  document.title = `${queue.title}: review`;
  list = new List(queue.items, show);
  count(queue.counts);
  $("previous").addEventListener("click", () => show(list.beside(current, -1)));
  $("next").addEventListener("click", () => show(list.beside(current, 1)));
  $("undo").addEventListener("click", undo);
  document.addEventListener("keydown", onKey);
  const first = queue.items.findIndex(([, , state]) => state === "open" || state === "draft");
  if (!queue.items.length) $("question").textContent = "The queue is empty.";
  else await show(first >= 0 ? first : 0);
  if (first < 0 && queue.items.length) { $("filter").value = "all"; list.refresh(); }
  status("ready", queue.items.length ? "All is saved" : "Nothing to do");
}

start();
