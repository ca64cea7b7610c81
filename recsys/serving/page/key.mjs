/** The dialog that asks for the server's key. */

import { element } from "./view.mjs";

/** Returns the key that was typed; raises if none was. `again`: the last key was refused. */
export function askKey(again) {
  const [door, title] = [element("door"), element("door-title")];
  title.textContent = again ? "That key was refused" : "This server asks for a key";
  door.showModal();
  return new Promise((resolve, reject) => {
    door.onclose = () => {
      const key = element("key").value;
      element("key").value = "";
      if (door.returnValue === "entered") resolve(key);
      else reject(new Error("the server needs a key; reload the page to enter one"));
    };
    door.returnValue = "";
    door.querySelector("form").onsubmit = (event) => {
      event.preventDefault();
      door.close("entered");
    };
    door.querySelector("[value=cancel]").onclick = () => door.close();
  });
}
