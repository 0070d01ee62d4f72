// The page of the stack, run by the tests as a child: fetches it, and runs its script with npm `ws` as the browser's
// WebSocket and a document of a few lines. Prints {"count":n,"lost":n,"twice":n,"line":"…"} for each line that it shows.
//
//   node page.mjs http://127.0.0.1:8080/        NODE_PATH or a folder above holds `ws`
import { createRequire } from "node:module";

const Ws = createRequire(import.meta.url)("ws");
const url = new URL(process.argv[2]);
globalThis.WebSocket = class extends Ws {
  constructor(...given) {
    super(...given);
    this.on("error", () => {}); // a browser keeps them to itself, and closes
  }
};
const counters = { count: {}, lost: {}, twice: {} };
const list = {
  children: [],
  prepend({ textContent: line }) {
    const told = () => Object.fromEntries(Object.entries(counters).map(([id, { textContent }]) => [id, textContent]));
    // The page brings its counters up to date behind this.
    queueMicrotask(() => console.log(JSON.stringify({ ...told(), line })));
  },
};
globalThis.location = url;
globalThis.document = { createElement: () => ({}), getElementById: (id) => counters[id] ?? list };

const page = await (await fetch(url)).text();
new Function(page.split("<script>")[1].split("</script>")[0])();
