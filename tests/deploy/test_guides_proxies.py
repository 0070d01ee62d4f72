"""Behind each of the guides' proxies: sockets and event streams pass, and stay while they are idle; who a client is
arrives; a replica that drains costs nobody an answer."""

import asyncio
import json
import re
import signal
from contextlib import AsyncExitStack, ExitStack

import pytest
import websockets
from guides_http2 import Inside
from guides_proxies import CUTTING, FASTER, STARTED_BY, Site
from guides_world import certificate
from programs import Gateway, RedisServer
from world import NO_ANSWER, free_ports, until

STRANGER = "127.0.0.77"

GATEWAY = f"""
[public]
trusted_proxies = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
[heartbeat]
every = "{25_000 // FASTER}ms"
[drain]
window = "1s"
[log]
level = "info,fanline::transport=debug"
[[routes]]
path = "/quiet"
heartbeat = "off"
[[routes]]
path = "/quiet-sse"
protocol = "sse"
heartbeat = "off"
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """Two replicas on one Redis behind every proxy."""
    home, ports, fronts = tmp_path_factory.mktemp("proxies"), free_ports(2), {}
    with ExitStack() as running:
        url = f"--redis-url={running.enter_context(RedisServer(home)).url}"
        one, two = (
            running.enter_context(Gateway(home, name, GATEWAY, url, host=host, ports=ports)).ready()
            for name, host in (("one", "127.0.0.11"), ("two", "127.0.0.12"))
        )
        for name, start in STARTED_BY.items():
            fronts[name] = start(Site(home, ports, certificate(home)))
            running.enter_context(fronts[name].program)
        for front in fronts.values():
            until(f"{front.name} has a replica", lambda front=front: asyncio.run(hello(front)), despite=NO_ANSWER)
        yield one, two, fronts


@pytest.fixture(params=[*CUTTING, "traefik"])
def front(house, request):
    if request.param not in house[2]:
        pytest.skip("traefik is not on this machine: TRAEFIK=/path/to/it tries it")
    return house[2][request.param]


async def hello(front):
    try:
        async with front.socket("/ws?topic=news"):
            return True
    except websockets.InvalidHandshake as refused:
        raise AssertionError(str(refused)) from refused


async def of_each(trial, fronts):
    """The same behind every proxy that cuts what is idle, at once."""
    async with asyncio.TaskGroup() as group:
        for name in CUTTING:
            group.create_task(trial(fronts[name]), name=name)


async def end(socket):
    """Hears a socket until it is closed: the gateway's last words, or None where somebody else has cut it."""
    with pytest.raises(websockets.ConnectionClosed) as closed:
        while True:
            await asyncio.wait_for(socket.recv(), 30)
    return closed.value.rcvd


def test_an_idle_socket_outlives_every_proxys_patience_by_its_pings_alone(house):
    one, _, fronts = house

    async def trial(front):
        async with front.socket("/ws?topic=news") as beating:
            for _ in range(2):
                async with front.socket("/quiet?topic=news") as quiet:
                    assert await end(quiet) is None, "cut by the proxy, without a word of the gateway's"
            await asyncio.to_thread(one.publish, "news", front.name)
            heard = await asyncio.wait_for(beating.recv(), 10)
            while heard != front.name:
                heard = await asyncio.wait_for(beating.recv(), 10)

    asyncio.run(of_each(trial, fronts))


def test_an_event_stream_comes_at_once_and_outlives_every_proxys_patience(house):
    one, _, fronts = house

    async def trial(front):
        beating = await front.stream("/sse?topic=news")
        try:
            head = (await beating.stdout.readuntil(b"\r\n\r\n")).lower()
            assert head.startswith(b"http/2 200") and b"text/event-stream" in head, head
            for word in ("first", "second"):
                await asyncio.to_thread(one.publish, "news", front.name + word)
                said = f"data: {front.name}{word}\n".encode()
                while await asyncio.wait_for(beating.stdout.readline(), 10) != said:
                    assert beating.returncode is None
                quiet = await front.stream("/quiet-sse?topic=news")
                await quiet.communicate()
                assert quiet.returncode != 28, "cut by the proxy, and not by curl's own --max-time"
        finally:
            beating.kill()
            await beating.communicate()

    asyncio.run(of_each(trial, fronts))


@pytest.mark.parametrize("name", CUTTING)
def test_a_browsers_websocket_comes_inside_http_2_where_the_proxy_offers_it(house, name):
    one, _, fronts = house

    async def trial():
        inside = await Inside.open(fronts[name].port)
        status = await inside.upgrade("/ws?topic=inside")
        assert status == (200 if name == "haproxy" else 0)
        if status:
            await asyncio.to_thread(one.publish, "inside", "hi")
            assert await inside.frame() == "hi"
        inside.writer.close()

    asyncio.run(trial())


def test_the_gateway_logs_who_the_client_is_and_not_who_it_claims_to_be(house, front):
    replicas = house[:2]
    before = [len(replica.log()) for replica in replicas]

    async def come():
        forged = {"X-Forwarded-For": "203.0.113.66"}
        async with front.socket("/ws?topic=news", local_addr=(STRANGER, 0), additional_headers=forged):
            pass

    def said():
        new = "".join(replica.log()[start:] for replica, start in zip(replicas, before))
        return re.search(r"client=127\.0\.0\.77 request_id=(\S+)", new)

    asyncio.run(come())
    request_id = until("the client's address in a log", said)[1]
    assert len(request_id) > 16 or front.name == "traefik", "Traefik makes none"


def test_a_replica_that_drains_says_goodbye_through_the_proxy_and_costs_no_newcomer_an_answer(house):
    one, two, fronts = house
    over = asyncio.Event()
    came, refused = dict.fromkeys(fronts, 0), []

    async def newcomers(name):
        while not over.is_set():
            try:
                async with fronts[name].socket("/ws?topic=news"):
                    came[name] += 1
            except (OSError, websockets.WebSocketException) as why:
                refused.append(f"{name}: {why}")
            await asyncio.sleep(0.02)

    async def trial():
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            sockets = {
                name: [await stack.enter_async_context(front.socket("/ws?topic=news&protocol=json")) for _ in range(8)]
                for name, front in fronts.items()
            }
            for name in [name for name in fronts for _ in range(4)]:
                group.create_task(newcomers(name))
            one.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(one.process.wait, 30) == 0
            before = dict(came)
            while any(came[name] < before[name] + 8 for name in fronts):
                await asyncio.sleep(0.02)
            over.set()
            return {name: [await farewell(socket) for socket in held] for name, held in sockets.items()}

    farewells = asyncio.run(asyncio.wait_for(trial(), 60))
    assert refused == []
    for name, ends in farewells.items():
        told = [said for said in ends if said]
        assert 0 < len(told) < len(ends), f"{name} spread its clients over both replicas"
        assert all(code == 1012 and json.loads(reason)["retry_ms"] > 0 for code, reason in told), told
    two.publish("news", "the other goes on")


async def farewell(socket):
    """How the gateway has closed a socket; nothing, where it lives on."""
    try:
        while True:
            await asyncio.wait_for(socket.recv(), 0.2)
    except TimeoutError:
        return None
    except websockets.ConnectionClosed as closed:
        assert closed.rcvd, "cut without a word"
        return closed.rcvd.code, closed.rcvd.reason
