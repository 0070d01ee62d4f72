//! What is measured: one running server, two beside each other, and the bench that runs every case.

pub mod bench;
pub mod fanout;
pub mod pair;
pub mod pairs;
