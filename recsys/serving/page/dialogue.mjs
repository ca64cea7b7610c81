/** The dialogue with the server's assistant, where it has one (`GET /ask`): what is said, and items to pick. */

import { ask, post } from "./server.mjs";
import { part, say, showExamples, showTurn } from "./view.mjs";

const K = 5;

/** Shows the panel; `history()` is sent with every question, `pick(item)` when an item of an answer is pressed. */
export async function openDialogue(askKey, history, pick) {
  const { software, examples } = await (await ask("ask", {}, askKey)).json();
  let state = null;
  say("software", software);
  showExamples(examples, (text) => put(text));
  part("dialogue").hidden = false;
  document.querySelector("main").classList.add("talks");

  async function put(text) {
    showTurn("asked", { say: text });
    part("words").value = "";
    try {
      const answer = await post("ask", { text, history: history(), customer: null, state, k: K }, askKey);
      state = answer.state;
      say("software", answer.software);
      showTurn("told", answer, pick);
      say("trouble", "");
    } catch (error) {
      say("trouble", `No answer: ${error.message}`, true);
    }
    part("over").disabled = false;
  }

  part("ask").onsubmit = (event) => {
    event.preventDefault();
    put(part("words").value);
  };
  part("over").onclick = () => {
    state = null;
    part("turns").replaceChildren();
    say("trouble", "");
    part("over").disabled = true;
    part("words").focus();
  };
}

/** Whether anything may be asked: not while nothing is to leave this browser. */
export function allowDialogue(allowed) {
  part("ask").querySelector("fieldset").disabled = !allowed;
  say("trouble", allowed ? "" : "The server answers here; choose it above to go on.");
}
