/** Answers from one exported file wherever onnxruntime runs: a browser (onnxruntime-web), Node.js (onnxruntime-node). */

import { blankFeeds, feedsOf } from "./feeds.mjs";

const OUTPUTS = ["items", "scores", "known", "recognised"];

/** Asks one file, one question after the other. */
export class Engine {
  #ort;
  #session;
  #last = Promise.resolve();

  /**
   * @param ort the namespace of onnxruntime-web or onnxruntime-node
   * @param source the file's bytes, or where it lies
   * @param users whether a file with user ids may be opened: on a server of yours, never in a customer's browser
   */
  static async open(ort, source, { users = false } = {}) {
    const session = await ort.InferenceSession.create(source, { intraOpNumThreads: 1, interOpNumThreads: 1 });
    const manifest = await manifestOf(ort, session);
    if (!manifest.users || users) return new Engine(ort, session, manifest);
    await session.release();
    throw new Error("the file holds user ids, so it must not leave the server; export it with users=false");
  }

  constructor(ort, session, manifest) {
    this.#ort = ort;
    this.#session = session;
    /** What the file says of itself: inputs with their defaults, items, model, metrics. */
    this.manifest = manifest;
  }

  /**
   * The best items after a history, best first, as `POST /recommend` answers.
   *
   * @param question {history, user, context, k, exclude_seen, allow, deny}, all optional
   * @returns {items, scores, known, unknown}
   */
  async recommend(question = {}) {
    const feeds = feedsOf(this.#ort, this.manifest, question);
    const answer = this.#last.then(() => this.#session.run(feeds, OUTPUTS)); // a session runs one at a time
    this.#last = answer.catch(() => {});
    return decoded(await answer, feeds.history.data);
  }
}

/** The output `manifest`: not every runtime shows a file's metadata. */
async function manifestOf(ort, session) {
  if (!session.outputNames.includes("manifest")) {
    throw new Error("the file has no manifest: it was not written by `recsys export`");
  }
  const { manifest } = await session.run(blankFeeds(ort, session.inputMetadata), ["manifest"]);
  return JSON.parse(manifest.data[0]);
}

function decoded({ items, scores, known, recognised }, history) {
  const found = scores.data.filter((score) => score !== -Infinity).length; // -Infinity: nothing is left
  return {
    items: [...items.data.slice(0, found)],
    scores: [...scores.data.slice(0, found)],
    known: Number(known.data[0]),
    unknown: [...history].filter((item, place) => item !== "" && !recognised.data[place]),
  };
}
