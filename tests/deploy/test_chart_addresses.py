"""Where the gateway listens and where Redis is: what is wrong with it is told, without the password in it."""

import pytest

from charts import refused, with_values
from conftest import run
from mounts import lay_out
from world import gateway_binary

PASSWORD = "would lie readable in a ConfigMap"
MISTAKES = [
    ({"config": {"redis": {"url": "redis://user:pass@redis"}}}, f"config.redis.url holds a password and {PASSWORD}"),
    ({"config": {"redis": {"url": ["redis://a", "redis://:pass@b"]}}}, "config.redis.url holds a password"),
    ({"config": {"redis": {"url": "redis://a,redis://:pass@b"}}}, "config.redis.url holds a password"),
    ({"config": {"redis": {"url": "redis://user:p/w@redis:6379"}}}, "config.redis.url holds a password"),
    ({"config": {"redis": {"url": "redis://user:p@w@redis:6379"}}}, "config.redis.url holds a password"),
    ({"config": {"redis": {"url": "unix:///run/redis.sock?pass=x"}}}, "config.redis.url holds a password"),
    (
        {"config": {"redis": {"url": "redis-host:6379"}}},
        'config.redis.url = "redis-host:6379" is no URL of Redis: write redis://, rediss:// (TLS)',
    ),
    ({"config": {"redis": {"url": ["redis://a", "http://b/0"]}}}, 'config.redis.url = "http://b/0" is no URL'),
    ({"secrets": {"redisUrl": {"value": "redis-host:6379"}}}, "secrets.redisUrl.value is no URL of Redis"),
    (
        {"config": {"internal": {"listen": "127.0.0.1:8081"}}},
        'is loopback, which nobody outside of the pod reaches: write "0.0.0.0:8081"',
    ),
    ({"config": {"public": {"listen": "8080"}}}, 'config.public.listen = "8080" is no address with a port'),
    ({"config": {"public": {"listen": "0.0.0.0:8081"}}}, "share port 8081"),
    (
        {"config": {"public": {"listen": "0.0.0.0:99999"}}},
        'config.public.listen = "0.0.0.0:99999": 99999 is no port: write one from 1 to 65535',
    ),
    ({"config": {"internal": {"listen": "[::]:65536"}}}, "65536 is no port"),
    ({"config": {"internal": {"listen": "[::]:99999999999999999999"}}}, "99999999999999999999 is no port"),
    ({"service": {"ipFamilies": ["IPv6"]}}, 'service.ipFamilies has IPv6: write "[::]:8080", which hears both'),
    ({"service": {"ipFamilyPolicy": "RequireDualStack"}}, 'ipFamilyPolicy is RequireDualStack: write "[::]:8081"'),
]


@pytest.mark.parametrize(("values", "told"), MISTAKES)
def test_an_address_that_leads_nowhere_is_told(values, told):
    assert told in refused(values)


@pytest.mark.parametrize(("wrong", "right"), [("public", "internal"), ("internal", "public")])
def test_the_listener_that_an_ipv6_service_would_not_reach_is_named(wrong, right):
    ports = {"public": 8080, "internal": 8081}
    listen = {wrong: {"listen": f"0.0.0.0:{ports[wrong]}"}, right: {"listen": f"[::]:{ports[right]}"}}
    said = refused({"config": listen, "service": {"ipFamilies": ["IPv6"]}})
    assert f'config.{wrong}.listen = "0.0.0.0:{ports[wrong]}" hears IPv4 only' in said
    assert f"config.{right}" not in said


@pytest.mark.parametrize("url", ["user:hidden@redis", "http://user:hidden@redis/0", "http://redis?pass=hidden"])
def test_no_message_shows_a_password(url):
    said = refused({"config": {"redis": {"url": url}}})
    assert "holds a password" in said and "is no URL of Redis" in said and "hidden" not in said


GOOD_URLS = [
    "redis://redis",
    "rediss://fanline@redis:6380/1",
    "valkeys://redis",
    "unix:///run/redis.sock",
    "redis+sentinel://me@a:26379,b,[fd00::9]:7/mymaster",
    "rediss+cluster://a:7000,b:7001",
    "redis://a, redis://me@b",
]


@pytest.mark.parametrize("url", [*GOOD_URLS, GOOD_URLS])
def test_a_url_that_the_gateway_takes_is_taken(url, tmp_path):
    toml = lay_out(with_values({"config": {"redis": {"url": url}}}), tmp_path)
    assert "is good" in run(gateway_binary(), "check-config", "--config", toml)
