/** The file and onnxruntime-web in this browser: what is picked stays here. */

import { Engine } from "./engine.mjs";
import { ask } from "./server.mjs";

const RUNTIME = new URL("../runtime/", import.meta.url);
const ENTRY = "ort.wasm.bundle.min.mjs";

/** onnxruntime-web; raises with the server's own words where it is not installed. */
export async function loadRuntime() {
  try {
    const ort = await import(new URL(ENTRY, RUNTIME));
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmPaths = { wasm: new URL("ort-wasm-simd-threaded.wasm", RUNTIME).href };
    return ort;
  } catch (error) {
    await ask(`runtime/${ENTRY}`); // says why it cannot be had
    throw error;
  }
}

/** Why this device cannot answer; empty where it can. */
export async function obstacle(manifest) {
  if (manifest.users) return "This file knows user ids, so it does not leave the server.";
  return loadRuntime().then(() => "", (error) => error.message);
}

/** The engine on this device, after the file and the runtime were fetched. */
export async function openDevice(askKey) {
  const ort = await loadRuntime();
  const response = await ask("model.onnx", {}, askKey);
  return Engine.open(ort, new Uint8Array(await response.arrayBuffer()));
}
