//! What only a file can suffer: processes killed in the middle, full disks, damage, other people's files.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on panics, and tells its runner on stdout"
)]

use astern_journal::{Sqlite, SqliteJournal};
use astern_model::id::{RunId, Seq};
use astern_port::journal::{AppendError, Author, Journal};
use astern_port::vault::Vault;
use astern_port::{Failure, FailureClass};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Where a child of these tests keeps its store; set for children only.
const CHILD_STORE: &str = "ASTERN_JOURNAL_TEST_CHILD_STORE";

/// About as much as the record of a step with its evidence.
const RECORD_BYTES: usize = 20_000;

fn run() -> RunId {
    RunId::from("r1")
}

fn record(seq: u64) -> Vec<u8> {
    let word = format!("record {seq} ");
    word.bytes().cycle().take(RECORD_BYTES).collect()
}

async fn open(path: &Path) -> SqliteJournal {
    Sqlite::open(path).await.unwrap().0
}

async fn append(journal: &SqliteJournal, seq: u64) -> Result<Seq, AppendError> {
    journal
        .append(&run(), Seq(seq), Author::Request, &[record(seq)])
        .await
}

/// How many records are there, each as it was appended.
async fn count(journal: &SqliteJournal) -> u64 {
    let entries = journal.read(&run(), Seq(0)).await.unwrap();
    for (entry, seq) in entries.iter().zip(0..) {
        assert_eq!((entry.seq, &entry.bytes), (Seq(seq), &record(seq)));
    }
    entries.len() as u64
}

/// Runs this binary again, doing only `test`, which is one of the children below. The script finds the store's
/// folder as `$1`, and the rest is the command.
fn shell(wrapper: &[&str], script: &str, test: &str, store: &Path) -> Output {
    let (folder, binary) = (store.parent().unwrap(), std::env::current_exe().unwrap());
    Command::new(wrapper[0])
        .args(&wrapper[1..])
        .args(["sh", "-c", script, "sh"])
        .args([folder, &binary])
        .args([test, "--exact", "--nocapture"])
        .env(CHILD_STORE, store)
        .output()
        .unwrap()
}

fn store_of_a_child() -> Option<PathBuf> {
    std::env::var_os(CHILD_STORE).map(PathBuf::from)
}

#[tokio::test]
async fn child_appends_until_it_is_killed() {
    let Some(path) = store_of_a_child() else { return };
    let journal = open(&path).await;
    for seq in count(&journal).await.. {
        append(&journal, seq).await.unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "acknowledged {seq}").unwrap();
        out.flush().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_loses_no_acknowledged_record() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    for round in 1..=5_u64 {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["child_appends_until_it_is_killed", "--exact", "--nocapture"])
            .env(CHILD_STORE, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut last = None;
        let mut seen = 0;
        let mut take = |line: String| {
            if let Some((_, seq)) = line.split_once("acknowledged ") {
                last = Some(seq.trim().parse::<u64>().unwrap());
                seen += 1;
            }
            seen
        };
        for line in lines.by_ref() {
            if take(line.unwrap()) >= 7 * round {
                break;
            }
        }
        process.kill().unwrap();
        process.wait().unwrap();
        // What it had said before it died counts too.
        lines.map_while(Result::ok).for_each(|line| {
            take(line);
        });
        let last = last.expect("the child acknowledged nothing");
        let there = count(&open(&path).await).await;
        assert!(
            there == last + 1 || there == last + 2,
            "acknowledged up to {last}, there are {there}"
        );
    }
}

fn no_room(result: Result<Seq, AppendError>) {
    let Err(AppendError::Store(Failure {
        class, message, hint, ..
    })) = result
    else {
        panic!("it should have found no room: {result:?}");
    };
    assert_eq!(class, FailureClass::Transient { retry_after_ms: None });
    assert!(message.starts_with("there is no room to write "), "{message}");
    assert!(message.contains("nothing of this was stored"), "{message}");
    assert!(hint.unwrap().contains("df -h"));
}

/// Appends until there is no room; returns how many were acknowledged.
async fn fill(journal: &SqliteJournal) -> u64 {
    for seq in 0..1000 {
        let result = append(journal, seq).await;
        if result.is_err() {
            no_room(result);
            return seq;
        }
    }
    panic!("a thousand records found room");
}

