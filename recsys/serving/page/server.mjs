/** Requests to the server that this page came from, with its key if it needs one. */

const ROOT = new URL("../", import.meta.url);
const KEY = "recsys.key";

/** Returns the response to a request. Asks for a key if the server needs one; raises with the server's message. */
export async function ask(path, options = {}, askKey = undefined) {
  const key = sessionStorage.getItem(KEY);
  const headers = { ...options.headers, ...(key === null ? {} : { "X-API-Key": key }) };
  const response = await fetch(new URL(path, ROOT), { ...options, headers });
  if (response.ok) return response;
  if (response.status === 401 && askKey !== undefined) {
    sessionStorage.setItem(KEY, await askKey(key !== null));
    return ask(path, options, askKey);
  }
  throw Object.assign(new Error(await readReason(response)), { status: response.status });
}

/** Posts a JSON body and returns the JSON of the response. */
export async function post(path, body, askKey) {
  const headers = { "Content-Type": "application/json" };
  return (await ask(path, { method: "POST", headers, body: JSON.stringify(body) }, askKey)).json();
}

/** Recommends with `POST /recommend`. Sends the history, except events of the `visit` that the server has already. */
export class Server {
  #askKey;
  #visit;

  constructor(askKey, visit) {
    this.#askKey = askKey;
    this.#visit = visit;
  }

  async recommend(request) {
    return (await this.#visit.recommend(request)) ?? post("recommend", withoutVisit(request), this.#askKey);
  }

  /** Returns why these items are recommended: [{item, because, drop}]. */
  async explain(items, request) {
    const { history, context } = withoutVisit(request);
    return post("explain", { items, history, context }, this.#askKey);
  }
}

/** Returns a request without `visited`, the events of this visit, which only the page uses. */
export function withoutVisit({ visited, ...request }) {
  return request;
}

async function readReason(response) {
  const body = await response.json().catch(() => ({}));
  return typeof body.detail === "string" ? body.detail : `the server answered ${response.status}`;
}
