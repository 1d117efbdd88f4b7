//! Before the first record: makes or checks the file, its tables and its key. Writes to no file of another program.

use super::fault::{self, Moment};
use super::rows;
use super::{BUSY_TIMEOUT, LOOK_EVERY};
use crate::keyed::Key;
use astern_port::{Failure, FailureClass};
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use tokio::time::Instant;

/// Whoever owns the file, and nobody else: it holds templates and logs.
const MODE: u32 = 0o600;

/// Makes the file with its mode if there is none; otherwise checks that it may be written and is not another
/// program's, before SQLite writes to it.
pub(super) fn create_or_check(path: &Path, operation: &str) -> Result<(), Failure> {
    let failed = |error: std::io::Error| fault::file(path, operation, &error);
    match std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(path)
    {
        Ok(_) => {
            // A file that was made is durable once its folder is.
            let folder = path
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty())
                .unwrap_or(Path::new("."));
            return std::fs::File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(failed);
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(fault::foreign(path, operation, "it is not a regular file"));
    }
    let mut header = [0; 72];
    let read = std::os::unix::fs::FileExt::read_at(&file, &mut header, 0).map_err(failed)?;
    // Bytes 68 to 71 of a SQLite file are the application's id; 0 says nothing yet.
    let application = i32::from_be_bytes([header[68], header[69], header[70], header[71]]);
    if read > 0 && !header.starts_with(b"SQLite format 3\0") {
        return Err(fault::foreign(path, operation, "it is not a SQLite file"));
    }
    if application != 0 && application != rows::APPLICATION_ID {
        return Err(fault::foreign(
            path,
            operation,
            "it is a SQLite file of another program",
        ));
    }
    Ok(())
}

/// Makes tables and key in an empty file, and reads the key.
pub(super) async fn prepare(
    connection: &mut SqliteConnection,
    path: &Path,
    operation: &str,
) -> Result<Key, Failure> {
    let opening = |error| fault::failure(path, operation, &error, Moment::Open);
    if schema_version(connection).await.map_err(opening)? == SchemaVersion::Empty {
        let key = Key::random()?;
        begin_with_wal(connection).await.map_err(opening)?;
        // Another process may have made them meanwhile.
        if schema_version(connection).await.map_err(opening)? == SchemaVersion::Empty {
            sqlx::raw_sql(rows::SCHEMA)
                .execute(&mut *connection)
                .await
                .map_err(opening)?;
            let insert = sqlx::query("INSERT INTO vault_key (id, key) VALUES (1, ?1)").bind(key.bytes());
            insert.execute(&mut *connection).await.map_err(opening)?;
        }
        sqlx::query("COMMIT")
            .execute(&mut *connection)
            .await
            .map_err(opening)?;
    }
    match schema_version(connection).await.map_err(opening)? {
        SchemaVersion::Ours(rows::SCHEMA_VERSION) => {}
        SchemaVersion::Ours(other) => {
            return Err(fault::version(path, operation, other, rows::SCHEMA_VERSION));
        }
        SchemaVersion::Empty | SchemaVersion::Foreign => {
            return Err(fault::foreign(
                path,
                operation,
                "it is a SQLite file of another program",
            ));
        }
    }
    let row = sqlx::query("SELECT key FROM vault_key")
        .fetch_one(connection)
        .await
        .map_err(opening)?;
    let key: Vec<u8> = row.try_get(0).map_err(opening)?;
    Key::stored(&key).ok_or_else(|| {
        let message = format!(
            "the vault's key in {} is damaged; nothing was changed",
            path.display()
        );
        Failure::new(FailureClass::Permanent, operation, message).hint(fault::recover(path))
    })
}

/// Switching to the write-ahead log takes the whole file for a moment, without SQLite's own waiting for others.
async fn begin_with_wal(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let deadline = Instant::now() + BUSY_TIMEOUT;
    loop {
        match sqlx::query("PRAGMA journal_mode = WAL")
            .execute(&mut *connection)
            .await
        {
            Ok(_) => break,
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(sqlx::Error::Database(error)) if error.message().contains("locked") => {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Err(error) => return Err(error),
        }
    }
    sqlx::query("BEGIN IMMEDIATE")
        .execute(connection)
        .await
        .map(|_| ())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SchemaVersion {
    Empty,
    Ours(i32),
    Foreign,
}

async fn schema_version(connection: &mut SqliteConnection) -> Result<SchemaVersion, sqlx::Error> {
    let application: i32 = sqlx::query("PRAGMA application_id")
        .fetch_one(&mut *connection)
        .await?
        .try_get(0)?;
    let version: i32 = sqlx::query("PRAGMA user_version")
        .fetch_one(&mut *connection)
        .await?
        .try_get(0)?;
    let tables: i64 = sqlx::query("SELECT count(*) FROM sqlite_schema")
        .fetch_one(connection)
        .await?
        .try_get(0)?;
    Ok(match (application, tables) {
        (0, 0) => SchemaVersion::Empty,
        (rows::APPLICATION_ID, _) => SchemaVersion::Ours(version),
        _ => SchemaVersion::Foreign,
    })
}

/// Takes an older file's permissions from everybody but its owner. Only for a file that is known to be ours.
pub(super) fn close_to_others(path: &Path, operation: &str) -> Result<(), Failure> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(MODE))
        .map_err(|error| fault::file(path, operation, &error))
}
