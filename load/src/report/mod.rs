//! From samples to figures, from figures to tables and files.

pub mod figures;
pub mod progress;
pub mod results;
