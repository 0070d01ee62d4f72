"""What Helm prints after an install can be followed, and warns of what is missing."""

import pytest

from charts import FILES, copy_of_chart, notes, rendered


@pytest.mark.parametrize("name", FILES)
def test_the_notes_say_how_to_go_on(name, copy_of_chart):
    said = notes(name, copy_of_chart)
    for word in ("Listen", "Publish", 'curl -H "X-API-Key: $KEY"', "/metrics"):
        assert word in said, said
    assert ("helm test rel -n apps" in said) is (name != "alone")
    assert "<no value>" not in said and "%!" not in said


@pytest.mark.parametrize("name", FILES)
def test_each_line_of_the_notes_can_be_run_as_it_stands(name, copy_of_chart):
    """What does not return goes into the background, and the gateway's own program is the pods'."""
    lines = [line.strip() for line in notes(name, copy_of_chart).splitlines() if line.startswith("    ")]
    assert rendered(name).gateway()["spec"]["containers"][0]["name"] == "fanline"
    assert any("port-forward" in line for line in lines) and any(" listen " in line for line in lines)
    for line in lines:
        assert line.startswith(("kubectl -n apps ", "KEY=", "curl ")), line
        assert line.endswith(" &") is ("port-forward" in line), line
        assert ("fanline listen" in line or "fanline which" in line) is ("-c fanline -- /usr/local/bin/" in line), line


def test_the_notes_listen_where_the_gateway_does(copy_of_chart):
    elsewhere = "--set=config.public.listen=0.0.0.0:9000,service.port=8000,test.path=/rooms"
    moved = notes("minimal", copy_of_chart, elsewhere)
    assert "listen 'ws://localhost:9000/rooms?topic=hello'" in moved
    assert "ws://rel-fanline.apps:8000/rooms?topic=hello" in moved


HOME = "at its home: fanline which hello"


@pytest.mark.parametrize(
    ("arguments", "said", "unsaid"),
    [
        (["config.redis.url=redis://a"], "Redis, PUBLISH fanline:hello hi", HOME),
        (["config.redis.prefix=live/"], "Redis, PUBLISH live/hello hi", HOME),
        (
            ["config.redis.url=redis+cluster://a\\,b", "config.redis.sharded=true"],
            "Redis, SPUBLISH fanline:hello hi",
            HOME,
        ),
        (["config.redis.url={redis://a,redis://b}"], f"PUBLISH fanline:hello hi, {HOME}", "with several"),
        (["config.redis.url=redis://a\\,redis://b"], f"PUBLISH fanline:hello hi, {HOME}", "with several"),
        (["config.redis.url=", "secrets.redisUrl.value=redis://a"], "PUBLISH fanline:hello hi", HOME),
        (["config.redis.url=", "secrets.redisUrl.existingSecret=a"], f"hi (with several Redis, {HOME})", "SPUBLISH"),
    ],
)
def test_the_notes_publish_what_reaches_somebody(arguments, said, unsaid, copy_of_chart):
    shown = notes("minimal", copy_of_chart, *[f"--set={each}" for each in arguments])
    assert said in shown and unsaid not in shown, shown


def test_the_notes_of_no_replica(copy_of_chart):
    none = notes("minimal", copy_of_chart, "--set=replicaCount=0")
    assert "There is no replica: nobody can connect" in none and "There is one replica" not in none


def test_the_notes_warn(copy_of_chart):
    trial = notes("trial", copy_of_chart)
    for warning in (
        "trialRedis is for trials",
        "Every web page may connect",
        "made up at install",
        "tells /metrics to everybody",
        "No ServiceMonitor",
        'No registry has an image called just "fanline"',
    ):
        assert warning in trial
    assert "There is one replica" not in trial
    alone = notes(
        "minimal",
        copy_of_chart,
        "--set=config.redis.url=,podDisruptionBudget.enabled=false,resources.limits.memory=null",
    )
    for warning in (
        "There is no Redis",
        "There is one replica",
        "Without a PodDisruptionBudget",
        "a quarter of the node's memory",
    ):
        assert warning in alone


def test_the_notes_warn_of_ports_that_nobody_named(copy_of_chart):
    hidden = ("--set=config.redis.url=,secrets.redisUrl.existingSecret=redis,networkPolicy.enabled=true",)
    assert "List its ports in networkPolicy.redisPorts" in notes("minimal", copy_of_chart, *hidden)
    named = notes("minimal", copy_of_chart, *hidden, "--set=networkPolicy.redisPorts={6380}")
    assert "networkPolicy.redisPorts" not in named
    seen = notes("minimal", copy_of_chart, "--set=networkPolicy.enabled=true")
    assert "networkPolicy.redisPorts" not in seen


def test_the_notes_have_nothing_to_say_against_production(copy_of_chart):
    assert "Before production" not in notes("production", copy_of_chart)
