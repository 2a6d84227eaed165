// ONNX graphs: the policy, and what the family's own code makes of a state.
import * as ort from "onnxruntime-web/wasm";

export function useRuntime(wasm) {
  ort.env.wasm.wasmBinary = wasm;
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "error";
}

export class Graph {
  static async load(bytes) {
    const graph = new Graph();
    // What the next level fuses has no kernels in 64 bits here.
    const options = { executionProviders: ["wasm"], graphOptimizationLevel: "basic" };
    graph.session = await ort.InferenceSession.create(bytes, options);
    graph.shapes = Object.fromEntries(graph.session.inputMetadata.map(({ name, type, shape }) => [name, { type, shape }]));
    return graph;
  }

  get inputs() { return this.session.inputNames; }

  // Arrays by name to arrays by name.
  async run(arrays) {
    const feeds = {};
    for (const name of this.inputs) {
      const { type, shape } = this.shapes[name];
      feeds[name] = new ort.Tensor(type, arrays[name], shape);
    }
    const out = await this.session.run(feeds);
    const values = {};
    for (const [name, tensor] of Object.entries(out)) {
      values[name] = tensor.data.slice();
      tensor.dispose();
    }
    return values;
  }
}
