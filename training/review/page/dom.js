// Small helpers: nodes, and the voice for screen readers.

export const $ = (id) => document.getElementById(id);

/** A node; `props` are attributes, and `on…` are listeners; null and false ones are left out. */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** Say something to a screen reader, once, when it has nothing else to say. */
export function say(text) {
  const voice = $("voice");
  voice.textContent = "";
  requestAnimationFrame(() => { voice.textContent = text; }); // a region that keeps its text is silent
}

/** Whether a key belongs to the field that has the focus. */
export const isTyping = (event) => event.target.matches("input, select, textarea");
