// What can be checked of a page by looking at it: that everything has a name, is dark enough, and fits.
const audit = {
  shown: (element) => element.checkVisibility({ visibilityProperty: true }) && element.getClientRects().length > 0,

  /** What a reader would call an element, and what tells it from others. */
  name(element) {
    const labelled = element.getAttribute?.("aria-labelledby")?.split(" ").map((id) => document.getElementById(id)?.textContent).join(" ");
    const words = labelled || element.getAttribute?.("aria-label") || element.labels?.[0]?.textContent || element.textContent || "";
    return `${element.localName}#${element.id || element.closest?.("[id]")?.id}: ${element.name || words.trim().slice(0, 60)}`;
  },

  /** Everything that takes the keyboard; of a group of radio buttons only the chosen one does. */
  controls() {
    const all = document.querySelectorAll("button:not(:disabled), input:not(:disabled), summary, a[href], [tabindex='0']");
    return [...all].filter((one) => audit.shown(one) && (one.type !== "radio" || one.checked)).map(audit.name);
  },

  colour(text) {
    const parts = text.match(/[\d.]+/g).map(Number);
    const scale = text.startsWith("color(") ? 255 : 1;
    return [parts[0] * scale, parts[1] * scale, parts[2] * scale, parts[3] ?? 1];
  },

  over: (top, below) => [0, 1, 2].map((part) => top[part] * top[3] + below[part] * (1 - top[3])),

  background(element) {
    const layers = [];
    for (let one = element; one; one = one.parentElement) layers.push(audit.colour(getComputedStyle(one).backgroundColor));
    return layers.reverse().reduce((below, top) => audit.over(top, below), [255, 255, 255]);
  },

  /** WCAG 2.2, relative luminance and contrast ratio. */
  contrast(element) {
    const luminance = (rgb) => rgb.map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
      .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
    const below = audit.background(element);
    const [a, b] = [luminance(audit.over(audit.colour(getComputedStyle(element).color), below)), luminance(below)];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  },

  faults() {
    const faults = [];
    for (const element of document.querySelectorAll("button, input, summary, [role=group], [role=region], [tabindex='0']")) {
      if (audit.shown(element) && audit.name(element).endsWith(": ")) faults.push(`no name: ${element.outerHTML.slice(0, 80)}`);
    }
    for (const element of document.querySelectorAll("body *")) {
      const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
      const off = element.closest(":disabled, .unseen, .old") || !audit.shown(element);
      if (own && !off && audit.contrast(element) < 4.5) faults.push(`contrast ${audit.contrast(element).toFixed(2)}: ${audit.name(element)}`);
    }
    const levels = [...document.querySelectorAll("h1, h2, h3")].map((heading) => Number(heading.localName[1]));
    levels.forEach((level, index) => index > 0 && level > levels[index - 1] + 1 && faults.push(`heading ${index} skips a level`));
    const ids = [...document.querySelectorAll("[id]")].map(({ id }) => id);
    ids.forEach((id, index) => ids.indexOf(id) !== index && faults.push(`two are called ${id}`));
    for (const cell of document.querySelectorAll("thead th")) if (!cell.scope) faults.push(`no scope: ${cell.textContent}`);
    return faults;
  },

  /** What sticks out to the right. */
  wide: (width) => [...document.querySelectorAll("body *")].filter((one) => one.getBoundingClientRect().right > width + 1 && !one.parentElement.closest(".scroll, .plot, .log")).map(audit.name).slice(0, 5),
};