#[tokio::test]
async fn child_fills_a_small_disk() {
    let Some(path) = store_of_a_child() else { return };
    let ballast = path.with_file_name("ballast");
    std::fs::write(&ballast, vec![1; 150_000]).unwrap();
    let (journal, vault) = Sqlite::open(&path).await.unwrap();
    let acknowledged = fill(&journal).await;
    assert!(acknowledged > 2, "{acknowledged}");
    no_room(append(&journal, acknowledged).await);
    assert_eq!(count(&journal).await, acknowledged);
    let failure = vault
        .put(
            "log",
            &record(0)
                .repeat(20)
                .iter()
                .scan(7_u32, noise)
                .collect::<Vec<u8>>(),
        )
        .await;
    assert_eq!(
        failure.unwrap_err().class,
        FailureClass::Transient { retry_after_ms: None }
    );

    std::fs::remove_file(ballast).unwrap();
    append(&journal, acknowledged).await.unwrap();
    assert_eq!(count(&open(&path).await).await, acknowledged + 1);
}

fn noise(state: &mut u32, byte: &u8) -> Option<u8> {
    *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    Some((*state >> 24) as u8 ^ byte)
}

#[test]
fn on_a_full_disk_nothing_is_half_stored_and_it_goes_on_once_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("journal.db");
    let script = r#"mount -t tmpfs -o size=600k tmpfs "$1" && shift && exec "$@""#;
    let wrapper = ["unshare", "--user", "--map-root-user", "--mount"];
    let output = shell(&wrapper, script, "child_fills_a_small_disk", &store);
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[tokio::test]
async fn child_meets_its_file_size_limit() {
    let Some(path) = store_of_a_child() else { return };
    let acknowledged = fill(&open(&path).await).await;
    println!("\nacknowledged {acknowledged}");
}

#[tokio::test]
async fn at_a_file_size_limit_nothing_is_half_stored_and_it_goes_on_without_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("journal.db");
    // The shell counts blocks of 512 bytes; the signal is ignored as it is under every shell that logs in a service.
    let script = r#"trap '' XFSZ; ulimit -f 500; shift; exec "$@""#;
    let output = shell(&["env"], script, "child_meets_its_file_size_limit", &store);
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let acknowledged = text
        .lines()
        .find_map(|line| line.strip_prefix("acknowledged ")?.parse().ok());
    let acknowledged: u64 = acknowledged.unwrap_or_else(|| panic!("{text}"));
    let journal = open(&store).await;
    assert_eq!(count(&journal).await, acknowledged);
    append(&journal, acknowledged).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_an_error_with_a_way_out_and_never_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("whole.db");
    let journal = open(&path).await;
    for seq in 0..30 {
        append(&journal, seq).await.unwrap();
    }
    checkpoint(&path).await;
    let whole = std::fs::read(&path).unwrap();
    let check = async |name: &str, damage: &dyn Fn(&mut Vec<u8>)| {
        let damaged = path.with_file_name(format!("{name}.db"));
        let mut bytes = whole.clone();
        damage(&mut bytes);
        std::fs::write(&damaged, bytes).unwrap();
        let failure = match Sqlite::open(&damaged).await {
            Err(failure) => failure,
            Ok((journal, _)) => journal.read(&run(), Seq(0)).await.expect_err(name),
        };
        assert_eq!(failure.class, FailureClass::Permanent, "{name}: {failure}");
        assert!(
            failure.to_string().contains("nothing was changed"),
            "{name}: {failure}"
        );
        let hint = failure.hint.unwrap();
        assert!(
            hint.contains("sqlite3") || hint.contains("--store"),
            "{name}: {hint}"
        );
    };
    check("header", &|bytes| bytes[..100].fill(0xaa)).await;
    check("schema", &|bytes| bytes[100..4096].fill(0xaa)).await;
    check("middle", &|bytes| {
        let middle = bytes.len() / 2;
        bytes[middle..middle + 40_000].fill(0xaa);
    })
    .await;
    check("one bit", &|bytes| {
        let middle = bytes.len() / 2;
        bytes[middle + 2000] ^= 1;
    })
    .await;
    check("cut", &|bytes| bytes.truncate(bytes.len() / 2 / 4096 * 4096)).await;
    check("text", &|bytes| {
        *bytes = b"apiVersion: astern.dev/v1alpha1\n".to_vec()
    })
    .await;
}

async fn checkpoint(path: &Path) {
    use sqlx::ConnectOptions;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let mut connection = options.connect().await.unwrap();
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
        .execute(&mut connection)
        .await
        .unwrap();
}

#[tokio::test]
async fn appends_that_wait_together_are_committed_together() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder.path().join("journal.db")).await;
    let mut appending = tokio::task::JoinSet::new();
    for number in 0..100 {
        let journal = journal.clone();
        let run = RunId(format!("r{number:03}"));
        appending.spawn(async move { journal.append(&run, Seq(0), Author::Opening, &[record(0)]).await });
    }
    for appended in appending.join_all().await {
        assert_eq!(appended, Ok(Seq(1)));
    }
    assert_eq!(journal.runs().await.unwrap().len(), 100);
    let transactions = journal.transactions();
    assert!(
        (1..=50).contains(&transactions),
        "100 appends took {transactions} transactions"
    );
}

