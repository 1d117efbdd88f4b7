//! What SQLite's errors mean for a person: what was stored, what was not, what to type next. Decides only.

use astern_port::{Failure, FailureClass};
use sqlx::error::DatabaseError;
use std::path::Path;

/// When it went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// While opening the file.
    Open,
    /// While reading.
    Read,
    /// While writing, before the commit.
    Write,
    /// While committing.
    Commit,
}

/// What can be wrong, as far as a person would do something else about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Full,
    Busy,
    ReadOnly,
    Moved,
    CannotOpen,
    Damaged,
    NotOurs,
    Disk,
    Other,
}

// https://www.sqlite.org/rescode.html
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const READONLY: i32 = 8;
const IOERR: i32 = 10;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CANTOPEN: i32 = 14;
const NOTADB: i32 = 26;
/// The file was moved or deleted while it was open.
const READONLY_DBMOVED: i32 = READONLY | (4 << 8);
/// A write came back short; a limit on file sizes (`ulimit -f`, a quota) shows itself so, not as `FULL`.
const IOERR_WRITE: i32 = IOERR | (3 << 8);
/// The shared index could not grow: the same.
const IOERR_SHMSIZE: i32 = IOERR | (19 << 8);
/// The write-ahead log could not be extended: the same.
const IOERR_TRUNCATE: i32 = IOERR | (6 << 8);

fn trouble(code: i32) -> Trouble {
    match code {
        READONLY_DBMOVED => return Trouble::Moved,
        IOERR_WRITE | IOERR_SHMSIZE | IOERR_TRUNCATE => return Trouble::Full,
        _ => {}
    }
    match code & 0xff {
        FULL => Trouble::Full,
        BUSY | LOCKED => Trouble::Busy,
        READONLY => Trouble::ReadOnly,
        CORRUPT => Trouble::Damaged,
        NOTADB => Trouble::NotOurs,
        CANTOPEN => Trouble::CannotOpen,
        IOERR => Trouble::Disk,
        _ => Trouble::Other,
    }
}

/// Whether a smaller write might have found room.
pub(super) fn is_full(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(|database| trouble(code(database)) == Trouble::Full)
}

fn code(error: &dyn DatabaseError) -> i32 {
    error
        .code()
        .and_then(|code| code.parse().ok())
        .unwrap_or_default()
}

/// The failure that a person reads and the engine acts on.
pub(super) fn failure(path: &Path, operation: &str, error: &sqlx::Error, moment: Moment) -> Failure {
    let (trouble, words) = match error {
        sqlx::Error::Database(database) => (trouble(code(&**database)), database.message().to_owned()),
        sqlx::Error::Io(io) => (Trouble::Disk, io.to_string()),
        sqlx::Error::WorkerCrashed => (Trouble::Disk, "the thread that writes it ended".to_owned()),
        // A value of another type than the schema's: the file was altered. The words may quote the value.
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
            (Trouble::Damaged, "a value has the wrong type".to_owned())
        }
        other => (Trouble::Other, other.to_string()),
    };
    describe(path, operation, trouble, &words, moment)
}

fn describe(path: &Path, operation: &str, trouble: Trouble, words: &str, moment: Moment) -> Failure {
    let file = path.display();
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let folder = folder.display();
    let stored = match (moment, trouble) {
        (Moment::Open | Moment::Read, _) => "; nothing was changed",
        (Moment::Commit, Trouble::Disk | Trouble::Other) => "; whether this was stored is not known",
        (Moment::Write | Moment::Commit, _) => {
            "; nothing of this was stored, and what was stored before is still there"
        }
    };
    let (class, what, hint) = match trouble {
        Trouble::Full => (
            FailureClass::Transient { retry_after_ms: None },
            format!("there is no room to write {file} ({words})"),
            format!(
                "free space there (`df -h {folder}`, `ulimit -f`), then type the same command again; a run that had \
                 begun goes on with `astern resume RUN --store {file}`"
            ),
        ),
        Trouble::Busy => (
            FailureClass::Transient { retry_after_ms: None },
            format!("another process is writing {file} ({words})"),
            format!("see which with `fuser -v {file}`, or wait and type the same command again"),
        ),
        Trouble::ReadOnly => (
            FailureClass::Refused,
            format!("{file} is read-only for this user ({words})"),
            format!(
                "look at `ls -la {folder}`; make the file and its folder writable, or name another with --store"
            ),
        ),
        Trouble::Moved => (
            FailureClass::Permanent,
            format!("{file} was moved or deleted while it was in use ({words})"),
            format!("put it back, with {file}-wal beside it, then type the same command again"),
        ),
        Trouble::CannotOpen => (
            FailureClass::Refused,
            format!("{file} cannot be opened ({words})"),
            format!("look at `ls -la {folder}`: the folder must exist and be writable for this user"),
        ),
        Trouble::Damaged => (
            FailureClass::Permanent,
            format!("{file} is damaged ({words})"),
            recover(path),
        ),
        Trouble::NotOurs => (
            FailureClass::Permanent,
            format!("{file} is not a store of astern, or its beginning is damaged ({words})"),
            format!("look at what it is with `file {file}`; name another file with --store"),
        ),
        Trouble::Disk => (
            if moment == Moment::Commit {
                FailureClass::Unknown
            } else {
                FailureClass::Permanent
            },
            format!("the disk under {file} failed ({words})"),
            format!(
                "copy {file} and {file}-wal to another disk, then `astern runs --store COPY` says what is there"
            ),
        ),
        Trouble::Other => (
            if moment == Moment::Commit {
                FailureClass::Unknown
            } else {
                FailureClass::Permanent
            },
            format!("{file} could not be used ({words})"),
            format!("`astern runs --store {file}` says what is there"),
        ),
    };
    Failure::new(class, operation, format!("{what}{stored}")).hint(hint)
}

