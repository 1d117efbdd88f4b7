//! `cargo xtask tidy`: what no compiler checks about this repository. Finds and lists; changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::failure::{Failure, Outcome, doing};
use crate::{process, workspace};

const HELP: &str = "\
What no compiler checks about this repository: crate edges, a first line on each file, a page for each error code, a test for
each that docs/proven.md names, nothing left undone, nothing of the machine it was written on.

Usage: cargo xtask tidy";

/// The crates that may not do I/O, look at a clock, or draw a random number.
const PURE: [&str; 5] = [
    "astern-model",
    "astern-plan",
    "astern-gate",
    "astern-engine",
    "astern-report",
];
const SEAMS: [&str; 2] = ["astern-port", "astern-wire"];
const ADAPTERS: [&str; 5] = [
    "astern-journal",
    "astern-sense",
    "astern-kubernetes",
    "astern-helm",
    "astern-git",
];

/// Which of our crates each crate may name (design: dependencies point down the table of roles only). A new edge is a
/// reviewed change of one line here.
const EDGES: [(&str, &[&[&str]]); 22] = [
    ("astern-model", &[]),
    ("astern-plan", &[&["astern-model"]]),
    // Not the planner: a checker must not inherit its mistake.
    ("astern-gate", &[&["astern-model"]]),
    ("astern-engine", &[&["astern-model"]]),
    ("astern-report", &[&["astern-model"]]),
    ("astern-port", &[&["astern-model"]]),
    ("astern-wire", &[&["astern-model"]]),
    ("astern-journal", &[&["astern-model"], &SEAMS]),
    ("astern-sense", &[&["astern-model"], &SEAMS]),
    ("astern-kubernetes", &[&["astern-model"], &SEAMS]),
    ("astern-helm", &[&["astern-model"], &SEAMS]),
    ("astern-git", &[&["astern-model"], &SEAMS]),
    // It knows nothing of ours: what it says about Kubernetes is not made to fit.
    ("astern-sandbox", &[]),
    // It knows nothing of ours either.
    ("astern-faultproxy", &[]),
    ("astern-exec", &[&PURE, &SEAMS]),
    ("astern-app", &[&PURE, &SEAMS, &["astern-exec"]]),
    (
        "astern-rehearsal",
        &[
            &PURE,
            &SEAMS,
            &ADAPTERS,
            &["astern-exec", "astern-app", "astern-sandbox"],
        ],
    ),
    (
        "astern",
        &[
            &PURE,
            &SEAMS,
            &ADAPTERS,
            &["astern-exec", "astern-app", "astern-sandbox", "astern-rehearsal"],
        ],
    ),
    (
        "astern-conformance",
        &[&PURE, &SEAMS, &ADAPTERS, &["astern-exec", "astern-app"]],
    ),
    (
        "astern-sim",
        &[
            &PURE,
            &SEAMS,
            &ADAPTERS,
            &[
                "astern-exec",
                "astern-app",
                "astern-sandbox",
                "astern-rehearsal",
                "astern-conformance",
            ],
        ],
    ),
    ("xtask", &[]),
    ("vcci-scope3-service", &[]),
];

/// What would make a pure crate impure, whichever way it came in.
const IMPURE: [&str; 16] = [
    "async-trait",
    "futures",
    "getrandom",
    "http",
    "k8s-openapi",
    "kube",
    "rand",
    "reqwest",
    "rustls",
    "sqlx",
    "tempfile",
    "tokio",
    "tracing",
    "tracing-subscriber",
    "uuid",
    "fastrand",
];

/// xtask's first line must appear within seconds of a fresh clone.
const XTASK_MAY_USE: [&str; 1] = ["serde_json"];

/// Where Rust is written by us.
const RUST_FOLDERS: [&str; 3] = ["crates", "xtask", "examples"];

/// Where anything is written by us.
const ALL_FOLDERS: [&str; 7] = [
    "crates",
    "xtask",
    "examples",
    "docs",
    ".ci",
    ".cargo",
    "scenarios",
];

/// Written in two parts, so that this file does not find itself.
const LEFT_UNDONE: [&str; 5] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("dbg", "!("),
    concat!("#[al", "low("),
    concat!("#[ign", "ore"),
];

