"""What it needs for that: Redis, room for slow clients, a door, and a machine."""

from dashboard.look import Row, graph, heat, number
from dashboard.panels_work import OURS, quantiles


def share(what, limit):
    """Of each replica's bound, how much is taken."""
    return f'sum by (instance) ({what}) / on (instance) sum by (instance) (fanline_limit{{name="{limit}", @}})'


REDIS = Row("Redis", [
    graph("Links up", "none", "redis.links for each URL of redis.url, on each replica.", {
        "sum by (instance) (fanline_redis_connected{@})": "{{instance}}",
    }),
    graph("Canaries heard", "cps", "The proof that a link hears: one each 2 s, for each link and master. None for 3 s, and the link is given up.", {
        "sum by (instance) (rate(fanline_redis_canary_rtt_seconds_count{@}[$__rate_interval]))": "{{instance}}",
    }),
    graph("Canary's round trip", "s", "From its publish to its arrival: what a publication takes to a replica.",
        quantiles("fanline_redis_canary_rtt_seconds"), at=(0.25,)),
    graph("Attempts that failed, by reason", "eps", "tls and auth do not mend themselves; the others end when Redis is back.", {
        "sum by (reason) (rate(fanline_redis_failures_total{@}[$__rate_interval]))": "{{reason}}",
    }, stack=True),
    graph("Publications that came to nothing", "eps", "away: nobody answers. The others are Redis' words; loading, busy and readonly end by themselves.", {
        "sum by (reason) (rate(fanline_publish_failures_total{@}[$__rate_interval]))": "{{reason}}",
    }, stack=True),
    graph("Share of limits.replica_topics", "percentunit", "At 100 % a client that asks for another topic is refused; those that linger have gone then.", {
        share("fanline_topics{@}", "replica_topics"): "{{instance}}",
    }, at=(0.7, 1)),
    graph("Links made again", "short", "Each time, what was published meanwhile is healed from histories, or told as a gap.", {
        "sum by (instance) (increase(fanline_redis_reconnects_total{@}[$__rate_interval]))": "{{instance}}",
    }, stack=True),
    graph("Topics that wait for Redis", "short", "Their listeners get nothing. New ones wait for milliseconds.", {
        "sum by (instance) (fanline_topics{@}) - sum by (instance) (fanline_live_topics{@})": "{{instance}}",
    }),
    graph("Until all topics were live again", "s", "After a link's connect; 100,000 topics take 0.3 s.",
        quantiles("fanline_redis_resubscribe_seconds"), at=(2.5,)),
    heat("Canary's round trip, all of it", "Two bands are two ways to Redis, or a busy one.",
        "sum by (le) (increase(fanline_redis_canary_rtt_seconds_bucket{@}[$__rate_interval]))"),
    number("Certificate towards Redis", "dtdurations", "Until the first of those in use ends; a renewed one holds from the next start on. No value without TLS.", {
        "min((fanline_certificate_expiry_timestamp_seconds{@} - time())"
        " * (fanline_certificate_expiry_timestamp_seconds{@} / fanline_certificate_expiry_timestamp_seconds{@}))": "left",
    }, at=(1209600, 259200), span=8),
])

SLOW = Row("Slow consumers", [
    graph("Bytes waiting for clients", "bytes", "In the outboxes; the kernel's are not among them.", {
        "sum by (instance) (fanline_outbox_bytes{@})": "{{instance}}",
    }, stack=True),
    graph("Share of outbox.total", "percentunit", "At 100 % the fullest clients are closed (4102), until an eighth is free again.", {
        share("fanline_outbox_bytes{@}", "outbox_total_bytes"): "{{instance}}",
    }, at=(0.7, 1)),
    graph("Closed for it", "eps", "slow: this client's own outbox was full, or it took nothing. overloaded: all of them together were full.", {
        'sum by (reason) (rate(fanline_connections_closed_total{reason=~"slow|overloaded|no_pong", @}[$__rate_interval]))': "{{reason}}",
    }, stack=True),
])

UNFINISHED = Row("Unfinished messages", [
    graph("Bytes held for messages that are not all here", "bytes", "Fragments and slow senders. Whole messages hold none.", {
        "sum by (instance) (fanline_unfinished_bytes{@})": "{{instance}}",
    }, stack=True),
    graph("Share of inbound.total", "percentunit", "From 87 % on the message that waits longest makes room: its client is closed (4104).", {
        share("fanline_unfinished_bytes{@}", "unfinished_bytes"): "{{instance}}",
    }, at=(0.7, 1)),
    graph("Closed for an unfinished message", "eps", "unfinished: a message took longer than inbound.timeout, or made room for others.", {
        'sum by (instance) (rate(fanline_connections_closed_total{reason="unfinished", @}[$__rate_interval]))': "{{instance}}",
    }, stack=True),
])

