/** The page: the history, the engine that computes the list, and what each button does. */

import { obstacle, openDevice } from "./device.mjs";
import { allowDialogue, openDialogue } from "./dialogue.mjs";
import { explain } from "./explain.mjs";
import { askKey } from "./key.mjs";
import { Server, ask, post } from "./server.mjs";
import { element, say, showAnswers, showHistory, showItems, showReasons, titles } from "./view.mjs";
import { Visit } from "./visit.mjs";

const SHELF = 48;
const STORAGE_KEY = "recsys.history";
const MAX_STORED = 200;
const WHERE = {
  server: "Your history is sent to the server for every list.",
  session: "Your history is sent to the server for every list. The server keeps this visit until you clear it.",
  away: "The server's session store is unavailable: your whole history is sent for every list.",
  loading: "Downloading the model. Your history stays in this browser.",
  device: "Your history stays in this browser: the model runs here.",
  none: "Your history stays in this browser. Choose where the list is computed.",
};
const visit = new Visit(askKey);
const server = new Server(askKey, visit);
const state = { past: loadHistory(), now: [], items: [], unknown: [], manifest: undefined, engine: undefined, name: "", turn: 0 };
const picks = () => [...state.past, ...state.now];

async function start() {
  const json = async (path) => (await ask(path, {}, askKey)).json();
  state.manifest = await json("describe");
  state.items = (await json(`items?limit=${SHELF}`)).items;
  const { paths } = await json("openapi.json");
  visit.hasStore = "/events" in paths;
  state.catalogue = "/catalogue" in paths;
  const { model, n_items: count, exclude_seen: exclude } = state.manifest;
  say("about", `${count.toLocaleString()} items, ranked by ${model ?? "a model"}`);
  element("exclude").checked = exclude;
  element("size").max = Math.min(50, count);
  element("size").value = Math.min(10, count);
  choose("server");
  if ("/ask" in paths) openDialogue(askKey, () => picks().map((pick) => pick.item), pick).catch(() => {});
  const reason = await obstacle(state.manifest);
  say("reason", reason && `Not on this device: ${reason}`);
  radio("device").disabled = reason !== "";
}

/** Switches to another engine; there is none while the model is downloaded. */
async function choose(name) {
  Object.assign(state, { name, engine: undefined, turn: state.turn + 1 });
  say("where", name === "device" ? WHERE.loading : WHERE[name]);
  element("where").dataset.engine = name;
  allowDialogue(name === "server");
  if (name === "device") visit.forget().catch(() => {}); // the server knows nothing of what follows
  try {
    const engine = name === "device" ? await (state.device ??= openDevice(askKey)) : server;
    if (state.name !== name) return; // the user chose another engine meanwhile
    state.engine = engine;
    say("where", WHERE[name]);
    await refresh();
  } catch (error) {
    state.device = undefined;
    say("reason", `Not on this device: ${error.message}`);
    if (state.name !== name) return;
    radio(name).checked = false; // the history is not sent anywhere without being asked
    say("where", WHERE.none);
  }
}

function makeRequest() {
  const columns = { timestamp: seconds(), history_timestamp: picks().map((pick) => pick.at) };
  const context = Object.fromEntries(Object.entries(columns).filter(([name]) => name in state.manifest.inputs));
  const [k, exclude_seen] = [element("size").valueAsNumber, element("exclude").checked];
  return { history: picks().map((pick) => pick.item), visited: state.now, context, k, exclude_seen };
}

/** Draws the history and gets the list for it. */
async function refresh() {
  const turn = ++state.turn;
  const isStale = () => turn !== state.turn;
  draw();
  if (state.engine === undefined || !element("size").reportValidity()) return;
  const [request, startTime] = [makeRequest(), performance.now()];
  try {
    const answer = await state.engine.recommend(request);
    if (isStale()) return; // a newer request was sent meanwhile
    state.unknown = answer.unknown;
    element("took").textContent = describeTime(performance.now() - startTime);
    if (state.name === "server") say("where", describeServer());
    show(answer);
    say("said", summarise(answer));
    await loadTitles([...state.items, ...request.history, ...answer.items]);
    if (!isStale()) show(answer);
    await loadReasons(answer.items, request, isStale);
  } catch (error) {
    if (!isStale()) say("said", `No answer: ${error.message}`, true);
  }
}

function show(answer) {
  draw();
  showAnswers(answer, pick);
}

function draw() {
  const [past, now] = [state.past, state.now].map((picked) => picked.map((pick) => pick.item));
  showHistory("past", past, state.unknown, (index) => remove(state.past, index));
  showHistory("session", now, state.unknown, (index) => remove(state.now, index));
  showItems(state.items, [...past, ...now], pick);
  element("none").hidden = picks().length > 0;
  element("clear").disabled = picks().length === 0;
}

/** Shows the reasons for a list that is on the page already. */
async function loadReasons(items, request, isStale) {
  say("why", "");
  if (request.history.length === 0) return;
  try {
    const onDevice = state.name === "device";
    const reasons = await (onDevice ? explain(state.engine, items, request, isStale) : server.explain(items, request));
    if (!isStale() && reasons !== undefined) showReasons(reasons);
  } catch (error) {
    if (!isStale()) say("why", `No reasons: ${error.message}`);
  }
}

/** Loads missing titles of items; only while the server computes the list, because it learns which items are on it. */
async function loadTitles(items) {
  const untitled = [...new Set(items)].filter((item) => !titles.has(item));
  if (!state.catalogue || state.name !== "server" || untitled.length === 0) return;
  const catalogue = await post("catalogue", { items: untitled }, askKey).catch(() => ({ items: {} }));
  for (const item of untitled) titles.set(item, String(catalogue.items[item]?.title ?? item));
}

function describeServer() {
  if (!visit.hasStore) return WHERE.server;
  return visit.available ? WHERE.session : WHERE.away;
}

function summarise({ items, known }) {
  if (items.length === 0) return "No items are left to recommend.";
  const after = known === 0 ? "for a newcomer" : `after ${known} known ${known === 1 ? "event" : "events"}`;
  return `${items.length} items ${after}, ${titles.get(items[0]) ?? items[0]} first.`;
}

function describeTime(milliseconds) {
  const time = milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds);
  return `${time} ms ${state.name === "device" ? "on this device" : "from the server"}`;
}

function pick(item) {
  state.now.push({ item, at: seconds() });
  store();
}

function remove(picked, index) {
  picked.splice(index, 1);
  if (picks().length === 0) element("id").focus();
  store();
}

/** Stores the history in this browser for the next visit. */
function store() {
  localStorage.setItem(STORAGE_KEY, JSON.stringify(picks().slice(-MAX_STORED)));
  refresh();
}

function loadHistory() {
  try {
    return JSON.parse(localStorage.getItem(STORAGE_KEY)).map(({ item, at }) => ({ item: String(item), at: Number(at) }));
  } catch {
    return []; // empty, or not written by this page
  }
}

const seconds = () => Math.floor(Date.now() / 1000);
const radio = (name) => document.querySelector(`[name=engine][value=${name}]`);

element("clear").onclick = () => {
  Object.assign(state, { past: [], now: [] });
  visit.forget().catch(() => {});
  element("id").focus();
  store();
};
element("add").onsubmit = (event) => {
  event.preventDefault();
  pick(element("id").value);
  element("id").value = "";
};
element("exclude").onchange = refresh;
element("size").onchange = refresh;
for (const name of ["server", "device"]) radio(name).onchange = () => choose(name);
start().catch((error) => say("said", `No answer: ${error.message}`, true));
