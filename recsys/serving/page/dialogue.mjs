/** The dialogue with the server's assistant, if it has one (`GET /ask`): messages, and items to pick. */

import { ask, post } from "./server.mjs";
import { element, say, showExamples, showTurn } from "./view.mjs";

const K = 5;

/** Shows the panel. `history()` is sent with every message; `pick(item)` is called when an item is pressed. */
export async function openDialogue(askKey, history, pick) {
  const { software, examples } = await (await ask("ask", {}, askKey)).json();
  let state = null;
  say("software", software);
  showExamples(examples, (text) => send(text));
  element("dialogue").hidden = false;
  document.querySelector("main").classList.add("talks");

  async function send(text) {
    showTurn("message", { say: text });
    element("words").value = "";
    try {
      const answer = await post("ask", { text, history: history(), customer: null, state, k: K }, askKey);
      state = answer.state;
      say("software", answer.software);
      showTurn("reply", answer, pick);
      say("trouble", "");
    } catch (error) {
      say("trouble", `No answer: ${error.message}`, true);
    }
    element("over").disabled = false;
  }

  element("ask").onsubmit = (event) => {
    event.preventDefault();
    send(element("words").value);
  };
  element("over").onclick = () => {
    state = null;
    element("turns").replaceChildren();
    say("trouble", "");
    element("over").disabled = true;
    element("words").focus();
  };
}

/** Enables or disables the form: no message may be sent while the history is to stay in this browser. */
export function allowDialogue(allowed) {
  element("ask").querySelector("fieldset").disabled = !allowed;
  say("trouble", allowed ? "" : "The dialogue needs the server; choose it above to continue.");
}
