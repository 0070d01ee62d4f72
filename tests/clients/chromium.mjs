// A page in Chromium with one WebSocket, run by the tests as a child. Speaks the same lines as subscribe.mjs,
// which documents them; a page hears no pings, and is not told why it was refused.
//
//   node chromium.mjs URL [SUBPROTOCOL|-] [COUNT] [TIMEOUT_S]
//
// With an http: URL the page has an EventSource, and prints {"open":true} each time it opens, {"event":"…","text":"…"} for
// an event of any of the types that SUBPROTOCOL names beside `message`, split by commas, and {"error":readyState}. With the
// path of a script the page runs that, and prints {"shown":"…"} for each line that it logs.
//
// CHROMIUM names the browser (default: chromium). It has a profile of its own, which goes with it, and ends when
// the pipe does by which it is driven, however this process ends.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const [url, subprotocol = "-", count = "0", timeout = "60"] = process.argv.slice(2);
const profile = mkdtempSync(join(tmpdir(), "fanline-chromium-"));
const flags = [
  "--headless=new --no-sandbox --disable-gpu --disable-quic --disable-sync --disable-dev-shm-usage --no-first-run",
  "--disable-background-networking --disable-component-update --no-proxy-server --remote-debugging-pipe",
].flatMap((line) => line.split(" "));
const browser = spawn(process.env.CHROMIUM ?? "chromium", [...flags, `--user-data-dir=${profile}`, "about:blank"], {
  stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"],
});
const [, , , orders, answers] = browser.stdio;

let code = 1;
browser.on("error", (error) => {
  process.stderr.write(`${error.message}; run tests/setup.sh chromium\n`);
  process.exit(1);
});
browser.on("close", () => {
  rmSync(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
  process.exit(code);
});
function end(how) {
  code = how;
  call("Browser.close", {});
}
process.on("SIGTERM", () => end(0)); // How the tests end it, so that nothing is left of it.
setTimeout(() => end(3), Number(timeout) * 1000);

// One JSON object after the other, each ended by a zero.
let last = 0;
const waiting = new Map();
function call(method, params, sessionId) {
  orders.write(JSON.stringify({ id: ++last, method, params, sessionId }) + "\0");
  return new Promise((answer) => waiting.set(last, answer));
}
orders.on("error", () => {}); // It is gone, and `close` follows.
answers.setEncoding("utf8");
let unread = "";
answers.on("data", (text) => {
  const whole = (unread + text).split("\0");
  unread = whole.pop();
  whole.map((line) => JSON.parse(line)).forEach(hear);
});
function hear({ id, result, error, method, params }) {
  if (error) process.stderr.write(`${error.message}\n`);
  waiting.get(id)?.(result);
  waiting.delete(id);
  if (method !== "Runtime.bindingCalled") return;
  writeSync(1, params.payload + "\n");
  if (params.payload.startsWith('{"close":')) end(0);
}

const { targetInfos } = await call("Target.getTargets", {});
const { targetId } = targetInfos.find(({ type }) => type === "page");
const { sessionId } = await call("Target.attachToTarget", { targetId, flatten: true });
await call("Runtime.enable", {}, sessionId);
await call("Runtime.addBinding", { name: "tell" }, sessionId);
const run = (expression) => call("Runtime.evaluate", { expression }, sessionId);

const socket = `
  const fromB64 = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const toB64 = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes)));
  let left = ${Number(count)};
  const socket = new WebSocket(${JSON.stringify(url)}, ${JSON.stringify(subprotocol === "-" ? [] : [subprotocol])});
  socket.binaryType = "arraybuffer";
  socket.onopen = () => say({ open: true, protocol: socket.protocol, extensions: socket.extensions });
  socket.onmessage = ({ data }) => {
    say(typeof data === "string" ? { text: data } : { b64: toB64(data) });
    if (--left === 0) socket.close(1000);
  };
  socket.onclose = ({ code, reason }) => say({ close: [code, reason] });
  function act(order) {
    if (order.text !== undefined) socket.send(order.text);
    if (order.b64 !== undefined) socket.send(fromB64(order.b64));
    if (order.close !== undefined) socket.close(...order.close);
  }
`;
const events = `
  const events = new EventSource(${JSON.stringify(url)});
  events.onopen = () => say({ open: true });
  events.onerror = () => say({ error: events.readyState });
  for (const type of ["message", ...${JSON.stringify(subprotocol.split(","))}]) {
    events.addEventListener(type, ({ data }) => say({ event: type, text: data }));
  }
`;
const script = () => `
  console.log = (...what) => say({ shown: what.join(" ") });
  ${readFileSync(url, "utf8")}
`;
await run("const say = (what) => tell(JSON.stringify(what));");
await run(url.startsWith("ws:") ? socket : url.startsWith("http:") ? events : script());
const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => run(`act(${line})`));
lines.on("close", () => end(0));
