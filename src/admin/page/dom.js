// The few things that every part does with the document. Text from the wire goes through textContent only.

export const $ = (selector, within = document) => within.querySelector(selector);

/** An element with properties, attributes where the name has a dash, and children. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role" || name === "scope") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

export const on = (element, kind, act) => element.addEventListener(kind, act);

/** Writes only what changed, so that a selection and a reader are left in peace. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Makes a table's body have these rows, each an array of cells: a text, or `{text, head, name, note, of, act}`: a row's
 * head, a name from outside (of any direction, cut where it is long), a second text after it, a class, a click.
 */
export function fill(body, rows) {
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((cells, index) => {
    const row = body.rows[index] ?? body.insertRow();
    cells.forEach((cell, column) => put(row, column, typeof cell === "object" ? cell : { text: cell }));
  });
}

function put(row, column, { text, head, name, note, of, act }) {
  let place = row.cells[column];
  if (!place) {
    place = row.appendChild(make(head ? "th" : "td"));
    if (head) place.scope = "row";
    if (name) place.append(make(act ? "button" : "bdi", act ? { className: "name", dir: "auto" } : { className: "name" }));
    else if (note !== undefined) place.append(make("span"), " ", make("span", { className: "note" }));
  }
  place.className = of ?? "";
  if (name) {
    write(place.firstChild, text);
    place.firstChild.title = text;
    if (act) place.firstChild.onclick = act;
  } else if (note !== undefined) {
    write(place.firstChild, text);
    write(place.lastChild, note);
  } else {
    write(place, text);
  }
}

/** Shows a table's rows, or in words why there are none. */
export function fillOrSay(table, rows, words) {
  fill(table.tBodies[0], rows);
  const around = table.closest(".scroll") ?? table;
  around.hidden = rows.length === 0;
  const empty = around.nextElementSibling;
  empty.hidden = rows.length > 0;
  write(empty, words);
}

/** Tells a screen reader what was asked for; what changes by itself is not told. */
export const say = (words) => write($("#voice"), words);

/** The colour of a custom property as the theme has it now. */
export function colour(name) {
  const probe = document.body.appendChild(make("span"));
  probe.style.color = `var(${name})`;
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

/** What this browser keeps, of `localStorage` or `sessionStorage`. One that keeps nothing starts anew each time. */
export function recall(where, key) {
  try { return window[where].getItem(key); } catch { return null; }
}

export function keep(where, key, value) {
  try { window[where].setItem(key, value); } catch { /* as said */ }
}
