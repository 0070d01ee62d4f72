//! A client that came in: counted, on the roster, and with a task of its own until its end.

use std::sync::Arc;

use bytes::Bytes;
use tracing::debug;

use super::house::Threshold;
use super::socket::Tcp;
use crate::accept::Place;
use crate::close::Close;
use crate::connection::Connection;
use crate::metrics;
use crate::protocol::Form;

/// Gives a connection a task of its own, which begins with what came behind the handshake.
pub(super) fn settle(threshold: &Arc<Threshold>, connection: Box<Connection<Tcp>>, early: Bytes, place: Place) {
    threshold.house.tasks.spawn(converse(threshold.clone(), connection, Box::new(early), place));
}

// `early` is boxed, for it would have its room here as long as the connection lives.
async fn converse(threshold: Arc<Threshold>, mut connection: Box<Connection<Tcp>>, early: Box<Bytes>, place: Place) {
    let house = &threshold.house;
    let counted = Counted::open(&house.rooms.metrics, connection.outbox().protocol().form());
    let (protocol, extension) = (counted.form.label(), connection.outbox().extension());
    debug!(connection = %connection.id(), protocol, ?extension, "connection opened");
    let max_age = house.rooms.live.get().public.max_age.value();
    let enrolled = house.roster.enrol(connection.outbox(), threshold.pace.clone(), max_age);
    let beginning = &mut connection;
    // Moved in, so that its box goes with this and not with the connection.
    Box::pin(async move { beginning.begin(*early).await }).await;
    let close = connection.run().await;
    drop((enrolled, place));
    counted.close(&close);
    house.ends.log(&connection.id(), connection.client(), &close);
}

/// An open connection as the metrics show it; dropped without a word, by a panic say, it was lost.
struct Counted<'a> {
    metrics: &'a metrics::Metrics,
    form: Form,
    told: bool,
}

impl<'a> Counted<'a> {
    fn open(metrics: &'a metrics::Metrics, form: Form) -> Self {
        metrics.connections_opened.of(form).inc();
        metrics.connections.of(form).inc();
        Self { metrics, form, told: false }
    }

    fn close(mut self, close: &Close) {
        self.told = true;
        self.metrics.closed(close);
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.metrics.connections.of(self.form).dec();
        if !self.told {
            self.metrics.closed(&Close::Lost);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_panics_is_counted_out_as_one_that_is_closed() {
        let metrics = metrics::Metrics::new();
        let ended = |reason: &str| {
            let page = prometheus::TextEncoder::new().encode_to_string(&metrics.registry().gather()).unwrap();
            page.contains(&format!("fanline_connections_closed_total{{reason=\"{reason}\"}} 1\n"))
        };
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _counted = Counted::open(&metrics, Form::Json);
            assert_eq!(metrics.connections.of(Form::Json).get(), 0, "open");
        }));
        assert!(panicked.is_err());
        assert_eq!((metrics.connections.of(Form::Json).get(), ended("lost")), (0, true));
        Counted::open(&metrics, Form::Json).close(&Close::NoPong);
        assert_eq!((metrics.connections.of(Form::Json).get(), ended("no_pong"), ended("lost")), (0, true, true));
    }
}
