"""A gateway on a Redis where its user has certain rights, and each thing it does there, tried one after the other."""

import json
import subprocess
from contextlib import ExitStack

import redis
import websockets
from programs import Gateway, RedisServer
from websockets.sync.client import connect
from world import NO_ANSWER, free_port, gateway_binary, until

RULE = """
[redis]
username = "fanline"
password = "secret"
linger = "0s"
"""
HISTORY = """
[[topics]]
match = "orders:*"
history_size = 100
"""

class Trial:
    """One Redis, users as `lines` make them, one replica, and the steps that fail."""

    def __init__(self, home, lines, histories=False, cluster=0, sharded=False):
        home.mkdir()
        self.histories, self.sharded, self.moving, self.failed = histories, sharded, False, {}
        with ExitStack() as started:
            self.start(started, home, lines, cluster)
            self.started = started.pop_all()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.started.close()

    def start(self, started, home, lines, cluster):
        self.servers = []
        for number in range(cluster or 1):
            node = ["--cluster-config-file", f"nodes-{number}.conf", "--cluster-port", free_port()]
            server = RedisServer(home, *["--cluster-enabled", "yes", *node] * bool(cluster))
            self.servers.append(started.enter_context(server))
            server.bus = node[-1]
        self.nodes = [redis.Redis(port=server.port, decode_responses=True) for server in self.servers]
        if cluster:
            self.unite()
        for node in self.nodes:
            for line in lines:
                node.execute_command(*line.split())
            node.acl_log_reset()
        scheme = "redis+cluster" if cluster else "redis"
        url = f"{scheme}://127.0.0.1:{self.servers[0].port}"
        self.flags = [f"--redis-url={url}", f"--set=redis.sharded={str(self.sharded).lower()}"]
        self.gateway = started.enter_context(Gateway(home, "gateway", RULE + HISTORY * self.histories, *self.flags))

    def unite(self):
        """A cluster whose first node has every slot."""
        first, *others = self.nodes
        first.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        for node in self.servers[1:]:
            first.execute_command("CLUSTER", "MEET", "127.0.0.1", node.port, node.bus)
        for node in self.nodes:
            until("the cluster is whole", lambda node=node: self.is_whole(node))

    def is_whole(self, node):
        told = node.execute_command("CLUSTER", "INFO")
        told = told if isinstance(told, dict) else dict(line.split(":") for line in told.split())
        return told["cluster_state"] == "ok" and int(told["cluster_known_nodes"]) == len(self.nodes)

    def denied(self):
        """What Redis refused, to whom, as it noted itself."""
        return {(entry["username"], entry["object"]) for node in self.nodes for entry in node.acl_log(128)}

    def all(self, patience):
        """Tries every step that this mode has, each so long; answers those that fail."""
        steps = [step for step in STEPS if self.histories or step not in OF_HISTORIES]
        steps = [step for step in steps if len(self.nodes) > 1 or step is not follows]
        return [step.__doc__ for step in steps if not self.comes_to_pass(step, patience)]

    def comes_to_pass(self, step, patience):
        try:
            return until(step.__doc__, lambda: step(self), patience, despite=NO_ANSWER)
        except (AssertionError, redis.RedisError, websockets.WebSocketException) as why:
            self.failed[step.__doc__] = str(why)
            return False

    # What the steps use.

    def socket(self, path):
        return connect(f"ws://{self.gateway.public}{path}", proxy=None, open_timeout=5, close_timeout=1)

    def say(self, *words):
        return self.nodes[0].execute_command(*words)

    def as_producer(self, *words):
        user = {"username": "producer", "password": "secret"}
        with redis.Redis(port=self.servers[0].port, decode_responses=True, **user) as producer:
            return producer.execute_command(*words)

    def put(self, topic, text):
        """Published through the gateway: its position, or None without a history."""
        body = json.dumps({"topic": topic, "text": text})
        return json.loads(self.gateway.ask("/api/publish", body.encode()))["topics"][topic].get("position")


