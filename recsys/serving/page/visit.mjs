/** This visit as a session on the server, if it has a session store (`POST /events`), under a random name. */

import { ask, post } from "./server.mjs";

export class Visit {
  #askKey;
  #name = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  #sent = [];
  /** Whether the server has a session store, and whether it held this whole visit at the last response. */
  hasStore = false;
  available = true;

  constructor(askKey) {
    this.#askKey = askKey;
  }

  /**
   * Sends only the new events of this visit and returns the list. Returns undefined if there is no store or it does
   * not hold the whole visit: then the request has to be sent with the whole history.
   */
  async recommend({ visited, history, context, ...request }) {
    if (!this.hasStore) return undefined;
    const before = history.length - visited.length;
    const earlier = Object.entries(context).map(([name, cells]) => [name, Array.isArray(cells) ? cells.slice(0, before) : cells]);
    const earlierOnly = { history: history.slice(0, before), context: Object.fromEntries(earlier), customer: this.#name };
    try {
      await this.#send(visited);
      const answer = await post("recommend", { ...request, ...earlierOnly }, this.#askKey);
      this.available = answer.about.session === visited.length;
      if (this.available) return answer;
    } catch (error) {
      if (error.status !== 503) throw error;
      this.available = false;
    }
    this.#sent = undefined; // unknown what the store holds: send everything next time
    return undefined;
  }

  /** Deletes this visit on the server, if any of it was sent. */
  async forget() {
    if (!this.hasStore || this.#sent?.length === 0) return;
    await ask(`events/${this.#name}`, { method: "DELETE" }, this.#askKey);
    this.#sent = [];
  }

  async #send(visited) {
    const sent = this.#sent ?? [];
    const isPrefix = this.#sent !== undefined && sent.every((pick, index) => pick === visited[index]);
    if (!isPrefix) {
      this.#sent ??= [undefined]; // so that forget() sends the request in any case
      await this.forget();
    }
    const events = visited.slice(this.#sent.length).map(({ item, at }) => ({ item, timestamp: at }));
    if (events.length > 0) await post("events", { customer: this.#name, events }, this.#askKey);
    this.#sent = [...visited];
  }
}
