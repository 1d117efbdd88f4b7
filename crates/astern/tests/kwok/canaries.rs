//! A thousand values of which none may be seen, and the search for them: in whatever astern says or leaves, in every form in
//! which a value may stand there.

use aho_corasick::{AhoCorasick, MatchKind};
use flate2::read::GzDecoder;
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// How many values there are.
pub(crate) const CANARIES: usize = 1000;

/// More than anything of a test expands to.
const EXPANDED: u64 = 64 << 20;

/// A value with everything in it that one notation or another escapes.
pub(crate) fn canary(nth: usize) -> String {
    format!("c4n4ry \"{nth:04}\" <ß&{}>", nth * 7919)
}

/// What was said and left, by what said or left it.
#[derive(Default)]
pub(crate) struct Seen(Vec<(String, Vec<u8>)>);

impl Seen {
    pub(crate) fn add(&mut self, what: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.push((what.into(), bytes.into()));
    }

    /// What a Secret or a row of a file holds, which may be packed: as it lies there, and as it reads. Whether it was packed.
    pub(crate) fn add_packed(&mut self, what: &str, bytes: &[u8]) -> bool {
        self.add(what, bytes);
        let magic = bytes
            .windows(3)
            .take(4)
            .position(|magic| magic == [0x1f, 0x8b, 8]);
        let Some(at) = magic else {
            return false;
        };
        let mut read = Vec::new();
        let gzip = GzDecoder::new(&bytes[at..]);
        gzip.take(EXPANDED).read_to_end(&mut read).unwrap();
        self.add(format!("{what}, unpacked"), read);
        true
    }

    /// Every file below a folder.
    pub(crate) fn add_files(&mut self, folder: &Path) {
        for file in files(folder) {
            self.add(file.display().to_string(), std::fs::read(&file).unwrap());
        }
    }

    /// Whether the text is in what something of this name said or left.
    pub(crate) fn holds(&self, what: &str, text: &str) -> bool {
        let mut named = self.0.iter().filter(|(name, _)| name.contains(what));
        named.any(|(_, bytes)| String::from_utf8_lossy(bytes).contains(text))
    }

    /// The first value that is seen, with its form and what stands before it.
    pub(crate) fn found(&self) -> Option<String> {
        static SEARCH: LazyLock<Search> = LazyLock::new(Search::new);
        let Search { forms, automaton } = &*SEARCH;
        self.0.iter().find_map(|(what, bytes)| {
            let found = automaton.find(bytes)?;
            let (nth, form, text) = &forms[found.pattern().as_usize()];
            let before = &bytes[found.start().saturating_sub(300)..found.start()];
            let before = String::from_utf8_lossy(before);
            Some(format!(
                "{what} shows value {nth} in {form} as {text}, after {before:?}"
            ))
        })
    }
}

/// All forms of all values, looked for at once.
struct Search {
    forms: Vec<(usize, &'static str, String)>,
    automaton: AhoCorasick,
}

impl Search {
    fn new() -> Self {
        let forms: Vec<(usize, &'static str, String)> = (0..CANARIES)
            .flat_map(|nth| {
                forms(&canary(nth))
                    .into_iter()
                    .map(move |(name, form)| (nth, name, form))
            })
            .collect();
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostFirst)
            .build(forms.iter().map(|(_, _, form)| form))
            .unwrap();
        Self { forms, automaton }
    }
}

/// Every form in which a value may stand in a text, by its name. Of base64 the characters that hold nothing but the value,
/// wherever it begins.
fn forms(value: &str) -> Vec<(&'static str, String)> {
    let bytes = value.as_bytes();
    let each = |form: fn(u8) -> String| bytes.iter().map(|byte| form(*byte)).collect::<String>();
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let url = |space: &str, digits: fn(u8) -> String| -> String {
        let one = |byte: &u8| match *byte {
            b' ' => space.to_owned(),
            byte if unreserved(byte) => char::from(byte).to_string(),
            byte => digits(byte),
        };
        bytes.iter().map(one).collect()
    };
    let json = Value::from(value).to_string();
    let json = json.trim_matches('"');
    let of_go = json
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026");
    let html = value
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    let mut forms = vec![
        ("plain text", value.to_owned()),
        ("JSON", json.to_owned()),
        ("JSON as Go writes it", of_go.clone()),
        ("JSON in ASCII", of_go.replace('ß', "\\u00df")),
        (
            "JSON in JSON",
            Value::from(json).to_string().trim_matches('"').to_owned(),
        ),
        ("HTML", html.clone()),
        ("HTML with its quotes escaped", html.replace('"', "&quot;")),
        ("hex", each(|byte| format!("{byte:02x}"))),
        ("upper hex", each(|byte| format!("{byte:02X}"))),
        ("a URL", url("%20", |byte| format!("%{byte:02X}"))),
        ("a URL in lower hex", url("%20", |byte| format!("%{byte:02x}"))),
        ("a form", url("+", |byte| format!("%{byte:02X}"))),
        (
            "a list of bytes",
            format!("{bytes:?}").trim_matches(['[', ']']).to_owned(),
        ),
        ("escaped bytes", bytes.escape_ascii().to_string()),
    ];
    for text in [value, json] {
        for (name, before) in [
            ("base64", 0_usize),
            ("base64, moved by one", 1),
            ("base64, moved by two", 2),
        ] {
            let moved = [&vec![0; before][..], text.as_bytes()].concat();
            let text = base64(&moved);
            let own = &text[(before * 8).div_ceil(6)..moved.len() * 8 / 6];
            forms.push((name, own.to_owned()));
            forms.push((name, own.replace('+', "-").replace('/', "_")));
        }
    }
    forms
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= chunk.len() {
                char::from(digit)
            } else {
                '='
            });
        }
    }
    text
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .collect()
}

#[test]
fn a_value_is_found_in_every_form_and_nothing_else_is() {
    for nth in [0, 41, CANARIES - 1] {
        for (name, form) in forms(&canary(nth)) {
            let mut seen = Seen::default();
            seen.add("a log", format!("nothing here\nsomething {form} here"));
            let found = seen
                .found()
                .unwrap_or_else(|| panic!("{name} is not found: {form}"));
            assert!(found.contains(&format!("value {nth} ")), "{name}: {found}");
        }
    }
    let document = format!(r#"{{"a":{{"k":{}}}}}"#, Value::from(canary(7)));
    for before in ["", "x", "xy"] {
        for text in [&document, &canary(7)] {
            let mut seen = Seen::default();
            seen.add("base64", base64(format!("{before}{text}").as_bytes()));
            assert!(seen.found().is_some(), "moved by {}: {text}", before.len());
        }
    }
    let mut seen = Seen::default();
    seen.add("others", "c4n4ry of the mine, c4n4ry \"0001\" and <ß&7919>");
    assert_eq!(seen.found(), None);
    let mut gzip = flate2::write::GzEncoder::new(vec![b'z'], flate2::Compression::default());
    std::io::Write::write_all(&mut gzip, canary(3).as_bytes()).unwrap();
    assert!(seen.add_packed("a record", &gzip.finish().unwrap()));
    assert!(seen.found().is_some_and(|found| found.contains("unpacked")));
}
