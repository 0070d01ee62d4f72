"""redis.md is true: with the rights it lists everything works and nothing is refused; without any one of them that fails
which its tables say. And what a history holds is what it says."""

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
import redis
from conftest import ROOT, need
from guides_redis import STEPS, Trial
from guides_world import OPERATE
from programs import Gateway, Program, RedisServer
from world import free_port, until

GUIDE = (OPERATE / "redis.md").read_text(encoding="utf-8")
LINES = {kind: text.strip().splitlines() for kind, text in re.findall(r"```text acl (\w+)\n(.*?)```", GUIDE, re.S)}

# Each mode: its lines, and how it is tried. What the tables say of a right holds where its line came in.
MODES = {
    "plain": (["plain"], {}),
    "histories": (["plain", "histories"], {"histories": True}),
    "cluster": (["plain", "histories", "cluster"], {"histories": True, "cluster": 2}),
    "sharded": (["plain", "histories", "cluster", "sharded"], {"histories": True, "cluster": 2, "sharded": True}),
}


def lines_of(mode):
    return [line for kind in MODES[mode][0] for line in LINES[kind]]


def promised():
    """What the tables say: (mode, user, right, what fails without it)."""
    for mode in MODES:
        table = GUIDE.split(f"```text acl {mode}\n")[1].split("```", 1)[1].split("```")[0]
        for user, rights, fails in re.findall(r"^\| (fanline|producer) \| (.+?) \| ([^|]+) \|$", table, re.M):
            for right in re.findall(r"`(.+?)`", rights):
                yield mode, user, right.replace("\\|", "|"), fails.split(", ")


def test_every_right_that_is_given_has_its_line_in_the_tables():
    given = {
        (mode, line.split()[2], word)
        for mode in MODES for line in LINES[mode] for word in line.split()[3:] if word[0] in "+~&"
    }
    assert given == {(mode, user, right) for mode, user, right, _ in promised()}
    named = {step for *_, fails in promised() for step in fails}
    assert named <= {step.__doc__ for step in STEPS}, "what fails is a step that is tried"


@pytest.mark.parametrize("mode", MODES)
def test_with_these_rights_everything_works_and_nothing_is_refused(mode, tmp_path):
    with Trial(tmp_path / mode, lines_of(mode), **MODES[mode][1]) as trial:
        assert trial.all(patience=15) == [], trial.failed
        looks = {("fanline", "config|get"), ("fanline", "fcall")}
        assert trial.denied() <= looks, "but for what check-config looks at"


def without(case):
    """What comes of it where one right is missing: nothing, or what the table has wrong."""
    home, (mode, user, right, fails) = case
    lines = [
        " ".join(word for word in line.split() if (word, line.split()[2]) != (right, user)) for line in lines_of(mode)
    ]
    with Trial(home, lines, **MODES[mode][1]) as trial:
        missed = set(fails) - set(trial.all(patience=2))
        said = f"{mode}: {user} without {right}"
        if missed:
            return f"{said}: these work all the same: {missed}"
        return "" if any(who == user for who, _ in trial.denied()) else f"{said}: Redis has refused nothing"


def test_without_any_one_of_them_that_fails_which_the_guide_says(tmp_path):
    cases = [(tmp_path / str(number), case) for number, case in enumerate(promised())]
    with ThreadPoolExecutor(6) as pool:
        assert [wrong for wrong in pool.map(without, cases) if wrong] == []


def test_the_readme_gives_the_same_rights():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```text acl\n(.*?)```", readme, re.S)
    assert sorted("".join(blocks).splitlines()) == sorted(LINES["plain"] + LINES["histories"])
    assert "`+cluster|slots +cluster|info +asking`" in readme and "`+ssubscribe +sunsubscribe +spublish`" in readme


def sentinel(home, master):
    """A Sentinel that watches a master."""
    file, port = home / "sentinel.conf", free_port()
    file.write_text(f"port {port}\nbind 127.0.0.1\nsentinel monitor mymaster 127.0.0.1 {master} 1\n")
    program = Program(home, "sentinel", need("redis-server"), file, "--sentinel").takes(port)
    return program, port


