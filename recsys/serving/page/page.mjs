/** The shop: what was picked, who answers, and what follows from a press. */

import { obstacle, openDevice } from "./device.mjs";
import { allowDialogue, openDialogue } from "./dialogue.mjs";
import { explain } from "./explain.mjs";
import { askKey } from "./key.mjs";
import { Server, ask, post } from "./server.mjs";
import { part, say, showAnswers, showHistory, showItems, showReasons, titles } from "./view.mjs";
import { Visit } from "./visit.mjs";

const SHELF = 48;
const PAST = "recsys.history";
const KEPT = 200;
const WHERE = {
  server: "Your history is sent to the server for every answer.",
  kept: "Your history is sent to the server for every answer, and it keeps this visit until you clear it.",
  away: "The server's store of visits is away: your whole history is sent for every answer.",
  loading: "Fetching the model. Your history stays in this browser.",
  device: "Your history stays in this browser: the model answers here.",
  nobody: "Your history stays in this browser. Choose who answers.",
};
const visit = new Visit(askKey);
const server = new Server(askKey, visit);
const state = { past: earlier(), now: [], items: [], unknown: [], manifest: undefined, engine: undefined, name: "", turn: 0 };
const picks = () => [...state.past, ...state.now];

async function start() {
  const json = async (path) => (await ask(path, {}, askKey)).json();
  state.manifest = await json("describe");
  state.items = (await json(`items?limit=${SHELF}`)).items;
  const { paths } = await json("openapi.json");
  visit.kept = "/events" in paths;
  state.catalogue = "/catalogue" in paths;
  const { model, n_items: count, exclude_seen: exclude } = state.manifest;
  say("about", `${count.toLocaleString()} items, ranked by ${model ?? "a model"}`);
  part("exclude").checked = exclude;
  part("size").max = Math.min(50, count);
  part("size").value = Math.min(10, count);
  choose("server");
  if ("/ask" in paths) openDialogue(askKey, () => picks().map((pick) => pick.item), pick).catch(() => {});
  const reason = await obstacle(state.manifest);
  say("reason", reason && `Not on this device: ${reason}`);
  radio("device").disabled = reason !== "";
}

/** Another engine answers from now on; none while it is being fetched. */
async function choose(name) {
  Object.assign(state, { name, engine: undefined, turn: state.turn + 1 });
  say("where", name === "device" ? WHERE.loading : WHERE[name]);
  part("where").dataset.place = name;
  allowDialogue(name === "server");
  if (name === "device") visit.forget().catch(() => {}); // from here on it knows nothing of this visit
  try {
    const engine = name === "device" ? await (state.device ??= openDevice(askKey)) : server;
    if (state.name !== name) return; // another one was chosen meanwhile
    state.engine = engine;
    say("where", WHERE[name]);
    await refresh();
  } catch (error) {
    state.device = undefined;
    say("reason", `Not on this device: ${error.message}`);
    if (state.name !== name) return;
    radio(name).checked = false; // nothing is sent elsewhere unasked
    say("where", WHERE.nobody);
  }
}

function question() {
  const columns = { timestamp: seconds(), history_timestamp: picks().map((pick) => pick.at) };
  const context = Object.fromEntries(Object.entries(columns).filter(([name]) => name in state.manifest.inputs));
  const [k, exclude_seen] = [part("size").valueAsNumber, part("exclude").checked];
  return { history: picks().map((pick) => pick.item), visited: state.now, context, k, exclude_seen };
}

/** Draws what was picked and asks for the list that follows from it. */
async function refresh() {
  const turn = ++state.turn;
  const isStale = () => turn !== state.turn;
  draw();
  if (state.engine === undefined || !part("size").reportValidity()) return;
  const [asked, began] = [question(), performance.now()];
  try {
    const answer = await state.engine.recommend(asked);
    if (isStale()) return; // asked again meanwhile
    state.unknown = answer.unknown;
    part("took").textContent = took(performance.now() - began);
    if (state.name === "server") say("where", whereabouts());
    show(answer);
    say("said", summary(answer));
    await name([...state.items, ...asked.history, ...answer.items]);
    if (!isStale()) show(answer);
    await justify(answer.items, asked, isStale);
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
  showHistory("past", past, state.unknown, (place) => drop(state.past, place));
  showHistory("session", now, state.unknown, (place) => drop(state.now, place));
  showItems(state.items, [...past, ...now], pick);
  part("none").hidden = picks().length > 0;
  part("clear").disabled = picks().length === 0;
}

/** Reasons for the list, once it is there. */
async function justify(items, asked, isStale) {
  say("why", "");
  if (asked.history.length === 0) return;
  try {
    const onDevice = state.name === "device";
    const reasons = await (onDevice ? explain(state.engine, items, asked, isStale) : server.explain(items, asked));
    if (!isStale() && reasons !== undefined) showReasons(reasons);
  } catch (error) {
    if (!isStale()) say("why", `No reasons: ${error.message}`);
  }
}

/** Titles of items that have none yet; asked for only while the server answers, for it learns what is on the list. */
async function name(items) {
  const unknown = [...new Set(items)].filter((item) => !titles.has(item));
  if (!state.catalogue || state.name !== "server" || unknown.length === 0) return;
  const found = await post("catalogue", { items: unknown }, askKey).catch(() => ({ items: {} }));
  for (const item of unknown) titles.set(item, String(found.items[item]?.title ?? item));
}

function whereabouts() {
  if (!visit.kept) return WHERE.server;
  return visit.available ? WHERE.kept : WHERE.away;
}

function summary({ items, known }) {
  if (items.length === 0) return "Nothing is left to recommend.";
  const after = known === 0 ? "for a newcomer" : `after ${known} known ${known === 1 ? "event" : "events"}`;
  return `${items.length} items ${after}, ${titles.get(items[0]) ?? items[0]} first.`;
}

function took(milliseconds) {
  const time = milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds);
  return `${time} ms ${state.name === "device" ? "on this device" : "from the server"}`;
}

function pick(item) {
  state.now.push({ item, at: seconds() });
  keep();
}

function drop(picked, place) {
  picked.splice(place, 1);
  if (picks().length === 0) part("id").focus();
  keep();
}

/** Writes down in this browser what was picked, so that it is the history of the next visit. */
function keep() {
  localStorage.setItem(PAST, JSON.stringify(picks().slice(-KEPT)));
  refresh();
}

function earlier() {
  try {
    return JSON.parse(localStorage.getItem(PAST)).map(({ item, at }) => ({ item: String(item), at: Number(at) }));
  } catch {
    return []; // nothing yet, or nothing of ours
  }
}

const seconds = () => Math.floor(Date.now() / 1000);
const radio = (name) => document.querySelector(`[name=engine][value=${name}]`);

part("clear").onclick = () => {
  Object.assign(state, { past: [], now: [] });
  visit.forget().catch(() => {});
  part("id").focus();
  keep();
};
part("add").onsubmit = (event) => {
  event.preventDefault();
  pick(part("id").value);
  part("id").value = "";
};
part("exclude").onchange = refresh;
part("size").onchange = refresh;
for (const name of ["server", "device"]) radio(name).onchange = () => choose(name);
start().catch((error) => say("said", `No answer: ${error.message}`, true));
