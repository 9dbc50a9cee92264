// Light, dark or as the system has it. Runs before the first paint, so that nothing flashes.
"use strict";
(() => {
  const KEY = "groknet-theme", ORDER = ["auto", "light", "dark"];
  const NAMES = { auto: "as your system", light: "light", dark: "dark" };
  const root = document.documentElement;

  function stored() {
    try { return ORDER.includes(localStorage.getItem(KEY)) ? localStorage.getItem(KEY) : "auto"; }
    catch { return "auto"; } // storage may be forbidden
  }
  function apply(theme) {
    root.dataset.theme = theme;
    const button = document.getElementById("theme");
    if (button) button.setAttribute("aria-label", `Colours: ${NAMES[theme]}. Change`);
  }
  apply(stored());
  addEventListener("DOMContentLoaded", () => {
    apply(stored());
    document.getElementById("theme").addEventListener("click", () => {
      const next = ORDER[(ORDER.indexOf(root.dataset.theme) + 1) % ORDER.length];
      try { localStorage.setItem(KEY, next); } catch { /* then it lasts as long as the page */ }
      apply(next);
    });
  });
})();
