"""An event stream as PyPI's requests reads it: by chunks. Run by the tests as a child.

    events.py URL

It prints {"open":true} once the head is there, {"line":"..."} for each line that is not empty, and {"end":true}.
"""

import json
import sys

try:
    import requests
except ImportError:  # pip brings one along
    from pip._vendor import requests


def say(**what):
    print(json.dumps(what), flush=True)


with requests.get(sys.argv[1], stream=True, timeout=300) as stream:
    stream.raise_for_status()
    say(open=True)
    for line in filter(None, stream.iter_lines()):
        say(line=line.decode())
    say(end=True)
