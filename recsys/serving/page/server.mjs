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
  throw new Error(await reasonOf(response));
}

/** Answers by `POST /recommend`: the history is sent. */
export class Server {
  #askKey;

  constructor(askKey) {
    this.#askKey = askKey;
  }

  async recommend(question) {
    const headers = { "Content-Type": "application/json" };
    const body = JSON.stringify(question);
    return (await ask("recommend", { method: "POST", headers, body }, this.#askKey)).json();
  }
}

async function reasonOf(response) {
  const body = await response.json().catch(() => ({}));
  return typeof body.detail === "string" ? body.detail : `the server answered ${response.status}`;
}
