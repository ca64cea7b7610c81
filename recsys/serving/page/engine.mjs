/** Recommendations from an exported file, in a browser (onnxruntime-web) or in Node.js (onnxruntime-node). */

import { makeBlankFeeds, makeFeeds } from "./feeds.mjs";

const OUTPUTS = ["items", "scores", "known", "recognised"];

/** Runs one model file, one request at a time. */
export class Engine {
  #ort;
  #session;
  #last = Promise.resolve();

  /**
   * @param ort the namespace of onnxruntime-web or onnxruntime-node
   * @param source the file's bytes, or its path or address
   * @param users whether a file with user ids may be opened: on your own server, never in a customer's browser
   */
  static async open(ort, source, { users = false } = {}) {
    const session = await ort.InferenceSession.create(source, { intraOpNumThreads: 1, interOpNumThreads: 1 });
    const manifest = await readManifest(ort, session);
    if (!manifest.users || users) return new Engine(ort, session, manifest);
    await session.release();
    throw new Error("the file holds user ids, so it must not leave the server; export it with users=false");
  }

  constructor(ort, session, manifest) {
    this.#ort = ort;
    this.#session = session;
    /** The manifest of the file: inputs with their defaults, items, model, metrics. */
    this.manifest = manifest;
  }

  /**
   * Returns the best items after a history, best first, as `POST /recommend` does.
   *
   * @param request {history, user, context, k, exclude_seen, allow, deny}, all optional
   * @returns {items, scores, known, unknown}
   */
  async recommend(request = {}) {
    const feeds = makeFeeds(this.#ort, this.manifest, request);
    const outputs = this.#last.then(() => this.#session.run(feeds, OUTPUTS)); // a session runs one call at a time
    this.#last = outputs.catch(() => {});
    return decode(await outputs, feeds.history.data);
  }
}

/** Reads the manifest from an output: not every runtime gives access to a file's metadata. */
async function readManifest(ort, session) {
  if (!session.outputNames.includes("manifest")) {
    throw new Error("the file has no manifest: it was not written by `recsys export`");
  }
  const { manifest } = await session.run(makeBlankFeeds(ort, session.inputMetadata), ["manifest"]);
  return JSON.parse(manifest.data[0]);
}

function decode({ items, scores, known, recognised }, history) {
  const length = scores.data.filter((score) => score !== -Infinity).length; // -Infinity: no item
  return {
    items: [...items.data.slice(0, length)],
    scores: [...scores.data.slice(0, length)],
    known: Number(known.data[0]),
    unknown: [...history].filter((item, index) => item !== "" && !recognised.data[index]),
  };
}
