// A camera of this device in a dialog, for machines whose file picker cannot take a photo.

import { $, say } from "./dom.js";

const FRAMES = 4, PAUSE_MS = 120; // a third of a second: long enough for a hand to hold still once
const QUALITY = 0.92; // of the JPEG: no visible loss, a quarter of a PNG's bytes

const WHY = {
  NotAllowedError: "The camera is not allowed here. Allow it in the browser's address bar, or choose a photo.",
  NotFoundError: "This device has no camera. Choose a photo instead.",
};

function snapshot(video) {
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  return new Promise((done) => {
    canvas.toBlob((blob) => done(new File([blob], "photo.jpg", { type: "image/jpeg" })), "image/jpeg", QUALITY);
  });
}

const wait = (ms) => new Promise((done) => { setTimeout(done, ms); });

/** Some photos in a row, as Files: a hand moves, and the service takes the sharp ones. */
async function clip(video) {
  const photos = [await snapshot(video)];
  while (photos.length < FRAMES) {
    await wait(PAUSE_MS);
    photos.push(await snapshot(video));
  }
  return photos;
}

/** Files, the frames of a short clip, or null where the dialog was closed. Throws an Error with words for people where there is no camera. */
export async function takePhoto() {
  const dialog = $("camera"), video = $("camera-video");
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1600 } } });
  } catch (error) {
    throw new Error(WHY[error.name] || "The camera cannot be used now. Choose a photo instead.");
  }
  video.srcObject = stream;
  dialog.showModal();
  say("The camera is on.");
  try {
    await video.play();
    return await new Promise((done) => {
      $("camera-take").onclick = () => clip(video).then(done);
      $("camera-cancel").onclick = () => done(null);
      dialog.oncancel = () => done(null);
    });
  } finally {
    for (const track of stream.getTracks()) track.stop();
    video.srcObject = null;
    dialog.close();
  }
}
