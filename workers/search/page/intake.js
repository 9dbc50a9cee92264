// How a photo gets in: chosen, taken, dropped or pasted.

import { takePhoto } from "./camera.js";
import { $ } from "./dom.js";
import { showNotice } from "./notice.js";

const chosen = (files) => [...files].find((file) => file.type.startsWith("image/")) || files[0];
const carriesFiles = (event) => [...event.dataTransfer.types].includes("Files");

function picks(input, give) {
  input.addEventListener("change", () => {
    if (input.files.length) give(input.files[0]);
    input.value = ""; // the same photo may be chosen again
  });
}

function drops(give) {
  let depth = 0; // enter and leave come for every node under the pointer
  const over = (by) => {
    depth = Math.max(0, by === null ? 0 : depth + by);
    $("drop-here").hidden = depth === 0;
  };
  addEventListener("dragenter", (event) => { if (carriesFiles(event)) { event.preventDefault(); over(1); } });
  addEventListener("dragover", (event) => { if (carriesFiles(event)) event.preventDefault(); });
  addEventListener("dragleave", (event) => { if (carriesFiles(event)) over(-1); });
  addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    over(null);
    if (event.dataTransfer.files.length) give(chosen(event.dataTransfer.files));
  });
}

/** Every way in calls `give(file)`, the camera `give(file, frames)`. */
export function takeIn(give) {
  picks($("photo"), give);
  picks($("shot"), give);
  for (const id of ["choose", "another"]) $(id).addEventListener("click", () => $("photo").click());
  for (const id of ["take", "retake"]) {
    $(id).addEventListener("click", async () => {
      // A phone's own camera is better than any page's; elsewhere the page has to show one.
      if (matchMedia("(pointer: coarse)").matches || !navigator.mediaDevices?.getUserMedia) $("shot").click();
      else {
        try {
          const frames = await takePhoto();
          if (frames) give(frames[0], frames);
        } catch (error) {
          showNotice(error.message);
        }
      }
    });
  }
  drops(give);
  addEventListener("paste", (event) => {
    const files = event.clipboardData?.files || [];
    if (files.length) {
      event.preventDefault();
      give(chosen(files));
    } else if (!event.target.closest("input, textarea")) {
      showNotice("There is no photo on the clipboard. Copy a picture, then paste it here.");
    }
  });
}
