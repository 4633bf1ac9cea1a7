// Before anything is drawn: the theme that was chosen in this browser, else the system's.
{
  const NAMES = { "": "as the system", light: "light", dark: "dark" };
  const root = document.documentElement;
  const read = () => { try { return localStorage.getItem("theme") ?? ""; } catch { return ""; } };
  const apply = (name) => {
    root.dataset.theme = name in NAMES ? name : "";
    const button = document.getElementById("theme");
    if (button) button.textContent = `Theme: ${NAMES[root.dataset.theme]}`;
    document.dispatchEvent(new Event("theme"));
  };
  apply(read());
  document.addEventListener("DOMContentLoaded", () => {
    apply(read());
    document.getElementById("theme").addEventListener("click", () => {
      const names = Object.keys(NAMES);
      const next = names[(names.indexOf(root.dataset.theme) + 1) % names.length];
      // A browser that keeps nothing still changes until the next load.
      try { localStorage.setItem("theme", next); } catch { /* as said */ }
      apply(next);
    });
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.dispatchEvent(new Event("theme")));
}