DRAIN = Row("Drain and shed", [
    graph("Replicas that drain", "short", "From SIGTERM on, through drain.delay. A rolling restart has one at a time.", {
        "sum by (instance) (fanline_draining{@})": "{{instance}}",
    }, stack=True),
    graph("Left to close by a drain", "short", "A straight way down over drain.window. What is left at its end is cut.", {
        "sum by (instance) (fanline_drain_remaining{@})": "{{instance}}",
    }),
    graph("Left to close by a shed", "short", "What POST /api/shed was asked for and has not done yet.", {
        "sum by (instance) (fanline_shed_remaining{@})": "{{instance}}",
    }),
    graph("Sent elsewhere, by reason", "eps", "Each is told when to come back. A flat top is a good pace.", {
        'sum by (reason) (rate(fanline_connections_closed_total{reason=~"drain|shed|max_age", @}[$__rate_interval]))': "{{reason}}",
    }, stack=True),
])

ADMISSION = Row("Admission", [
    graph("Handshakes, by outcome", "reqps", "busy is 503 with Retry-After: no place, or too many handshakes at once.", {
        "sum by (outcome) (rate(fanline_handshakes_total{@}[$__rate_interval]))": "{{outcome}}",
    }, stack=True),
    graph("Turned away for want of room", "percentunit", "busy and dropped, of all. A storm lasts a minute or two.", {
        'sum(rate(fanline_handshakes_total{outcome=~"busy|dropped", @}[$__rate_interval]))'
        " / clamp_min(sum(rate(fanline_handshakes_total{@}[$__rate_interval])), 0.1)": "turned away",
    }, at=(0.1,)),
    graph("Share of the places", "percentunit", "Connections by public.max_connections.", {
        share("fanline_connections{@}", "connections"): "{{instance}}",
    }, at=(0.85, 1)),
    graph("Sockets that are not in", "short", "Not answered yet, or turned away and not gone. Many for long: somebody holds them. When fanline_limit{name=\"sockets\"} is reached the oldest gives way (dropped).", {
        "sum by (instance) (fanline_handshakes_open{@})": "{{instance}}",
    }),
    graph("Messages from clients, by outcome", "mps", "rate_limited ones cost their client its connection (4101).", {
        "sum by (outcome) (rate(fanline_inbound_messages_total{@}[$__rate_interval]))": "{{outcome}}",
    }, stack=True),
    graph("Share of the descriptors", "percentunit", "Each connection takes one.", {
        share(f"process_open_fds{{@}} {OURS}", "descriptors"): "{{instance}}",
    }, at=(0.9, 1)),
    graph("Reloads that failed", "short", "The old configuration holds; the next start fails.", {
        "sum by (instance) (increase(fanline_reload_failures_total{@}[$__rate_interval]))": "{{instance}}",
    }),
    graph("Lines of the log dropped", "short", "Whoever reads the log stands still or is too slow; a full disk.", {
        "sum by (instance) (increase(fanline_log_lines_dropped_total{@}[$__rate_interval]))": "{{instance}}",
    }),
])

PROCESS = Row("Process", [
    graph("CPU", "short", "Cores in use. Each shard can use one.", {
        f"rate(process_cpu_seconds_total{{@}}[$__rate_interval]) {OURS}": "{{instance}}",
    }),
    graph("Memory", "bytes", "Of the process alone. The container is charged for the kernel's sockets, too.", {
        f"process_resident_memory_bytes{{@}} {OURS}": "{{instance}}",
        'min(fanline_limit{name="memory_bytes", @})': "limit",
    }),
    graph("Share of the memory, with the kernel's", "percentunit", "With about 4.2 KiB of the kernel for each connection. Slow clients take more there.", {
        share(f"(process_resident_memory_bytes{{@}} {OURS}) + sum without (protocol) (fanline_connections{{@}}) * 4300", "memory_bytes"): "{{instance}}",
    }, at=(0.85, 1)),
    graph("Versions", "none", "How many replicas run each.", {"count by (version) (fanline_build_info{@})": "{{version}}"}, stack=True),
    graph("Up since", "dtdurations", "A saw is a process that ends too often.", {
        f"time() - process_start_time_seconds{{@}} {OURS}": "{{instance}}",
    }),
    graph("Threads", "none", "One for each core that it may use, and a few.", {
        f"process_threads{{@}} {OURS}": "{{instance}}",
    }),
])
