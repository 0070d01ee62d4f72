"""Publishes a number and the time once a second, over HTTP, with Python alone.

    python3 clock.py http://127.0.0.1:8081 stream

The first argument is the gateway's internal listener, the second the topic.
"""

import itertools
import json
import sys
import time
import urllib.request

gateway, topic = sys.argv[1:]
for number in itertools.count():
    message = {"topic": topic, "data": {"number": number, "time": time.strftime("%H:%M:%S")}}
    request = urllib.request.Request(
        f"{gateway}/api/publish", json.dumps(message).encode(), {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request, timeout=5).close()
    time.sleep(1)
