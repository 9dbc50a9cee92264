// Talks to the service. Changes go one after the other, in the order in which they were made.

async function call(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
  };
  const answer = await fetch(path, options).catch(() => {
    throw new Error("The review has stopped. Start it again, and your next step saves what you see here.");
  });
  const read = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(read.detail || `The service answered ${answer.status}.`);
  return read;
}

let run = ""; // in the addresses of items and photos, so that no cache has them from an earlier run

export async function readQueue() {
  const queue = await call("v1/queue");
  run = queue.run;
  return queue;
}
export const readItem = (n) => call(`v1/${run}/items/${n}`);
export const photoAddress = (n, k, size) => `v1/${run}/photos/${n}/${k}/${size}`;

let last = Promise.resolve();

/** Send a change after all earlier ones. */
function inTurn(path, body) {
  const mine = last.catch(() => {}).then(() => call(path, body));
  last = mine;
  return mine;
}

export const sendDecision = (decision) => inTurn("v1/decide", decision);
export const sendUndo = () => inTurn("v1/undo", {});
