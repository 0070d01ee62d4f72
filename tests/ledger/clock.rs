//! A clock for Redis that can be set, by libfaketime.

use std::path::{Path, PathBuf};
use std::{env, fs};

use tempfile::NamedTempFile;

/// What Redis takes for the wall clock; its timers go by the machine's.
pub struct Clock {
    library: PathBuf,
    offset: NamedTempFile,
}

impl Clock {
    /// None where OFFLINE=1 and libfaketime is not on this machine; without OFFLINE that fails the test.
    pub fn find() -> Option<Self> {
        let places = ["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(Path::new);
        let triple = format!("{}-linux-gnu/faketime/libfaketime.so.1", env::consts::ARCH);
        let names = [triple.as_str(), "faketime/libfaketime.so.1"];
        let mut all = places.iter().flat_map(|place| names.map(|name| place.join(name)));
        let Some(library) = all.find(|path| path.exists()) else {
            let offline = env::var("OFFLINE").as_deref() == Ok("1");
            assert!(offline, "libfaketime is not installed: apt-get install libfaketime, or set OFFLINE=1");
            println!("skipped: libfaketime is not installed and OFFLINE=1");
            return None;
        };
        let clock = Self { library, offset: NamedTempFile::new().unwrap() };
        clock.set(0);
        Some(clock)
    }

    /// What Redis must find in its environment.
    pub fn environment(&self) -> [(&'static str, String); 4] {
        [
            // Redis' own allocator asks for the time before libfaketime is ready; the C library's does not.
            ("LD_PRELOAD", format!("{} libc.so.6", self.library.display())),
            ("FAKETIME_TIMESTAMP_FILE", self.offset.path().display().to_string()),
            ("FAKETIME_CACHE_DURATION", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ]
    }

    /// So many seconds before or behind the machine's, within a second.
    pub fn set(&self, seconds: i64) {
        fs::write(self.offset.path(), format!("{seconds:+}")).unwrap();
    }
}
