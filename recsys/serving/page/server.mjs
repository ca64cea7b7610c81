/** The app that this page came from: what it is asked, and the key that it may want. */

const ROOT = new URL("../", import.meta.url);
const KEY = "recsys.key";

/** The response to a request; asks for a key once the server wants one, and raises with the server's own words. */
export async function ask(path, options = {}, askKey = undefined) {
  const key = sessionStorage.getItem(KEY);
  const headers = { ...options.headers, ...(key === null ? {} : { "X-API-Key": key }) };
  const response = await fetch(new URL(path, ROOT), { ...options, headers });
  if (response.ok) return response;
  if (response.status === 401 && askKey !== undefined) {
    sessionStorage.setItem(KEY, await askKey(key !== null));
    return ask(path, options, askKey);
  }
  throw Object.assign(new Error(await reasonOf(response)), { status: response.status });
}

/** What a request with a JSON body is answered. */
export async function post(path, body, askKey) {
  const headers = { "Content-Type": "application/json" };
  return (await ask(path, { method: "POST", headers, body: JSON.stringify(body) }, askKey)).json();
}

/** Answers by `POST /recommend`: the history is sent, but for what a `visit` has told the server already. */
export class Server {
  #askKey;
  #visit;

  constructor(askKey, visit) {
    this.#askKey = askKey;
    this.#visit = visit;
  }

  async recommend(question) {
    return (await this.#visit.recommend(question)) ?? post("recommend", whole(question), this.#askKey);
  }

  /** Why these items follow from the question: [{item, because, drop}]. */
  async explain(items, question) {
    const { history, context } = whole(question);
    return post("explain", { items, history, context }, this.#askKey);
  }
}

/** A question without what only the page knows: how much of its history belongs to this visit. */
export function whole({ visited, ...question }) {
  return question;
}

async function reasonOf(response) {
  const body = await response.json().catch(() => ({}));
  return typeof body.detail === "string" ? body.detail : `the server answered ${response.status}`;
}
