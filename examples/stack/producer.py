"""Publishes an order a second over HTTP, with Python alone; each is kept in the topic's history.

    API_KEY=for-trials-only python3 producer.py http://127.0.0.1:8081

A publication that fails is tried again under its own idempotency key, so that it is there once whatever happened to
the first try.
"""

import itertools
import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request

TOPIC = "orders:demo"


def publish(gateway, order):
    request = urllib.request.Request(
        f"{gateway}/api/publish",
        json.dumps({"topic": TOPIC, "data": order, "idempotency_key": f"{order['run']}.{order['n']}"}).encode(),
        {"Content-Type": "application/json", "X-API-Key": os.environ["API_KEY"]},
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.load(answer)["topics"][TOPIC]


def until_published(gateway, order):
    while True:
        try:
            return publish(gateway, order)
        except urllib.error.HTTPError as refusal:
            if refusal.code < 500:
                sys.exit(f"producer: {refusal.code}: {refusal.read().decode()}")
            why = refusal
        except (OSError, ValueError) as error:
            why = error
        print(f"order {order['n']}: again in a second: {why}", flush=True)
        time.sleep(1)


def main():
    # As the first process of a container it would not be ended by it otherwise.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    gateway, run = sys.argv[1].rstrip("/"), int(time.time())
    for n in itertools.count(1):
        order = {"run": run, "n": n, "at": time.strftime("%H:%M:%S")}
        print(f"order {n}: {until_published(gateway, order)}", flush=True)
        time.sleep(1)


if __name__ == "__main__":
    main()
