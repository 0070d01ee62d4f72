"""Which of several Redis a topic lives on: python3 which.py TOPIC URL URL..., the URLs in the order of redis.url."""

import binascii
import sys


def home(channel, urls):
    slot = binascii.crc_hqx(channel.encode(), 0) % 16384
    return urls[slot * len(urls) // 16384]


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    print(home("fanline:" + sys.argv[1], sys.argv[2:]))
