// A real WebSocket client (npm `ws`) that the tests run as a child.
//
//   node subscribe.mjs URL [SUBPROTOCOL|-] [COUNT] [TIMEOUT_S]
//
// Prints one JSON line for each thing that happens: {"open":true,"protocol":"…","extensions":"…"}, {"text":"…"}, {"b64":"…"},
// {"ping":true}, {"close":[code,"reason"]}, {"refused":status,"body":"…"}.
// Reads one JSON line for each thing to do: {"text":"…"}, {"b64":"…"}, {"close":[code,"reason"]}.
// Ends when the socket has closed, after COUNT messages (0: never), or with exit code 3 after TIMEOUT_S.
import { createInterface } from "node:readline";
import { writeSync } from "node:fs";
import WebSocket from "ws";

const [url, subprotocol = "-", count = "0", timeout = "60"] = process.argv.slice(2);
const say = (what) => writeSync(1, JSON.stringify(what) + "\n");
const socket = new WebSocket(url, subprotocol === "-" ? [] : [subprotocol]);
let left = Number(count);

setTimeout(() => process.exit(3), Number(timeout) * 1000);

socket.on("open", () => {
  say({ open: true, protocol: socket.protocol, extensions: socket.extensions });
  const lines = createInterface({ input: process.stdin });
  lines.on("line", (line) => act(JSON.parse(line)));
});
socket.on("message", (data, binary) => {
  say(binary ? { b64: data.toString("base64") } : { text: data.toString("utf8") });
  if (--left === 0) socket.close(1000);
});
socket.on("ping", () => say({ ping: true }));
socket.on("unexpected-response", (_request, response) => {
  const parts = [];
  response.on("data", (part) => parts.push(part));
  response.on("end", () => {
    say({ refused: response.statusCode, body: Buffer.concat(parts).toString("utf8") });
    process.exit(0);
  });
});
socket.on("error", (error) => process.stderr.write(`${error.message}\n`));
socket.on("close", (code, reason) => {
  say({ close: [code, reason.toString("utf8")] });
  process.exit(0);
});

function act(order) {
  if (order.text !== undefined) socket.send(order.text);
  if (order.b64 !== undefined) socket.send(Buffer.from(order.b64, "base64"));
  if (order.close !== undefined) socket.close(...order.close);
}
