/** What stands on the page. Raw ids are other people's text: they only ever become `textContent`. */

const number = new Intl.NumberFormat(undefined, { minimumSignificantDigits: 4, maximumSignificantDigits: 4 });

/** The one element with this id. */
export const part = (id) => document.getElementById(id);

/** Titles of items, where the server has told them. */
export const titles = new Map();

const nameOf = (item) => titles.get(item) ?? item;

/** Tiles of items, each with how often it was picked; `act(item)` when one is pressed. */
export function showItems(items, picked, act) {
  fit(part("items"), items.length, () => button("tile", "mark", "name", "times"), (row, place) => {
    const times = picked.filter((item) => item === items[place]).length;
    fill(row, { name: nameOf(items[place]), times: times > 0 ? `× ${times}` : "" });
    mark(row, items[place]);
    row.firstChild.title = `Add ${nameOf(items[place])} to your history`;
    row.firstChild.onclick = () => act(items[place]);
  });
}

/** A part of the history as chips, oldest first; `act(place)` when one is pressed. */
export function showHistory(id, history, unknown, act) {
  fit(part(id), history.length, () => button("chip", "name", "cross"), (row, place) => {
    const strange = unknown.includes(history[place]);
    const name = nameOf(history[place]);
    fill(row, { name, cross: "×" });
    row.firstChild.classList.toggle("strange", strange);
    row.firstChild.title = strange ? "The model does not know this item" : "";
    row.firstChild.setAttribute("aria-label", `Remove ${name}${strange ? ", unknown to the model" : ""}`);
    row.firstChild.onclick = () => act(place);
  });
  part(id).parentElement.hidden = history.length === 0;
}

/** The ranked list with its scores as bars, which start at 0, or at the lowest score below it. */
export function showAnswers({ items, scores }, act) {
  const low = Math.min(0, ...scores);
  const span = Math.max(...scores) - low || 1;
  fit(part("answers"), items.length, () => button("answer", "mark", "name", "score", "bar", "because"), (row, place) => {
    fill(row, { name: nameOf(items[place]), score: number.format(scores[place]), because: "" });
    mark(row, items[place]);
    row.firstChild.title = `Add ${nameOf(items[place])} to your history`;
    row.firstChild.style.setProperty("--share", (scores[place] - low) / span);
    row.firstChild.onclick = () => act(items[place]);
  });
}

/** Under each item of the ranked list what it rests on, where one thing is enough. */
export function showReasons(reasons) {
  const rows = [...part("answers").children];
  reasons.forEach(({ item, because }, place) => fill(rows[place], { because: because === null ? "" : sentence(item, because) }));
}

const sentence = (item, because) =>
  because === item ? "because you picked it before" : `because you picked ${nameOf(because)}`;

/** Questions to begin with; `act(text)` when one is pressed. */
export function showExamples(examples, act) {
  fit(part("examples"), examples.length, () => button("chip", "name"), (row, place) => {
    fill(row, { name: examples[place] });
    row.firstChild.onclick = () => act(examples[place]);
  });
}

/** One thing said in the dialogue, `kind` asked or told, and the items that come with it. */
export function showTurn(kind, { say, items = [] }, act) {
  const turn = Object.assign(document.createElement("li"), { className: kind });
  turn.append(Object.assign(document.createElement("p"), { textContent: say }));
  const list = document.createElement("ul");
  fit(list, items.length, () => button("answer", "mark", "name", "score", "because"), (row, place) => {
    const { item, title, because, columns } = items[place];
    fill(row, { name: title ?? nameOf(item), score: "", because: because ?? detail(columns) });
    mark(row, item);
    row.firstChild.title = `Add ${title ?? item} to your history`;
    row.firstChild.onclick = () => act(item);
  });
  if (items.length > 0) turn.append(list);
  part("turns").append(turn);
  const from = kind === "told" ? turn.previousSibling : turn; // the question stays in sight
  part("turns").scrollTop = from.offsetTop - part("turns").offsetTop;
}

/** Columns of a product as one line: texts as they are, numbers and what is true by their name. */
const detail = (columns) => Object.entries(columns ?? {})
  .filter(([, value]) => value !== null && value !== false)
  .map(([name, value]) => {
    const word = name.replaceAll("_", " ");
    if (value === true) return word;
    return typeof value === "number" ? `${word} ${value}` : [value].flat().join(", ");
  })
  .join(" · ");

/** A sentence, where there is one. */
export function say(id, text, isError = false) {
  if (part(id).textContent !== text) part(id).textContent = text; // said aloud once
  part(id).hidden = text === "";
  part(id).classList.toggle("error", isError);
}

/** Gives a list as many rows as wanted and updates them in place, so that the keyboard's focus stays where it is. */
function fit(list, length, make, update) {
  const focused = [...list.children].findIndex((row) => row.contains(document.activeElement));
  while (list.children.length > length) list.lastChild.remove();
  while (list.children.length < length) list.append(make());
  [...list.children].forEach(update);
  if (focused >= length) list.lastChild?.firstChild.focus();
}

function button(name, ...spans) {
  const row = document.createElement("li");
  const pressed = document.createElement("button");
  pressed.type = "button";
  pressed.className = name;
  pressed.append(...spans.map((span) => Object.assign(document.createElement("span"), { className: span })));
  row.append(pressed);
  return row;
}

function fill(row, texts) {
  for (const [name, text] of Object.entries(texts)) row.querySelector(`.${name}`).textContent = text;
}

/** The sign of an item, by which the eye finds it again: the end of its id in its own colour. */
function mark(row, item) {
  const sign = row.querySelector(".mark");
  sign.textContent = [...item].slice(-2).join("");
  sign.ariaHidden = "true";
  sign.style.setProperty("--hue", hue(item));
}

/** A colour that an item always has, in degrees. */
function hue(item) {
  return [...item].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 997, 7) % 360;
}
