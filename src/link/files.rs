//! Small files that are replaced while we run: secrets and certificates. Read without keeping a thread of the runtime
//! waiting, whatever they lie on.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// The longest that a dial waits for a file.
const WAIT: Duration = Duration::from_secs(1);

/// No file of ours is longer; keeps a slip such as `/dev/zero` from filling the memory.
pub(super) const LONGEST: u64 = 1 << 20;

/// A file system that hangs costs so many threads and no more.
static READERS: Semaphore = Semaphore::const_new(4);

/// The content of each file; none of what is no file (any more), as a pipe that was read at the start.
pub(super) async fn read(paths: Vec<PathBuf>) -> Result<Vec<Option<Vec<u8>>>, String> {
    let reading = async {
        let reader = READERS.acquire().await.map_err(|closed| closed.to_string())?;
        let task = spawn_blocking(move || {
            let _reader = reader;
            paths.iter().map(|path| content(path).map_err(|error| format!("{}: {error}", path.display()))).collect()
        });
        task.await.unwrap_or_else(|error| Err(error.to_string()))
    };
    timeout(WAIT, reading).await.unwrap_or_else(|_| Err(format!("it was not read within {} ms", WAIT.as_millis())))
}

fn content(path: &PathBuf) -> io::Result<Option<Vec<u8>>> {
    // Looked at before it is opened: to open a pipe is to wait for its writer.
    if !std::fs::metadata(path)?.is_file() {
        return Ok(None);
    }
    let mut content = Vec::new();
    File::open(path)?.take(LONGEST + 1).read_to_end(&mut content)?;
    match content.len() as u64 > LONGEST {
        true => Err(io::Error::other("it is larger than 1MiB")),
        false => Ok(Some(content)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_read_and_what_is_none_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        assert!(read(vec![path.clone()]).await.unwrap_err().contains("secret: "));
        std::fs::write(&path, "one").unwrap();
        let found = read(vec![path.clone(), "/dev/null".into()]).await;
        assert_eq!(found, Ok(vec![Some(b"one".to_vec()), None]));
        std::fs::write(&path, vec![b'x'; (1 << 20) + 1]).unwrap();
        assert!(read(vec![path]).await.unwrap_err().contains("1MiB"));
    }
}
