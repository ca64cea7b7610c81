/** This visit as the server keeps it, where it has a store for sessions (`POST /events`); a name drawn at random. */

import { ask, post } from "./server.mjs";

export class Visit {
  #askKey;
  #name = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  #told = [];
  /** Whether the server has a store; whether it had all of this visit at the last answer. */
  kept = false;
  available = true;

  constructor(askKey) {
    this.#askKey = askKey;
  }

  /**
   * The answer to a question of whose history the server is only told what is new of this visit; undefined where
   * there is no store, or it does not have the whole visit: then the question has to be asked as a whole.
   */
  async recommend({ visited, history, context, ...question }) {
    if (!this.kept) return undefined;
    const before = history.length - visited.length;
    const earlier = Object.entries(context).map(([name, cells]) => [name, Array.isArray(cells) ? cells.slice(0, before) : cells]);
    const own = { history: history.slice(0, before), context: Object.fromEntries(earlier), customer: this.#name };
    try {
      await this.#tell(visited);
      const answer = await post("recommend", { ...question, ...own }, this.#askKey);
      this.available = answer.about.session === visited.length;
      if (this.available) return answer;
    } catch (error) {
      if (error.status !== 503) throw error;
      this.available = false;
    }
    this.#told = undefined; // what it has is unknown: all is told again next time
    return undefined;
  }

  /** Tells the server to forget this visit, if it was told of it. */
  async forget() {
    if (!this.kept || this.#told?.length === 0) return;
    await ask(`events/${this.#name}`, { method: "DELETE" }, this.#askKey);
    this.#told = [];
  }

  async #tell(visited) {
    const known = this.#told ?? [];
    const grown = this.#told !== undefined && known.every((pick, place) => pick === visited[place]);
    if (!grown) {
      this.#told ??= [undefined]; // so that it is forgotten for certain
      await this.forget();
    }
    const events = visited.slice(this.#told.length).map(({ item, at }) => ({ item, timestamp: at }));
    if (events.length > 0) await post("events", { customer: this.#name, events }, this.#askKey);
    this.#told = [...visited];
  }
}
