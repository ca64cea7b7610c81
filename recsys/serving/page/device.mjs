/** The model file and onnxruntime-web in this browser: the history stays here. */

import { Engine } from "./engine.mjs";
import { ask } from "./server.mjs";

const RUNTIME = new URL("../runtime/", import.meta.url);
const ENTRY = "ort.wasm.bundle.min.mjs";

/** Returns onnxruntime-web; raises with the server's message if it is not installed. */
export async function loadRuntime() {
  try {
    const ort = await import(new URL(ENTRY, RUNTIME));
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmPaths = { wasm: new URL("ort-wasm-simd-threaded.wasm", RUNTIME).href };
    return ort;
  } catch (error) {
    await ask(`runtime/${ENTRY}`); // raises with the reason
    throw error;
  }
}

/** Returns why the model cannot run on this device; empty if it can. */
export async function obstacle(manifest) {
  if (manifest.users) return "This file holds user ids, so it stays on the server.";
  return loadRuntime().then(() => "", (error) => error.message);
}

/** Downloads the model file and the runtime, and returns the engine on this device. */
export async function openDevice(askKey) {
  const ort = await loadRuntime();
  const response = await ask("model.onnx", {}, askKey);
  return Engine.open(ort, new Uint8Array(await response.arrayBuffer()));
}