/// The page that names the tests which show what is claimed.
const PROVEN: &str = "docs/proven.md";

/// Files of other makes than text are not looked into.
const TEXT: [&str; 14] = [
    "rs", "toml", "md", "yaml", "yml", "json", "html", "css", "js", "sh", "txt", "snap", "tmpl", "c",
];

/// One thing that is not as it should be.
struct Violation {
    file: PathBuf,
    line: usize,
    what: String,
}

pub(crate) fn main(mut arguments: crate::arguments::Arguments) -> Outcome {
    if arguments.help() {
        println!("{HELP}");
        return Ok(());
    }
    arguments.end()?;
    check()
}

/// Everything at once; each violation is a line on stdout.
pub(crate) fn check() -> Outcome {
    let root = workspace::root();
    let mut found = crate_edges(&root)?;
    let rust = files(&root, &RUST_FOLDERS, &["rs"])?;
    for (path, text) in &rust {
        found.extend(first_line(path, text));
        found.extend(left_undone(path, text));
    }
    found.extend(error_pages(&root, &rust)?);
    found.extend(unproven(&root, &rust)?);
    for (path, text) in files(&root, &ALL_FOLDERS, &TEXT)?
        .into_iter()
        .chain(top_files(&root)?)
    {
        found.extend(build_machine(&path, &text));
    }
    let lines = found.iter().map(|violation| {
        let file = violation.file.strip_prefix(&root).unwrap_or(&violation.file);
        format!("{}:{}: {}\n", file.display(), violation.line, violation.what)
    });
    print!("{}", lines.collect::<String>());
    match found.len() {
        0 => {
            eprintln!("tidy: {} Rust files, nothing to say", rust.len());
            Ok(())
        }
        count => Err(Failure::new(format!("{count} violations")).next("the list above; cargo xtask tidy")),
    }
}

fn crate_edges(root: &Path) -> Outcome<Vec<Violation>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut metadata = Command::new(cargo);
    metadata
        .current_dir(root)
        .args(["metadata", "--no-deps", "--format-version", "1"]);
    let told: Value = serde_json::from_str(&process::read(&mut metadata)?)
        .map_err(|error| Failure::new(format!("cargo metadata gave no JSON: {error}")))?;
    let packages = told["packages"].as_array().cloned().unwrap_or_default();
    let ours: BTreeSet<&str> = packages
        .iter()
        .filter_map(|package| package["name"].as_str())
        .collect();
    let mut found = Vec::new();
    for package in &packages {
        let name = package["name"].as_str().unwrap_or_default();
        let manifest = PathBuf::from(package["manifest_path"].as_str().unwrap_or_default());
        let text = std::fs::read_to_string(&manifest).unwrap_or_default();
        let used = package["dependencies"].as_array().cloned().unwrap_or_default();
        for dependency in &used {
            let wanted = dependency["name"].as_str().unwrap_or_default();
            let for_tests = dependency["kind"] == "dev";
            if let Some(what) = forbidden(name, wanted, ours.contains(wanted), for_tests) {
                let line = text
                    .lines()
                    .position(|line| line.starts_with(wanted))
                    .map_or(1, |at| at + 1);
                found.push(Violation {
                    file: manifest.clone(),
                    line,
                    what,
                });
            }
        }
        if !EDGES.iter().any(|(known, _)| *known == name) {
            let what = format!("the crate {name} is not in tidy's table of edges (xtask/src/tidy.rs)");
            found.push(Violation {
                file: manifest,
                line: 1,
                what,
            });
        }
    }
    Ok(found)
}

/// Why `name` may not name `wanted`; none when it may. What only tests use may point anywhere but from gate to plan.
fn forbidden(name: &str, wanted: &str, ours: bool, for_tests: bool) -> Option<String> {
    if for_tests {
        let checker = name == "astern-gate" && wanted == "astern-plan";
        return checker.then(|| String::from("gate must not know plan, not even in tests"));
    }
    if ours {
        let edges = EDGES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, edges)| *edges)
            .unwrap_or_default();
        let allowed = edges.iter().any(|group| group.contains(&wanted));
        return (!allowed)
            .then(|| format!("{name} may not depend on {wanted} (allowed edges: xtask/src/tidy.rs)"));
    }
    if PURE.contains(&name) && IMPURE.contains(&wanted) {
        return Some(format!("{name} is pure and may not depend on {wanted}"));
    }
    let heavy = name == "xtask" && !XTASK_MAY_USE.contains(&wanted);
    heavy.then(|| format!("xtask compiles in seconds, so it may not depend on {wanted}"))
}

