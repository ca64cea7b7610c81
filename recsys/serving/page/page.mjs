/** The shop: what was picked, who answers, and what follows from a press. */

import { obstacle, openDevice } from "./device.mjs";
import { askKey } from "./key.mjs";
import { Server, ask } from "./server.mjs";
import { part, say, showAnswers, showHistory, showItems } from "./view.mjs";

const SHELF = 48;
const WHERE = {
  server: "Your history is sent to the server for every answer.",
  loading: "Fetching the model. Your history stays in this browser.",
  device: "Your history stays in this browser: the model answers here.",
  nobody: "Your history stays in this browser. Choose who answers.",
};
const server = new Server(askKey);
const state = { picks: [], items: [], unknown: [], manifest: undefined, engine: undefined, name: "", turn: 0 };

async function start() {
  const json = async (path) => (await ask(path, {}, askKey)).json();
  state.manifest = await json("describe");
  state.items = (await json(`items?limit=${SHELF}`)).items;
  const { model, n_items: count, exclude_seen: exclude } = state.manifest;
  say("about", `${count.toLocaleString()} items, ranked by ${model ?? "a model"}`);
  part("exclude").checked = exclude;
  part("size").max = Math.min(50, count);
  part("size").value = Math.min(10, count);
  choose("server");
  const reason = await obstacle(state.manifest);
  say("reason", reason && `Not on this device: ${reason}`);
  radio("device").disabled = reason !== "";
}

/** Another engine answers from now on; none while it is being fetched. */
async function choose(name) {
  Object.assign(state, { name, engine: undefined, turn: state.turn + 1 });
  say("where", name === "device" ? WHERE.loading : WHERE[name]);
  part("where").dataset.place = name;
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
  const columns = { timestamp: seconds(), history_timestamp: state.picks.map((pick) => pick.at) };
  const context = Object.fromEntries(Object.entries(columns).filter(([name]) => name in state.manifest.inputs));
  const [k, exclude_seen] = [part("size").valueAsNumber, part("exclude").checked];
  return { history: state.picks.map((pick) => pick.item), context, k, exclude_seen };
}

/** Draws what was picked and asks for the list that follows from it. */
async function refresh() {
  const turn = ++state.turn;
  draw();
  if (state.engine === undefined || !part("size").reportValidity()) return;
  const began = performance.now();
  try {
    const answer = await state.engine.recommend(question());
    if (turn !== state.turn) return; // asked again meanwhile
    state.unknown = answer.unknown;
    part("took").textContent = took(performance.now() - began);
    draw();
    showAnswers(answer, pick);
    say("said", summary(answer));
  } catch (error) {
    if (turn === state.turn) say("said", `No answer: ${error.message}`, true);
  }
}

function draw() {
  const history = state.picks.map((pick) => pick.item);
  showHistory(history, state.unknown, drop);
  showItems(state.items, history, pick);
}

function summary({ items, known }) {
  if (items.length === 0) return "Nothing is left to recommend.";
  const after = known === 0 ? "for a newcomer" : `after ${known} known ${known === 1 ? "event" : "events"}`;
  return `${items.length} items ${after}, ${items[0]} first.`;
}

function took(milliseconds) {
  const time = milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds);
  return `${time} ms ${state.name === "device" ? "on this device" : "from the server"}`;
}

function pick(item) {
  state.picks.push({ item, at: seconds() });
  refresh();
}

function drop(place) {
  state.picks.splice(place, 1);
  if (state.picks.length === 0) part("id").focus();
  refresh();
}

const seconds = () => Math.floor(Date.now() / 1000);
const radio = (name) => document.querySelector(`[name=engine][value=${name}]`);

part("clear").onclick = () => {
  state.picks = [];
  part("id").focus();
  refresh();
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
