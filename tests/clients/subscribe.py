"""A real WebSocket client (PyPI `websockets`) that the tests run as a child.

    python subscribe.py URL [SUBPROTOCOL|-] [COUNT] [TIMEOUT_S]

Speaks the same lines as subscribe.mjs, which documents them; the library hides pings, so it prints none.
"""

import asyncio
import base64
import contextlib
import json
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus


def say(what):
    print(json.dumps(what), flush=True)


async def act(socket):
    loop = asyncio.get_running_loop()
    stdin = asyncio.StreamReader(limit=2**24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    while line := await stdin.readline():
        order = json.loads(line)
        if "text" in order:
            await socket.send(order["text"])
        if "b64" in order:
            await socket.send(base64.b64decode(order["b64"]))
        if "close" in order:
            await socket.close(*order["close"])


async def listen(url, subprotocol, count):
    async with connect(url, subprotocols=None if subprotocol == "-" else [subprotocol]) as socket:
        extensions = ", ".join(extension.name for extension in socket.protocol.extensions)
        say({"open": True, "protocol": socket.subprotocol or "", "extensions": extensions})
        acting = asyncio.create_task(act(socket))
        async for message in receive(socket):
            say({"text": message} if isinstance(message, str) else {"b64": base64.b64encode(message).decode()})
            if (count := count - 1) == 0:
                break
        acting.cancel()
    say({"close": [socket.close_code, socket.close_reason]})


async def receive(socket):
    with contextlib.suppress(ConnectionClosed):
        while True:
            yield await socket.recv()


url, subprotocol, count, timeout = (sys.argv[1:] + ["-", "0", "60"][len(sys.argv) - 2 :])[:4]
try:
    asyncio.run(asyncio.wait_for(listen(url, subprotocol, int(count)), float(timeout)))
except InvalidStatus as refusal:
    say({"refused": refusal.response.status_code, "body": refusal.response.body.decode()})
except TimeoutError:
    sys.exit(3)