@pytest.mark.parametrize("missing", ["", "+sentinel|get-master-addr-by-name", "+sentinel|master"])
def test_the_user_on_sentinels_needs_what_the_guide_says(missing, tmp_path):
    with ExitStack() as running:
        program, port = sentinel(tmp_path, running.enter_context(RedisServer(tmp_path)).port)
        running.enter_context(program)
        asked = redis.Redis(port=port, decode_responses=True)
        asked.execute_command(*[word for word in LINES["sentinel"][0].split() if word != missing])
        url = f"--redis-url=redis+sentinel://127.0.0.1:{port}/mymaster"
        user = ["--set=redis.sentinel_username=fanline", "--set=redis.sentinel_password=secret"]
        gateway = running.enter_context(Gateway(tmp_path, "gateway", "", url, *user))
        if missing.endswith("by-name"):
            until("Redis refuses", lambda: "get-master-addr" in str(asked.execute_command("ACL", "LOG")))
            with pytest.raises(AssertionError, match="503"):
                gateway.ask("/readyz")
        else:
            gateway.ready()
            refused = str(asked.execute_command("ACL", "LOG"))
            assert ("sentinel|master" in refused) == bool(missing), refused


def kept_bytes(trial, topics, each, payload):
    """What Redis holds for each of these topics."""
    server = trial.nodes[0]
    server.flushall()
    before = server.info("memory")["used_memory"]
    pipe = server.pipeline(transaction=False)
    for _ in range(each):
        for topic in range(topics):
            pipe.execute_command("FCALL", "fanline_publish", 1, f"fanline:orders:{topic:05}", "x" * payload)
    pipe.execute()
    return (server.info("memory")["used_memory"] - before) / topics


def ids_bytes(trial, many):
    """What Redis holds for each name that a publication has."""
    server = trial.nodes[0]
    server.flushall()
    before = server.info("memory")["used_memory"]
    pipe = server.pipeline(transaction=False)
    for number in range(many):
        pipe.execute_command("FCALL", "fanline_publish", 1, "fanline:news", "hi", "ID", f"order-{number:06}-paid")
    pipe.execute()
    return (server.info("memory")["used_memory"] - before) / many


def test_a_history_holds_what_the_guide_says(tmp_path):
    with Trial(tmp_path / "trial", lines_of("histories"), histories=True) as trial:
        until("the function is there", lambda: trial.nodes[0].function_list("fanline1"))
        least, most = map(int, re.search(r"payload \+ (\d+) to (\d+)", GUIDE).groups())
        for payload in (128, 512):
            assert least * 0.9 < kept_bytes(trial, 200, 100, payload) / 100 - payload < most * 1.1
        topic = int(re.search(r"however little it keeps \| ([\d,]+)", GUIDE)[1].replace(",", ""))
        assert topic * 0.9 < kept_bytes(trial, 2000, 1, 128) < topic * 1.1
        name = int(re.search(r"`idempotency_key` \| about (\d+)", GUIDE)[1])
        assert name * 0.8 < ids_bytes(trial, 5000) < name * 1.2


def test_what_the_guide_sets_redis_takes(tmp_path):
    with RedisServer(tmp_path) as server:
        said = redis.Redis(port=server.port, decode_responses=True)
        for line in re.findall(r"^redis-cli CONFIG SET (\S+) \"(.*)\"$", GUIDE, re.M):
            assert said.config_set(*line)
        table = GUIDE.split("| setting of Redis |")[1].split("\n\n")[0]
        for names, value in re.findall(r"^\| (`[a-z`, -]+`) \| ([\d,]+)?", table, re.M):
            for name in re.findall(r"`(.+?)`", names):
                found = said.config_get(name)
                assert found, name
                if "(the default)" in table.split(f"`{name}`")[1].split("|")[1]:
                    assert found[name] == value.replace(",", ""), name
        assert said.config_get("stream-node-max-bytes") and said.config_get("min-replicas-to-write")
