/** Converts a request, as the HTTP server takes it, to the tensors that an exported file takes, for one user. */

const ARRAYS = { int64: BigInt64Array, double: Float64Array };
const TENSORS = { int64: "int64", double: "float64", string: "string" };

/** A request that cannot be used; the message gives the field, its value and the remedy. */
export class RequestError extends Error {}

/**
 * Returns the tensors of one request; fields left out take the defaults of the manifest, as in Python's `Recommender`.
 *
 * @param ort the namespace of onnxruntime-web or onnxruntime-node
 * @param manifest the manifest of the file
 * @param request {history, user, context, k, exclude_seen, allow, deny}, all optional
 */
export function makeFeeds(ort, manifest, { history = [], user, context, k = 10, exclude_seen, allow, deny }) {
  const events = readIds("history", history);
  const denied = readIds("deny", deny ?? []);
  const allowed = checkAllow(allow);
  const feeds = {
    history: new ort.Tensor("string", events, [1, events.length]),
    k: new ort.Tensor("int64", BigInt64Array.of(BigInt(checkK(k, manifest.n_items))), [1]),
    exclude_seen: new ort.Tensor("bool", Uint8Array.of(checkFlag(exclude_seen ?? manifest.exclude_seen)), [1]),
    deny: new ort.Tensor("string", denied, [1, denied.length]),
    allow: new ort.Tensor("string", allowed, [allowed.length]),
  };
  const columns = Object.entries(manifest.inputs).filter(([, input]) => "of" in input);
  const values = collectValues(new Set(columns.map(([name]) => name)), user, context);
  for (const [name, column] of columns) feeds[name] = makeTensor(ort, name, column, values, events.length);
  return feeds;
}

/** Returns tensors without content, for a run that only reads the manifest. */
export function makeBlankFeeds(ort, inputMetadata) {
  const dims = ({ shape }) => shape.map((size) => (typeof size === "number" ? size : Number(size === "batch")));
  return Object.fromEntries(inputMetadata.map((input) => [input.name, makeBlank(ort, input.type, dims(input))]));
}

function makeBlank(ort, type, dims) {
  const length = dims.reduce((product, size) => product * size, 1);
  const arrays = { int64: BigInt64Array, float64: Float64Array, bool: Uint8Array };
  return new ort.Tensor(type, type === "string" ? Array(length).fill("") : new arrays[type](length), dims);
}

function makeTensor(ort, name, { type, of, shape, default: standard }, requestValues, length) {
  const width = typeof shape.at(-1) === "number" ? shape.at(-1) : 1;
  const cells = of === "event" ? checkPerEvent(name, requestValues[name], length) : [requestValues[name]];
  const fallback = type === "int64" ? requestValues.timestamp : standard;
  const values = cells.flatMap((cell) => CELL_READERS[type](name, cell ?? fallback, width));
  const dims = shape.map((size) => ({ batch: 1, length })[size] ?? size);
  return new ort.Tensor(TENSORS[type], type === "string" ? values : ARRAYS[type].from(values), dims);
}

/** Returns the values that a request gives, by name of the input; `timestamp` is now unless given. */
function collectValues(names, user, context) {
  const { id, ...userValues } = user !== null && typeof user === "object" ? user : { id: user };
  if (id != null) userValues.user = id;
  if (userValues.user != null && !names.has("user")) {
    throw new RequestError("the file holds no user ids (users=false when it was exported); leave out the user's id");
  }
  const values = { ...userValues, ...context };
  const unknown = Object.keys(values).find((name) => !names.has(name));
  if (unknown !== undefined) {
    throw new RequestError(`'${unknown}' is not an input of the file; it takes: ${[...names].join(", ") || "none"}`);
  }
  return { ...values, timestamp: values.timestamp ?? Date.now() / 1000 };
}

function readIds(name, values) {
  if (!Array.isArray(values)) throw new RequestError(`${name} is not a list of raw ids`);
  const wrong = values.find((value) => typeof value !== "string" && !isInteger(value));
  if (wrong !== undefined) throw new RequestError(`${name} holds ${wrong}; raw ids are text or whole numbers`);
  return values.map(String);
}

function checkAllow(allow) {
  if (allow == null) return [];
  if (allow.length === 0) throw new RequestError("allow is empty, so nothing could be recommended; leave it out");
  return readIds("allow", allow);
}

function checkK(k, items) {
  if (!Number.isInteger(k) || k < 1) throw new RequestError(`k=${k} is invalid: expected a whole number ≥ 1`);
  return Math.min(k, items);
}

function checkFlag(value) {
  if (typeof value !== "boolean") throw new RequestError(`exclude_seen=${value} is invalid: expected true or false`);
  return Number(value);
}

function checkPerEvent(name, values, length) {
  if (values == null) return Array(length).fill(null);
  if (Array.isArray(values) && values.length === length) return values;
  throw new RequestError(`${name} must be a list as long as the history (${length})`);
}

const isInteger = (value) => typeof value === "bigint" || Number.isInteger(value);

/** Readers of cells, by the type of the column; true and false become text as in Python. */
const CELL_READERS = {
  int64: (name, value) => {
    if (!(Math.abs(value) < 2 ** 53)) throw new RequestError(`${name} holds ${value}; give seconds since 1970`);
    return BigInt(Math.floor(value));
  },
  double: (name, value) => {
    if (value !== null && typeof value !== "number") throw new RequestError(`${name} holds ${value}; give a number`);
    return value ?? NaN;
  },
  string: (name, value, width) => {
    const texts = (width > 1 ? [value].flat().slice(0, width) : [value]).map((element) => readText(name, element));
    return texts.concat(Array(width - texts.length).fill(""));
  },
};

function readText(name, value) {
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value !== "string" && !isInteger(value)) throw new RequestError(`${name} holds ${value}; give it as text`);
  return String(value);
}
