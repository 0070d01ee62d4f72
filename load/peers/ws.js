// npm ws as its users run it: one process, no compression, a topic's sockets in a Set, each message sent as the
// Buffer that came from Redis. A socket is let in once Redis has confirmed its topic.
// node ws.js <port> <redis port> <channel prefix>
import { createServer } from "node:http";
import Redis from "ioredis";
import { WebSocket, WebSocketServer } from "ws";

const [port, redisPort, prefix] = process.argv.slice(2);
const redis = new Redis(Number(redisPort), "127.0.0.1");
const rooms = new Map();

redis.on("messageBuffer", (channel, message) => {
  for (const socket of rooms.get(channel.toString())?.sockets ?? []) {
    if (socket.readyState === WebSocket.OPEN) socket.send(message, { binary: false });
  }
});

function roomOf(channel) {
  let room = rooms.get(channel);
  if (!room) {
    room = { sockets: new Set(), live: redis.subscribe(channel) };
    rooms.set(channel, room);
  }
  return room;
}

const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false, clientTracking: false });
const server = createServer((_, response) => response.writeHead(426).end());

server.on("upgrade", async (request, stream, head) => {
  const room = roomOf(prefix + new URL(request.url, "http://localhost").searchParams.get("topic"));
  await room.live;
  sockets.handleUpgrade(request, stream, head, (socket) => {
    room.sockets.add(socket);
    socket.on("close", () => room.sockets.delete(socket));
    socket.on("error", () => socket.terminate());
  });
});

server.listen({ port: Number(port), host: "127.0.0.1", backlog: 4096 });
