//! Publishes one message from Rust: one line on any Redis client.
//!
//!     REDIS_URL=redis://127.0.0.1:6379 cargo run --example publish

use redis::Commands;

fn main() -> redis::RedisResult<()> {
    let url = std::env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".into());
    redis::Client::open(url)?.get_connection()?.publish("fanline:hello", "hi")
}
