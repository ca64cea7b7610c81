/** From a question in the words of the HTTP server to the tensors that an exported file takes, one user at a time. */

const ARRAYS = { int64: BigInt64Array, double: Float64Array };
const TENSORS = { int64: "int64", double: "float64", string: "string" };

/** A question that cannot be asked: says which part of it, its value and what would do. */
export class QuestionError extends Error {}

/**
 * The tensors of one question; what it leaves out takes the defaults of the manifest, as `Recommender` does in Python.
 *
 * @param ort the namespace of onnxruntime-web or onnxruntime-node
 * @param manifest what the file says of itself
 * @param question {history, user, context, k, exclude_seen, allow, deny}, all optional
 */
export function feedsOf(ort, manifest, { history = [], user, context, k = 10, exclude_seen, allow, deny }) {
  const events = ids("history", history);
  const denied = ids("deny", deny ?? []);
  const allowed = allowedOf(allow);
  const feeds = {
    history: new ort.Tensor("string", events, [1, events.length]),
    k: new ort.Tensor("int64", BigInt64Array.of(BigInt(size(k, manifest.n_items))), [1]),
    exclude_seen: new ort.Tensor("bool", Uint8Array.of(flag(exclude_seen ?? manifest.exclude_seen)), [1]),
    deny: new ort.Tensor("string", denied, [1, denied.length]),
    allow: new ort.Tensor("string", allowed, [allowed.length]),
  };
  const columns = Object.entries(manifest.inputs).filter(([, input]) => "of" in input);
  const given = givenColumns(new Set(columns.map(([name]) => name)), user, context);
  for (const [name, column] of columns) feeds[name] = tensor(ort, name, column, given, events.length);
  return feeds;
}

/** Tensors without content, for a run that only reads what the file says of itself. */
export function blankFeeds(ort, inputMetadata) {
  const dims = ({ shape }) => shape.map((size) => (typeof size === "number" ? size : Number(size === "batch")));
  return Object.fromEntries(inputMetadata.map((input) => [input.name, blank(ort, input.type, dims(input))]));
}

function blank(ort, type, dims) {
  const length = dims.reduce((product, size) => product * size, 1);
  const arrays = { int64: BigInt64Array, float64: Float64Array, bool: Uint8Array };
  return new ort.Tensor(type, type === "string" ? Array(length).fill("") : new arrays[type](length), dims);
}

function tensor(ort, name, { type, of, shape, default: standard }, given, length) {
  const width = typeof shape.at(-1) === "number" ? shape.at(-1) : 1;
  const cells = of === "event" ? aligned(name, given[name], length) : [given[name]];
  const fallback = type === "int64" ? given.timestamp : standard;
  const values = cells.flatMap((cell) => READ[type](name, cell ?? fallback, width));
  const dims = shape.map((size) => ({ batch: 1, length })[size] ?? size);
  return new ort.Tensor(TENSORS[type], type === "string" ? values : ARRAYS[type].from(values), dims);
}

/** The columns that a question names, and its time. */
function givenColumns(names, user, context) {
  const { id, ...person } = user !== null && typeof user === "object" ? user : { id: user };
  if (id != null) person.user = id;
  if (person.user != null && !names.has("user")) {
    throw new QuestionError("the file holds no user ids (users=false when it was exported); leave out the user's id");
  }
  const given = { ...person, ...context };
  const unknown = Object.keys(given).find((name) => !names.has(name));
  if (unknown !== undefined) {
    throw new QuestionError(`'${unknown}' is no input of the file; it takes: ${[...names].join(", ") || "none"}`);
  }
  return { ...given, timestamp: given.timestamp ?? Date.now() / 1000 };
}

function ids(name, values) {
  if (!Array.isArray(values)) throw new QuestionError(`${name} is no list of raw ids`);
  const wrong = values.find((value) => typeof value !== "string" && !isWhole(value));
  if (wrong !== undefined) throw new QuestionError(`${name} holds ${wrong}; raw ids are text or whole numbers`);
  return values.map(String);
}

function allowedOf(allow) {
  if (allow == null) return [];
  if (allow.length === 0) throw new QuestionError("allow is empty, so nothing could be recommended; leave it out");
  return ids("allow", allow);
}

function size(k, items) {
  if (!Number.isInteger(k) || k < 1) throw new QuestionError(`k=${k} is no whole number from 1`);
  return Math.min(k, items);
}

function flag(value) {
  if (typeof value !== "boolean") throw new QuestionError(`exclude_seen=${value} is neither true nor false`);
  return Number(value);
}

function aligned(name, values, length) {
  if (values == null) return Array(length).fill(null);
  if (Array.isArray(values) && values.length === length) return values;
  throw new QuestionError(`${name} must be a list as long as the history, ${length}`);
}

const isWhole = (value) => typeof value === "bigint" || Number.isInteger(value);

/** How the value of a cell is read, by the type of its column; the spelling of true and false is Python's. */
const READ = {
  int64: (name, value) => {
    if (!(Math.abs(value) < 2 ** 53)) throw new QuestionError(`${name} holds ${value}; give seconds since 1970`);
    return BigInt(Math.floor(value));
  },
  double: (name, value) => {
    if (value !== null && typeof value !== "number") throw new QuestionError(`${name} holds ${value}; give a number`);
    return value ?? NaN;
  },
  string: (name, value, width) => {
    const texts = (width > 1 ? [value].flat().slice(0, width) : [value]).map((part) => text(name, part));
    return texts.concat(Array(width - texts.length).fill(""));
  },
};

function text(name, value) {
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value !== "string" && !isWhole(value)) throw new QuestionError(`${name} holds ${value}; give it as text`);
  return String(value);
}
