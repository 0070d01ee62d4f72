// Bun's own server and Redis client: a topic is a topic of its publish, which encodes a frame once for all.
// A socket is let in once Redis has confirmed its topic.
// bun bun.js <port> <redis port> <channel prefix>
import { RedisClient } from "bun";

const [port, redisPort, prefix] = process.argv.slice(2);
const redis = new RedisClient(`redis://127.0.0.1:${redisPort}`);
const live = new Map();

const server = Bun.serve({
  port: Number(port),
  hostname: "127.0.0.1",
  async fetch(request, server) {
    const topic = new URL(request.url).searchParams.get("topic");
    if (!live.has(topic)) {
      live.set(topic, redis.subscribe(prefix + topic, (message) => server.publish(topic, message)));
    }
    await live.get(topic);
    if (server.upgrade(request, { data: { topic } })) return;
    return new Response(null, { status: 426 });
  },
  websocket: {
    perMessageDeflate: false,
    open(socket) {
      socket.subscribe(socket.data.topic);
    },
    message() {},
  },
});
