"use strict";
// Dark or light: the reader's earlier choice, else the system setting. Runs before the page is drawn.
(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  try {
    chosen = localStorage.getItem("skelbench-theme");
  } catch {
    chosen = null; // storage is disabled: the choice lasts for this page
  }
  const dark = () => (chosen ? chosen === "dark" : system.matches);
  const apply = () => {
    root.dataset.theme = dark() ? "dark" : "light";
    const button = document.getElementById("theme");
    if (!button) return;
    button.hidden = false;
    button.textContent = dark() ? "Light" : "Dark";
    button.setAttribute("aria-label", dark() ? "Switch to light colours" : "Switch to dark colours");
  };
  apply();
  system.addEventListener("change", apply);
  document.addEventListener("DOMContentLoaded", () => {
    apply();
    document.getElementById("theme").addEventListener("click", () => {
      chosen = dark() ? "light" : "dark";
      try {
        localStorage.setItem("skelbench-theme", chosen);
      } catch {
        // as above
      }
      apply();
    });
  });
})();