def checks(trial):
    """check-config --connect"""
    command = [gateway_binary(), "--config", trial.gateway.config, *trial.flags]
    said = subprocess.run([*command, "check-config", "--connect"], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout
    return True


def is_ready(trial):
    """ready"""
    return json.loads(trial.gateway.ask("/readyz"))["status"] == "ready"


def listens(trial):
    """listening"""
    with trial.socket("/ws?topic=hello") as ears:
        trial.say("SPUBLISH" if trial.sharded else "PUBLISH", "fanline:hello", "hi")
        return ears.recv(timeout=1) == "hi"


def publishes(trial):
    """publishing"""
    with trial.socket("/ws?topic=hello") as ears:
        trial.put("hello", "hi")
        return ears.recv(timeout=1) == "hi"


def leaves(trial):
    """leaving topics"""
    with trial.socket("/ws?topic=left"):
        pass
    channels = "SHARDCHANNELS" if trial.sharded else "CHANNELS"
    return until("it has left", lambda: trial.say("PUBSUB", channels, "fanline:left") == [], 1)


def keeps(trial):
    """keeping a history"""
    return trial.put("orders:1", "paid")


def pages(trial):
    """pages of a history"""
    first = trial.put("orders:2", "paid")
    page = json.loads(trial.gateway.ask("/api/history?topic=orders:2&limit=1"))
    after = json.loads(trial.gateway.ask(f"/api/history?topic=orders:2&since={first}"))
    return page["publications"] and not after["publications"]


def resumes(trial):
    """resuming"""
    since = trial.put("orders:3", "paid")
    trial.put("orders:3", "sent")
    with trial.socket("/ws?protocol=json") as ears:
        ears.send(json.dumps({"type": "subscribe", "topics": {"orders:3": since}}))
        heard = [json.loads(ears.recv(timeout=1)) for _ in range(3)]
    assert heard[1].get("recovered") is True, heard
    return heard[2]["text"] == "sent"


def heals(trial):
    """healing after a lost link"""
    with trial.socket("/ws?protocol=json") as ears:
        ears.send(json.dumps({"type": "subscribe", "topics": ["orders:4"]}))
        json.loads(ears.recv(timeout=1))
        assert json.loads(ears.recv(timeout=1))["live"]
        trial.put("orders:4", "paid")
        assert json.loads(ears.recv(timeout=1))["text"] == "paid"
        trial.say("CLIENT", "KILL", "TYPE", "pubsub")
        # Redis itself puts it where the replica misses it: nobody listens in this moment.
        said = "SPUBLISH" if trial.sharded else "PUBLISH"
        trial.say("EVAL", MISSED.replace("PUBLISH", said), 2, "{fanline:orders:4}:stream", "{fanline:orders:4}:last")
        heard = json.loads(ears.recv(timeout=2))
        return heard.get("text") == "missed"


# What the gateway's own script writes, but for telling it to anybody.
MISSED = """
local before = redis.call('GET', KEYS[2])
local ms = tonumber(before:match('^(%d+)')) + 1
local at = string.format('%.0f-0', ms)
redis.call('XADD', KEYS[1], at, 'p', before, 'h', '"ts":1', 'd', 'missed')
redis.call('SET', KEYS[2], at)
return at
"""


def tells(trial):
    """PUBLISH by producers"""
    return trial.as_producer("SPUBLISH" if trial.sharded else "PUBLISH", "fanline:hello", "hi") >= 0


def offers(trial):
    """FCALL by producers"""
    return trial.as_producer("FCALL", "fanline_publish", 1, "fanline:orders:5", "paid", "ID", "once")[0]


def follows(trial):
    """histories while a slot moves"""
    owner, heir = trial.nodes
    keys = ["{fanline:orders:6}:stream", "{fanline:orders:6}:last"]
    if not trial.moving:
        trial.moving = True
        trial.put("orders:6", "paid")
        slot = owner.execute_command("CLUSTER", "KEYSLOT", "fanline:orders:6")
        ids = [node.execute_command("CLUSTER", "MYID") for node in (owner, heir)]
        heir.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
        owner.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
        owner.execute_command("MIGRATE", "127.0.0.1", trial.servers[1].port, "", 0, 5000, "KEYS", *keys)
    return trial.put("orders:6", "sent")


OF_HISTORIES = [keeps, pages, resumes, heals, offers, follows]
STEPS = [checks, is_ready, listens, publishes, leaves, tells, *OF_HISTORIES]
