/** Draws the page. Raw ids are untrusted text: they are only set as `textContent`. */

const number = new Intl.NumberFormat(undefined, { minimumSignificantDigits: 4, maximumSignificantDigits: 4 });

/** Returns the element with this id. */
export const element = (id) => document.getElementById(id);

/** Titles by item, as far as the server has sent them. */
export const titles = new Map();

const nameOf = (item) => titles.get(item) ?? item;

/** Shows tiles of items with how often each was picked; calls `act(item)` when one is pressed. */
export function showItems(items, picked, act) {
  fit(element("items"), items.length, () => button("tile", "mark", "name", "times"), (row, index) => {
    const times = picked.filter((item) => item === items[index]).length;
    fill(row, { name: nameOf(items[index]), times: times > 0 ? `× ${times}` : "" });
    mark(row, items[index]);
    row.firstChild.title = `Add ${nameOf(items[index])} to your history`;
    row.firstChild.onclick = () => act(items[index]);
  });
}

/** Shows a section of the history as chips, oldest first; calls `act(index)` when one is pressed. */
export function showHistory(id, history, unknown, act) {
  fit(element(id), history.length, () => button("chip", "name", "cross"), (row, index) => {
    const strange = unknown.includes(history[index]);
    const name = nameOf(history[index]);
    fill(row, { name, cross: "×" });
    row.firstChild.classList.toggle("strange", strange);
    row.firstChild.title = strange ? "The model does not know this item" : "";
    row.firstChild.setAttribute("aria-label", `Remove ${name}${strange ? ", unknown to the model" : ""}`);
    row.firstChild.onclick = () => act(index);
  });
  element(id).parentElement.hidden = history.length === 0;
}

/** Shows the ranked list with scores as bars, which start at 0, or at the lowest score if that is negative. */
export function showAnswers({ items, scores }, act) {
  const low = Math.min(0, ...scores);
  const span = Math.max(...scores) - low || 1;
  fit(element("answers"), items.length, () => button("answer", "mark", "name", "score", "bar", "because"), (row, index) => {
    fill(row, { name: nameOf(items[index]), score: number.format(scores[index]), because: "" });
    mark(row, items[index]);
    row.firstChild.title = `Add ${nameOf(items[index])} to your history`;
    row.firstChild.style.setProperty("--fraction", (scores[index] - low) / span);
    row.firstChild.onclick = () => act(items[index]);
  });
}

/** Shows below each item of the ranked list the item it rests on, if one is enough. */
export function showReasons(reasons) {
  const rows = [...element("answers").children];
  reasons.forEach(({ item, because }, index) => fill(rows[index], { because: because === null ? "" : sentence(item, because) }));
}

const sentence = (item, because) =>
  because === item ? "because you picked it before" : `because you picked ${nameOf(because)}`;

/** Shows example messages; calls `act(text)` when one is pressed. */
export function showExamples(examples, act) {
  fit(element("examples"), examples.length, () => button("chip", "name"), (row, index) => {
    fill(row, { name: examples[index] });
    row.firstChild.onclick = () => act(examples[index]);
  });
}

/** Adds a message or a reply to the dialogue (`role`), with the items that come with it. */
export function showTurn(role, { say, items = [] }, act) {
  const turn = Object.assign(document.createElement("li"), { className: role });
  turn.append(Object.assign(document.createElement("p"), { textContent: say }));
  const list = document.createElement("ul");
  fit(list, items.length, () => button("answer", "mark", "name", "score", "because"), (row, index) => {
    const { item, title, because, columns } = items[index];
    fill(row, { name: title ?? nameOf(item), score: "", because: because ?? describeColumns(columns) });
    mark(row, item);
    row.firstChild.title = `Add ${title ?? item} to your history`;
    row.firstChild.onclick = () => act(item);
  });
  if (items.length > 0) turn.append(list);
  element("turns").append(turn);
  const top = role === "reply" ? turn.previousSibling : turn; // the message stays visible
  element("turns").scrollTop = top.offsetTop - element("turns").offsetTop;
}

/** Returns columns of a product as one line: text as it is, numbers with their name, and names of true flags. */
const describeColumns = (columns) => Object.entries(columns ?? {})
  .filter(([, value]) => value !== null && value !== false)
  .map(([name, value]) => {
    const word = name.replaceAll("_", " ");
    if (value === true) return word;
    return typeof value === "number" ? `${word} ${value}` : [value].flat().join(", ");
  })
  .join(" · ");

/** Shows a text in an element, or hides the element if the text is empty. */
export function say(id, text, isError = false) {
  if (element(id).textContent !== text) element(id).textContent = text; // unchanged text is not read aloud again
  element(id).hidden = text === "";
  element(id).classList.toggle("error", isError);
}

/** Sets the number of rows of a list and updates them in place, so that the keyboard focus stays where it is. */
function fit(list, length, make, update) {
  const focused = [...list.children].findIndex((row) => row.contains(document.activeElement));
  while (list.children.length > length) list.lastChild.remove();
  while (list.children.length < length) list.append(make());
  [...list.children].forEach(update);
  if (focused >= length) list.lastChild?.firstChild.focus();
}

function button(name, ...spans) {
  const row = document.createElement("li");
  const control = document.createElement("button");
  control.type = "button";
  control.className = name;
  control.append(...spans.map((span) => Object.assign(document.createElement("span"), { className: span })));
  row.append(control);
  return row;
}

function fill(row, texts) {
  for (const [name, text] of Object.entries(texts)) row.querySelector(`.${name}`).textContent = text;
}

/** Draws the badge of an item: the end of its id, in a colour of its own. */
function mark(row, item) {
  const badge = row.querySelector(".mark");
  badge.textContent = [...item].slice(-2).join("");
  badge.ariaHidden = "true";
  badge.style.setProperty("--hue", hue(item));
}

/** Returns the hue of an item in degrees, always the same. */
function hue(item) {
  return [...item].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 997, 7) % 360;
}
