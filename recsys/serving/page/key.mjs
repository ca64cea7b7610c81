/** The question for a key, in a dialog. */

import { part } from "./view.mjs";

/** The key that was typed; raises where none is given. `again`: the last one was refused. */
export function askKey(again) {
  const [door, title] = [part("door"), part("door-title")];
  title.textContent = again ? "That key was refused" : "This server asks for a key";
  door.showModal();
  return new Promise((resolve, reject) => {
    door.onclose = () => {
      const key = part("key").value;
      part("key").value = "";
      if (door.returnValue === "given") resolve(key);
      else reject(new Error("the server wants a key; reload the page to give one"));
    };
    door.returnValue = "";
    door.querySelector("form").onsubmit = (event) => {
      event.preventDefault();
      door.close("given");
    };
    door.querySelector("[value=cancel]").onclick = () => door.close();
  });
}
