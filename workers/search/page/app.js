// The page, put together.

import { $ } from "./dom.js";
import { Detail } from "./detail.js";
import { Draft } from "./draft.js";
import { Finder, MAX_MB } from "./finder.js";
import { takeIn } from "./intake.js";
import { judging } from "./judging.js";
import { Live, watch } from "./live.js";
import { takeWords } from "./words.js";

const detail = new Detail((listing) => finder.listing(listing));
const open = (listingId) => detail.open(listingId);
const draft = new Draft(() => ({ file: finder.subject.file, box: finder.frame.box }));
const finder = new Finder(open, (subject) => draft.changed(subject));

$("limit").textContent = `${document.body.dataset.formats}, up to ${MAX_MB} MB`;
$("home").addEventListener("click", (event) => {
  event.preventDefault();
  finder.leave();
  $("choose").focus();
});
takeWords((text) => finder.words(text));
takeIn((file, frames) => finder.photo(file, frames));
new Live(open);
watch();
judging();