fn first_line(path: &Path, text: &str) -> Option<Violation> {
    let what = "the first line is not a `//!` line that says what the file owns and what it does not";
    (!text.starts_with("//!")).then(|| Violation {
        file: path.to_owned(),
        line: 1,
        what: what.to_owned(),
    })
}

fn left_undone(path: &Path, text: &str) -> Vec<Violation> {
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        for word in LEFT_UNDONE.iter().filter(|word| line.contains(**word)) {
            found.push(Violation {
                file: path.to_owned(),
                line: at + 1,
                what: format!("`{word}` is left here"),
            });
        }
    }
    found
}

/// Each error code in the crates has its page, and each page its code.
fn error_pages(root: &Path, rust: &[(PathBuf, String)]) -> Outcome<Vec<Violation>> {
    let mut codes: BTreeMap<String, (PathBuf, usize)> = BTreeMap::new();
    for (path, text) in rust
        .iter()
        .filter(|(path, _)| path.starts_with(root.join("crates")))
    {
        for (at, line) in text.lines().enumerate() {
            for code in codes_in(line) {
                codes.entry(code).or_insert_with(|| (path.clone(), at + 1));
            }
        }
    }
    let folder = root.join("docs").join("errors");
    let pages: BTreeSet<String> = files(root, &["docs/errors"], &["md"])?
        .into_iter()
        .filter_map(|(path, _)| Some(path.file_stem()?.to_str()?.to_owned()))
        .filter(|name| codes_in(name).first() == Some(name))
        .collect();
    let missing = codes
        .iter()
        .filter(|(code, _)| !pages.contains(*code))
        .map(|(code, (path, line))| Violation {
            file: path.clone(),
            line: *line,
            what: format!("{code} has no page docs/errors/{code}.md"),
        });
    let orphaned = pages
        .iter()
        .filter(|page| !codes.contains_key(*page))
        .map(|page| Violation {
            file: folder.join(format!("{page}.md")),
            line: 1,
            what: format!("no crate says {page}"),
        });
    Ok(missing.chain(orphaned).collect())
}

/// What a page says is shown by a test that does not exist.
fn unproven(root: &Path, rust: &[(PathBuf, String)]) -> Outcome<Vec<Violation>> {
    let page = root.join(PROVEN);
    let text = std::fs::read_to_string(&page).map_err(doing(format!("read {PROVEN}")))?;
    let names = |line: &str| -> Vec<String> {
        let quoted = line.split('`').skip(1).step_by(2);
        let is_test = |name: &&str| {
            let of_a_name =
                |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
            name.contains('_') && name.chars().all(of_a_name)
        };
        quoted.filter(is_test).map(str::to_owned).collect()
    };
    let named = text
        .lines()
        .enumerate()
        .flat_map(|(at, line)| names(line).into_iter().map(move |name| (at + 1, name)));
    let missing = named.filter(|(_, name)| {
        let test = format!("fn {name}(");
        !rust.iter().any(|(_, text)| text.contains(&test))
    });
    let violation = |(line, name): (usize, String)| Violation {
        file: page.clone(),
        line,
        what: format!("there is no test {name}"),
    };
    Ok(missing.map(violation).collect())
}

/// `AST` and exactly four digits, as a word of its own.
fn codes_in(line: &str) -> Vec<String> {
    const LETTERS: usize = 3;
    const LENGTH: usize = 7;
    let bytes = line.as_bytes();
    let word = |at: usize| bytes.get(at).is_some_and(|byte| byte.is_ascii_alphanumeric());
    line.match_indices("AST")
        .filter(|(at, _)| at.checked_sub(1).is_none_or(|before| !word(before)) && !word(at + LENGTH))
        .filter_map(|(at, _)| line.get(at..at + LENGTH))
        .filter(|code| code[LETTERS..].bytes().all(|byte| byte.is_ascii_digit()))
        .map(str::to_owned)
        .collect()
}

