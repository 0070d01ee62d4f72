"""What promtool's tests assume of the metrics is so: each thing is done to a fleet of its own, and its alert's condition holds."""

import signal
import urllib.error
import urllib.request
from contextlib import ExitStack

import pytest
import redis as client
from live import ask
from programs import Gateway, Prometheus, RedisServer
from world import until

HISTORY = '[[topics]]\nmatch = "kept:*"\nhistory_size = 10\n'


class Fleets:
    """Fleets by name, each a job of one Prometheus: how many Redis, and of each gateway which of them it uses, and what else."""

    def __init__(self, where, stack):
        self.where, self.stack = where, stack
        self.redis, self.gateways, self.url = {}, {}, ""

    def start(self, name, redises, *gateways):
        house = self.where / name
        house.mkdir()
        self.redis[name] = [self.stack.enter_context(RedisServer(house)) for _ in range(redises)]
        self.gateways[name] = []
        for n, (used, *flags) in enumerate(gateways):
            urls = ",".join(self.redis[name][which].url for which in used)
            one = Gateway(house, f"gateway-{n}", HISTORY, f"--redis-url={urls}", *flags)
            self.gateways[name].append(self.stack.enter_context(one))

    def watch(self):
        """Starts Prometheus, and waits until it has seen every fleet well."""
        for one in (one for gateways in self.gateways.values() for one in gateways):
            one.ready()
        self.url = self.stack.enter_context(Prometheus(self.where, self.gateways)).url
        until("it has seen them", lambda: len(self.ask("fleet:fanline_redis_linked:ratio == 1")) == len(self.gateways))
        assert self.alerts() == []

    def ask(self, query):
        return ask(self.url, "query", query=query)["result"]

    def alerts(self, **labels):
        return [alert for alert in ask(self.url, "alerts")["alerts"] if labels.items() <= alert["labels"].items()]

    def told(self, name, job, **labels):
        """Waits until an alert's condition holds, and answers whether it is `pending` or `firing`."""
        [alert] = until(f"{name} of {job}", lambda: self.alerts(alertname=name, job=job, **labels))
        return alert["state"]


@pytest.fixture(scope="module")
def fleets(tmp_path_factory):
    with ExitStack() as stack:
        fleets = Fleets(tmp_path_factory.mktemp("fleets"), stack)
        fleets.start("frozen", 1, ([0],))
        fleets.start("apart", 2, ([0],), ([1],))
        fleets.start("halved", 2, ([0, 1],))
        fleets.start("refused", 1, ([0],))
        fleets.start("denied", 1, ([0],))
        fleets.start("killed", 1, ([0],), ([0],))
        fleets.start("served", 1, ([0], "--set=public.max_connections=3"))
        fleets.watch()
        yield fleets


def listen(one, topic):
    """An event stream, open until it is closed; or the status of the refusal."""
    try:
        return urllib.request.urlopen(f"http://{one.public}/sse?topic={topic}", timeout=5)
    except urllib.error.HTTPError as refused:
        return refused.code


def test_redis_is_away_and_comes_back(fleets):
    [bus] = fleets.redis["frozen"]
    bus.process.send_signal(signal.SIGSTOP)
    assert fleets.told("FanlineRedisAway", "frozen") == "pending"
    fleets.told("FanlineRedisUnanswered", "frozen", reason="timeout")
    bus.process.send_signal(signal.SIGCONT)
    until("it is over", lambda: not fleets.alerts(alertname="FanlineRedisAway", job="frozen"))


def test_one_replica_alone_loses_its_redis(fleets):
    well, deaf = fleets.gateways["apart"]
    fleets.redis["apart"][1].process.kill()
    assert fleets.told("FanlineReplicaDeaf", "apart", instance=deaf.internal) == "pending"
    assert fleets.alerts(job="apart", instance=well.internal) == []
    assert fleets.alerts(job="apart", alertname="FanlineRedisAway") == []


def test_one_of_two_redis_is_lost(fleets):
    fleets.redis["halved"][1].process.kill()
    assert fleets.told("FanlineRedisLinkMissing", "halved") == "pending"


def test_redis_refuses_its_user(fleets):
    [bus] = fleets.redis["refused"]
    with client.Redis.from_url(bus.url) as admin:
        admin.config_set("requirepass", "changed")
        admin.execute_command("CLIENT", "KILL", "SKIPME", "yes")
    fleets.told("FanlineRedisRefuses", "refused", reason="auth")


def test_redis_takes_no_publication_any_more(fleets):
    """Nobody publishes but the canaries."""
    [bus] = fleets.redis["denied"]
    with client.Redis.from_url(bus.url) as admin:
        admin.execute_command("ACL", "SETUSER", "default", "-publish")
    fleets.told("FanlinePublishesRefused", "denied", reason="denied")


def test_a_replica_is_killed(fleets):
    _, killed = fleets.gateways["killed"]
    killed.process.kill()
    assert fleets.told("FanlineReplicaDown", "killed", instance=killed.internal) == "pending"


def test_a_reload_fails(fleets):
    one = fleets.gateways["killed"][0]
    one.config.write_text("[limits]\nbrust = 1\n")
    one.process.send_signal(signal.SIGHUP)
    assert fleets.told("FanlineReloadFailed", "killed") == "firing"


def test_more_come_than_there_are_places(fleets):
    [one] = fleets.gateways["served"]
    inside = [listen(one, "hello") for _ in range(3)]
    assert [listen(one, "hello") for _ in range(40)] == [503] * 40
    fleets.told("FanlineHandshakesShed", "served")
    fleets.told("FanlineConnectionsNearLimit", "served", instance=one.internal)
    for stream in inside:
        stream.close()


def test_producers_publish_what_reaches_nobody_or_no_history(fleets):
    [one], [bus] = fleets.gateways["served"], fleets.redis["served"]
    until("there is room", lambda: fleets.ask('sum(fanline_connections{job="served"}) == 0'))
    with listen(one, "hello"), listen(one, "kept:1"), client.Redis.from_url(bus.url) as producer:
        for _ in range(12):
            assert producer.publish("fanline:hello", b"\x1eFL1 no header") == 1
            assert producer.publish("fanline:kept:1", "past its history") == 1
        assert fleets.told("FanlinePublicationsRefused", "served", reason="malformed") == "firing"
        assert fleets.told("FanlineStrayPublications", "served") == "firing"