/// What to do with a damaged file. The cluster is never touched by it.
pub(super) fn recover(path: &Path) -> String {
    let file = path.display();
    format!(
        "the cluster was not touched by this. Keep a copy of {file} and {file}-wal, then try \
         `sqlite3 {file} .recover | sqlite3 recovered.db` and `--store recovered.db`; otherwise `astern status` says \
         how the workloads stand"
    )
}

/// What a file gives whose name leads to another one than was opened: records appended now would be lost with it.
pub(super) fn moved(path: &Path, operation: &str) -> Failure {
    describe(
        path,
        operation,
        Trouble::Moved,
        "its name leads to another file or to none",
        Moment::Write,
    )
}

/// What the file system says before SQLite is asked.
pub(super) fn file(path: &Path, operation: &str, error: &std::io::Error) -> Failure {
    let trouble = match error.kind() {
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => Trouble::ReadOnly,
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Trouble::Full,
        _ => Trouble::CannotOpen,
    };
    describe(path, operation, trouble, &error.to_string(), Moment::Open)
}

/// A file of another program.
pub(super) fn foreign(path: &Path, operation: &str, what: &str) -> Failure {
    describe(path, operation, Trouble::NotOurs, what, Moment::Open)
}

/// A store of another version of astern.
pub(super) fn version(path: &Path, operation: &str, found: i32, known: i32) -> Failure {
    let file = path.display();
    let message =
        format!("{file} is a store of version {found}, and this astern reads {known}; nothing was changed");
    Failure::new(FailureClass::Permanent, operation, message).hint(format!(
        "use the astern that made {file}, or name another file with --store"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(code: i32, moment: Moment) -> String {
        let failure = describe(
            Path::new("/var/lib/run.db"),
            "append to the journal of run r1",
            trouble(code),
            "words",
            moment,
        );
        format!(
            "{:?}\n{failure}\nhint: {}",
            failure.class,
            failure.hint.clone().unwrap_or_default()
        )
    }

    #[test]
    fn a_full_disk_says_what_was_stored_and_what_to_type() {
        insta::assert_snapshot!(told(FULL, Moment::Commit), @r"
        Transient { retry_after_ms: None }
        could not append to the journal of run r1: there is no room to write /var/lib/run.db (words); nothing of this was stored, and what was stored before is still there
        hint: free space there (`df -h /var/lib`, `ulimit -f`), then type the same command again; a run that had begun goes on with `astern resume RUN --store /var/lib/run.db`
        ");
        assert_eq!(told(IOERR_WRITE, Moment::Write), told(FULL, Moment::Commit));
    }

    #[test]
    fn a_disk_that_fails_in_the_commit_leaves_it_unknown() {
        insta::assert_snapshot!(told(IOERR | (4 << 8), Moment::Commit), @r"
        Unknown
        could not append to the journal of run r1: the disk under /var/lib/run.db failed (words); whether this was stored is not known
        hint: copy /var/lib/run.db and /var/lib/run.db-wal to another disk, then `astern runs --store COPY` says what is there
        ");
    }

    #[test]
    fn a_damaged_file_says_how_to_get_at_what_is_left() {
        insta::assert_snapshot!(told(CORRUPT, Moment::Read), @r"
        Permanent
        could not append to the journal of run r1: /var/lib/run.db is damaged (words); nothing was changed
        hint: the cluster was not touched by this. Keep a copy of /var/lib/run.db and /var/lib/run.db-wal, then try `sqlite3 /var/lib/run.db .recover | sqlite3 recovered.db` and `--store recovered.db`; otherwise `astern status` says how the workloads stand
        ");
    }
}
