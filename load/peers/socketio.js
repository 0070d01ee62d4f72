// Socket.IO with its Redis adapter, one process: rooms are topics, publications come as its Redis emitter writes them.
// The request of a handshake is let go, as Socket.IO's own page on tuning advises.
// node socketio.js <port> <redis port>
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import Redis from "ioredis";
import { Server } from "socket.io";

const [port, redisPort] = process.argv.slice(2);
const publisher = new Redis(Number(redisPort), "127.0.0.1");
const subscriber = publisher.duplicate();

const server = createServer();
const io = new Server(server, {
  adapter: createAdapter(publisher, subscriber),
  serveClient: false,
  transports: ["websocket"],
});

io.on("connection", (socket) => {
  socket.join(socket.handshake.query.topic);
  socket.conn.request = null;
});

// Answered behind the adapter's own subscriptions, on the same connection: they are live.
await subscriber.ping();
server.listen({ port: Number(port), host: "127.0.0.1", backlog: 4096 });