#[tokio::test]
async fn the_file_is_its_owners_alone_from_the_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let journal = open(&path).await;
    append(&journal, 0).await.unwrap();
    let mut seen = Vec::new();
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        seen.push(format!("{} {mode:o}", file.file_name().display()));
    }
    seen.sort();
    assert_eq!(
        seen,
        ["journal.db 600", "journal.db-shm 600", "journal.db-wal 600"]
    );
}

#[tokio::test]
async fn a_file_of_another_program_or_version_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let check = async |name: &str, sql: Option<&'static str>, wanted: &str| {
        let path = folder.path().join(name);
        if let Some(sql) = sql {
            use sqlx::ConnectOptions;
            let options = sqlx::sqlite::SqliteConnectOptions::new()
                .filename(&path)
                .create_if_missing(true);
            sqlx::raw_sql(sql)
                .execute(&mut options.connect().await.unwrap())
                .await
                .unwrap();
        } else {
            std::fs::write(&path, "notes\n".repeat(100)).unwrap();
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let before = std::fs::read(&path).unwrap();
        let failure = Sqlite::open(&path).await.unwrap_err();
        assert_eq!(failure.class, FailureClass::Permanent, "{failure}");
        assert!(failure.message.contains(wanted), "{failure}");
        assert_eq!(std::fs::read(&path).unwrap(), before);
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o644
        );
    };
    let foreign = "is not a store of astern";
    check("notes.txt", None, foreign).await;
    check(
        "marked.db",
        Some("PRAGMA application_id = 7; CREATE TABLE t (a);"),
        foreign,
    )
    .await;
    check("unmarked.db", Some("CREATE TABLE t (a);"), foreign).await;
    let newer = "PRAGMA application_id = 1095980114; PRAGMA user_version = 2; CREATE TABLE t (a);";
    check(
        "newer.db",
        Some(newer),
        "is a store of version 2, and this astern reads 1",
    )
    .await;
}

#[tokio::test]
async fn a_file_that_was_deleted_under_a_run_takes_no_more_records() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let journal = open(&path).await;
    append(&journal, 0).await.unwrap();
    let aside = folder.path().join("aside.db");
    std::fs::rename(&path, &aside).unwrap();
    let Err(AppendError::Store(failure)) = append(&journal, 1).await else {
        panic!("it was appended")
    };
    assert_eq!(failure.class, FailureClass::Permanent);
    assert!(failure.message.contains("was moved or deleted"), "{failure}");
    assert!(!path.exists(), "it made a new file");
    std::fs::rename(&aside, &path).unwrap();
    append(&journal, 1).await.unwrap();
    assert_eq!(count(&journal).await, 2);
}

#[tokio::test]
async fn child_finds_a_read_only_disk() {
    let Some(path) = store_of_a_child() else { return };
    for path in [path.clone(), path.with_file_name("new.db")] {
        let failure = Sqlite::open(&path).await.unwrap_err();
        assert_eq!(failure.class, FailureClass::Refused, "{failure}");
        assert!(
            failure.message.contains("is read-only for this user"),
            "{failure}"
        );
        assert!(failure.hint.unwrap().contains("--store"));
    }
}

#[tokio::test]
async fn a_read_only_disk_is_refused_before_anything_begins() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("journal.db");
    append(&open(&store).await, 0).await.unwrap();
    let script = r#"mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@""#;
    let wrapper = ["unshare", "--user", "--map-root-user", "--mount"];
    let output = shell(&wrapper, script, "child_finds_a_read_only_disk", &store);
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[tokio::test]
async fn what_is_not_a_file_or_has_no_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let failure = Sqlite::open(&folder.path().join("none/journal.db"))
        .await
        .unwrap_err();
    assert!(failure.message.contains("cannot be opened"), "{failure}");
    let failure = Sqlite::open(folder.path()).await.unwrap_err();
    assert!(failure.hint.is_some(), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_may_open_a_new_store_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let mut opening = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let path = path.clone();
        opening.spawn(async move {
            let (_, vault) = Sqlite::open(&path).await?;
            vault.put("log", b"the same").await
        });
    }
    let mut references: Vec<_> = opening.join_all().await.into_iter().map(Result::unwrap).collect();
    references.dedup();
    assert_eq!(references.len(), 1, "they made different keys");
}
