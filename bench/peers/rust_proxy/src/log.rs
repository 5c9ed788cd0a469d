//! Durable records: one writer thread, group commit, SQLite with WAL and synchronous FULL.

use std::path::Path;
use std::thread;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

const WAITING: usize = 4096;
const BATCH: usize = 512;

struct Entry {
    data: Vec<u8>,
    done: oneshot::Sender<i64>,
}

#[derive(Clone)]
pub struct Log {
    queue: mpsc::Sender<Entry>,
}

/// The log could not be written; the call must not go on.
#[derive(Debug)]
pub struct Unwritable;

impl Log {
    pub fn open(file: &Path) -> rusqlite::Result<Log> {
        let database = Connection::open(file)?;
        database.pragma_update(None, "journal_mode", "WAL")?;
        database.pragma_update(None, "synchronous", "FULL")?;
        database.execute_batch(
            "CREATE TABLE IF NOT EXISTS record (place INTEGER PRIMARY KEY, data BLOB NOT NULL)",
        )?;
        let (queue, entries) = mpsc::channel(WAITING);
        thread::spawn(move || write(database, entries));
        Ok(Log { queue })
    }

    /// Append one record; returns its place when it is on the disk.
    pub async fn commit(&self, data: Vec<u8>) -> Result<i64, Unwritable> {
        let (done, committed) = oneshot::channel();
        let entry = Entry { data, done };
        self.queue.send(entry).await.map_err(|_| Unwritable)?;
        committed.await.map_err(|_| Unwritable)
    }
}

/// A batch begins with the first entry that waits, and takes what has come meanwhile.
fn write(mut database: Connection, mut entries: mpsc::Receiver<Entry>) {
    let mut batch = Vec::with_capacity(BATCH);
    while let Some(first) = entries.blocking_recv() {
        batch.push(first);
        while batch.len() < BATCH {
            match entries.try_recv() {
                Ok(entry) => batch.push(entry),
                Err(_) => break,
            }
        }
        match append(&mut database, &batch) {
            Ok(places) => {
                for (entry, place) in batch.drain(..).zip(places) {
                    // A caller who has gone away does not wait any more.
                    let _ = entry.done.send(place);
                }
            }
            Err(error) => {
                eprintln!("the log could not be written: {error}");
                batch.clear();
            }
        }
    }
}

fn append(database: &mut Connection, batch: &[Entry]) -> rusqlite::Result<Vec<i64>> {
    let transaction = database.transaction()?;
    let mut places = Vec::with_capacity(batch.len());
    {
        let mut insert = transaction.prepare_cached("INSERT INTO record (data) VALUES (?1)")?;
        for entry in batch {
            places.push(insert.insert([&entry.data])?);
        }
    }
    transaction.commit()?;
    Ok(places)
}
