//! From samples to figures, from figures to tables and files.

pub mod comparison;
pub mod estimate;
pub mod figures;
mod picture;
mod pictures;
pub mod progress;
pub mod results;
pub mod section;