/// Paths and names of the machine that this runs on: they mean nothing anywhere else.
fn build_machine(path: &Path, text: &str) -> Vec<Violation> {
    let words = machine_words();
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        for word in words.iter().filter(|word| names(line, word)) {
            let what = format!("`{word}` belongs to the machine it was written on");
            found.push(Violation {
                file: path.to_owned(),
                line: at + 1,
                what,
            });
        }
    }
    found
}

/// Whether the line has the word, and not only as the end of a longer path.
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|letter| !letter.is_alphanumeric() && !"._-}/".contains(letter))
    })
}

fn machine_words() -> Vec<String> {
    let folder = |path: PathBuf| format!("{}/", path.display());
    let root = workspace::root();
    // The folder above the checkout holds what is shared with it; a checkout right under / or a home has no such word.
    let above = root
        .parent()
        .filter(|above| above.components().count() > 1)
        .map(|above| folder(above.to_owned()));
    let home = std::env::home_dir().filter(|home| home.components().count() > 1);
    let host = std::fs::read_to_string("/etc/hostname")
        .unwrap_or_default()
        .trim()
        .to_owned();
    /// Shorter names are words of every day ("vm").
    const SHORTEST_HOST: usize = 6;
    let host = Some(host).filter(|name| name.len() >= SHORTEST_HOST && name != "localhost");
    [above, home.map(folder), host].into_iter().flatten().collect()
}

fn files(root: &Path, folders: &[&str], endings: &[&str]) -> Outcome<Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    for folder in folders {
        collect(&root.join(folder), endings, &mut found)?;
    }
    found.sort();
    Ok(found)
}

fn top_files(root: &Path) -> Outcome<Vec<(PathBuf, String)>> {
    let entries = std::fs::read_dir(root).map_err(doing(format!("read {}", root.display())))?;
    let paths = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_file() && has_ending(path, &TEXT));
    Ok(paths
        .filter_map(|path| Some((path.clone(), std::fs::read_to_string(path).ok()?)))
        .collect())
}

/// Below a folder, without what was built; a folder that is not there is empty.
fn collect(folder: &Path, endings: &[&str], found: &mut Vec<(PathBuf, String)>) -> Outcome {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Ok(());
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            if entry.file_name() != "target" {
                collect(&path, endings, found)?;
            }
        } else if has_ending(&path, endings) {
            // A file that somebody removes while we look is no violation.
            if let Ok(text) = std::fs::read_to_string(&path) {
                found.push((path, text));
            }
        }
    }
    Ok(())
}

/// A file without an ending (a script) counts as text.
fn has_ending(path: &Path, endings: &[&str]) -> bool {
    match path.extension() {
        Some(ending) => endings.iter().any(|each| ending == *each),
        None => endings == TEXT,
    }
}

#[cfg(test)]
mod tests {
    use super::{codes_in, forbidden, names};

    #[test]
    fn a_path_of_the_machine_is_not_the_end_of_another_path() {
        assert!(names("see /home/me/notes", "/home/me/"));
        assert!(!names("containers/home/me/notes", "/home/me/"));
    }

    #[test]
    fn a_code_is_ast_and_four_digits() {
        assert_eq!(
            codes_in("AST0001 and \"AST0203\", not AST12 nor AST12345 nor CAST0001"),
            ["AST0001", "AST0203"]
        );
    }

    #[test]
    fn a_checker_never_knows_the_planner() {
        assert!(forbidden("astern-gate", "astern-plan", true, false).is_some());
        assert!(forbidden("astern-gate", "astern-plan", true, true).is_some());
    }

    #[test]
    fn edges_point_down_only() {
        assert!(forbidden("astern-plan", "astern-model", true, false).is_none());
        assert!(forbidden("astern-plan", "astern-port", true, false).is_some());
        assert!(forbidden("astern-app", "astern-kubernetes", true, false).is_some());
        assert!(forbidden("astern-plan", "tokio", false, false).is_some());
        assert!(forbidden("xtask", "clap", false, false).is_some());
    }
}
