//! The language's bytes, a contract.

mod reading;
mod writing;
