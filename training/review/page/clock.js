// How long a person works on an item. A pause of more than PAUSE_MS counts as PAUSE_MS.

const PAUSE_MS = 20_000;
let spent = 0, last = performance.now();

function note() {
  const now = performance.now();
  spent += Math.min(now - last, PAUSE_MS);
  last = now;
}
for (const name of ["pointermove", "pointerdown", "keydown", "wheel"]) addEventListener(name, note, { passive: true });

/** Begin to count for another item. */
export function restart() {
  spent = 0;
  last = performance.now();
}

/** The seconds since `restart` or the last `taken`. */
export function taken() {
  note();
  const seconds = spent / 1000;
  spent = 0;
  return seconds;
}
