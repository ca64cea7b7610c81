// node docs/node/recommend.mjs model.onnx '["1029743", "1106523"]'
// node docs/node/recommend.mjs model.onnx < questions.jsonl
// A question is a history, or what POST /recommend takes: {"history": [...], "k": 5, "exclude_seen": true, ...}.

import { stdin } from "node:process";
import { createInterface } from "node:readline";
import * as ort from "onnxruntime-node";
import { Engine } from "../../recsys/serving/page/engine.mjs";

const [path, argument] = process.argv.slice(2);
const engine = await Engine.open(ort, path, { users: true }); // this is a server: a file that knows users may be here

for await (const line of argument === undefined ? createInterface({ input: stdin }) : [argument]) {
  const question = JSON.parse(line);
  console.log(JSON.stringify(await engine.recommend(Array.isArray(question) ? { history: question } : question)));
}
