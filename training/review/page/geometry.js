// Boxes as [left, top, right, bottom] in shares of the photo, 0 to 1.

export const LEAST = 0.01; // of a side: the service takes no smaller box

const within = (value, low, high) => Math.min(high, Math.max(low, value));

/** Move the edges whose numbers are in `moved`; all four keep the size, fewer keep the other edges where they are. */
export function shifted(box, moved, dx, dy) {
  let [left, top, right, bottom] = box;
  if (moved.length === 4) {
    const x = within(dx, -left, 1 - right), y = within(dy, -top, 1 - bottom);
    return [left + x, top + y, right + x, bottom + y];
  }
  if (moved.includes(0)) left = within(left + dx, 0, right - LEAST);
  if (moved.includes(1)) top = within(top + dy, 0, bottom - LEAST);
  if (moved.includes(2)) right = within(right + dx, left + LEAST, 1);
  if (moved.includes(3)) bottom = within(bottom + dy, top + LEAST, 1);
  return [left, top, right, bottom];
}

/** The box between two points, or null where it is too small to be meant. */
export function spanned(from, to) {
  const x = [within(from.x, 0, 1), within(to.x, 0, 1)].sort((a, b) => a - b);
  const y = [within(from.y, 0, 1), within(to.y, 0, 1)].sort((a, b) => a - b);
  return x[1] - x[0] < LEAST || y[1] - y[0] < LEAST ? null : [x[0], y[0], x[1], y[1]];
}

export const area = ([left, top, right, bottom]) => (right - left) * (bottom - top);
