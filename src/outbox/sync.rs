//! The outbox's lock and counters, replaced by loom's where the model checker runs.

#[cfg(fanline_loom)]
mod chosen {
    pub use loom::sync::atomic::{AtomicUsize, Ordering};
    pub type Guard<'a, T> = loom::sync::MutexGuard<'a, T>;

    /// Loom's mutex with the interface of `parking_lot`.
    pub struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub fn lock(&self) -> Guard<'_, T> {
            self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
        }
    }
}

#[cfg(not(fanline_loom))]
mod chosen {
    pub use parking_lot::{Mutex, MutexGuard as Guard};
    pub use std::sync::atomic::{AtomicUsize, Ordering};
}

pub use chosen::{AtomicUsize, Guard, Mutex, Ordering};
