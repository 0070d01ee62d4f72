"""What a fleet does: its size, its clients, what it delivers, and what of that went wrong."""

from dashboard.look import Row, graph, heat, number, states

# Whose process_ metrics are ours.
OURS = "and on (namespace, job, instance) fanline_build_info"


def quantiles(name):
    """The histogram's median, its tenth and its hundredth from above."""
    buckets = f"sum by (le) (rate({name}_bucket{{@}}[$__rate_interval]))"
    return {f"histogram_quantile({q}, {buckets})": f"p{q * 100:g}" for q in (0.5, 0.9, 0.99)}


FLEET = Row("Fleet", [
    number("Replicas", "none", "How many are ready, of those that are scraped.", {
        "sum(fanline_ready{@})": "ready",
        "count(fanline_build_info{@})": "scraped",
    }),
    number("Open connections", "short", "Open connections of the whole fleet.", {"sum(fanline_connections{@})": "open"}),
    number("Deliveries now", "mps", "Publications written to, or queued for, a client.", {
        "sum(rate(fanline_deliveries_total{@}[$__rate_interval]))": "deliveries",
    }),
    number("Delivery latency (p99)", "s", "From the header's ts to the last subscriber. It needs producers that send ts, and their clocks.", {
        "histogram_quantile(0.99, sum by (le) (rate(fanline_delivery_latency_seconds_bucket{@}[$__rate_interval])))": "p99",
    }, at=(1, 2.5)),
    number("Gaps told", "eps", "Subscriptions told that they may have missed something. After an outage of Redis all are, once.", {
        "sum(rate(fanline_gaps_total{@}[$__rate_interval]))": "gaps",
    }, at=(0.1,)),
    number("Replicas with a link to Redis", "percentunit", "Below 100 % some clients get nothing. A replica alone has no link.", {
        "avg(fanline_redis_connected{@} > bool 0)": "linked",
    }, at=(1, 0.5)),
    states("Ready", "/readyz of each replica. Red without a drain is a replica that does not hear Redis.", {
        "min by (instance) (fanline_ready{@})": "{{instance}}",
    }, (("not ready", "red"), ("ready", "green"))),
])

CONNECTIONS = Row("Connections", [
    graph("By replica", "short", "Where the clients are. A new replica begins at none: only new connections go there.", {
        "sum by (instance) (fanline_connections{@})": "{{instance}}",
    }, stack=True),
    graph("By protocol", "short", "What they speak.", {
        "sum by (protocol) (fanline_connections{@})": "{{protocol}}",
    }, stack=True),
    graph("Fullest replica by the mean", "percentunit", "100 % is balance. Above 130 % for half an hour: POST /api/shed, or set public.max_age.", {
        "max by (namespace, job) (sum without (protocol) (fanline_connections{@}))"
        " / avg by (namespace, job) (sum without (protocol) (fanline_connections{@}))": "{{namespace}} {{job}}",
    }, at=(1.3,)),
    graph("Opened and closed", "eps", "A storm of reconnects is a peak of both.", {
        "sum(rate(fanline_connections_opened_total{@}[$__rate_interval]))": "opened",
        "sum(rate(fanline_connections_closed_total{@}[$__rate_interval]))": "closed",
    }),
    graph("Closed, by reason", "eps", "The README's table of close codes says what each reason means.", {
        "sum by (reason) (rate(fanline_connections_closed_total{@}[$__rate_interval]))": "{{reason}}",
    }, stack=True),
    graph("Topics and subscriptions", "short", "Topics count on each replica that has a listener. Those not live wait for Redis.", {
        "sum(fanline_subscriptions{@})": "subscriptions",
        "sum(fanline_topics{@})": "topics",
        "sum(fanline_live_topics{@})": "live topics",
    }),
])

FANOUT = Row("Fan-out: cost and latency", [
    graph("Publications, by source", "mps", "Each replica with a listener takes one in. Stray ones went past their topic's history.", {
        "sum by (source) (rate(fanline_publications_total{@}[$__rate_interval]))": "{{source}}",
    }),
    graph("Deliveries, by protocol", "mps", "Publications written to, or queued for, a client.", {
        "sum by (protocol) (rate(fanline_deliveries_total{@}[$__rate_interval]))": "{{protocol}}",
    }, stack=True),
    graph("Bytes out", "Bps", "Of deliveries, framed; a network card has a limit, too.", {
        "sum by (instance) (rate(fanline_delivered_bytes_total{@}[$__rate_interval]))": "{{instance}}",
    }, stack=True),
    graph("CPU per delivery", "s", "All CPU by all deliveries, so a quiet fleet looks dear. A few µs; less when publications come together.", {
        f"sum(rate(process_cpu_seconds_total{{@}}[$__rate_interval]) {OURS})"
        " / sum(rate(fanline_deliveries_total{@}[$__rate_interval]))": "CPU per delivery",
    }),
    graph("Deliveries per publication", "short", "How many clients a publication meets on one replica.", {
        'sum(rate(fanline_deliveries_total{@}[$__rate_interval])) / sum(rate(fanline_publications_total{source="broker", @}[$__rate_interval]))': "deliveries",
    }),
    graph("Inbox", "short", "Publications waiting for a shard. At 65,536 for one shard, what comes is dropped and told.", {
        "sum by (instance) (fanline_inbox_publications{@})": "{{instance}}",
        'max(fanline_limit{name="inbox_publications", @})': "limit of one shard",
    }),
    graph("Fan-out time", "s", "From the push out of Redis to the last subscriber written or queued.",
        quantiles("fanline_broadcast_seconds"), at=(1,)),
    heat("Fan-out time, all of it", "The same, each bucket's share over time.",
        "sum by (le) (increase(fanline_broadcast_seconds_bucket{@}[$__rate_interval]))"),
    graph("Delivery latency", "s", "From the header's ts to the last subscriber: with Redis, and the producers' clocks.",
        quantiles("fanline_delivery_latency_seconds"), at=(2.5,)),
])

LOSS = Row("Loss", [
    graph("Gaps told, by reason", "eps", "Subscriptions told that they may have missed something. `slow` is their client's own doing.", {
        "sum by (reason) (rate(fanline_gaps_total{@}[$__rate_interval]))": "{{reason}}",
    }, stack=True),
    graph("Not delivered, by reason", "mps", "`slow` are deliveries that a topic's rule drops or conflates; the others are publications.", {
        "sum by (reason) (rate(fanline_dropped_total{@}[$__rate_interval]))": "{{reason}}",
    }, stack=True),
    graph("Recovered, by outcome", "eps", "On topics with a history: clients that resumed or could not, topics healed or lost.", {
        "sum by (outcome) (rate(fanline_recovered_total{@}[$__rate_interval]))": "{{outcome}}",
    }, stack=True),
])
