// Talks to the service. Changes go one after the other, in the order in which they were made.

async function call(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
  };
  const answer = await fetch(path, options).catch(() => {
    throw new Error("The review has stopped. Start `groknet boxes review` again, and what you see here is saved.");
  });
  const read = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(read.detail || `The service answered ${answer.status}.`);
  return read;
}

export const readQueue = () => call("v1/queue");
export const readItem = (n) => call(`v1/items/${n}`);
export const photoAddress = (n, k, size) => `v1/photos/${n}/${k}/${size}`;

let last = Promise.resolve();

/** Send a change after all earlier ones. */
function inTurn(path, body) {
  const mine = last.catch(() => {}).then(() => call(path, body));
  last = mine;
  return mine;
}

export const sendDecision = (decision) => inTurn("v1/decide", decision);
export const sendUndo = () => inTurn("v1/undo", {});
