//! The payload of a release's record: base64, gzip and JSON taken apart, bounded, and put together again. Knows the
//! format; what a manifest says is read elsewhere. Source: `pkg/storage/driver/util.go` and `pkg/release` of Helm 3 and 4.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read, Write};

/// A Secret holds 1 MiB at most; what expands to more than sixty times that is no chart.
const MOST_EXPANDED: u64 = 64 * 1024 * 1024;
const GZIP: [u8; 3] = [0x1f, 0x8b, 0x08];

/// Why a payload is not what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Defect {
    /// It is not base64.
    NotBase64,
    /// The compressed stream is damaged or ends too early.
    Damaged,
    /// It expands to more than a record can sensibly hold.
    TooLarge,
    /// It does so together with the newer records of its release.
    TooLargeTogether,
    /// It is no JSON of a release; where the reader gave up. The text is not quoted: it may be a Secret's.
    NotARelease {
        /// The line of the expanded text.
        line: usize,
        /// The column.
        column: usize,
    },
    /// It is another release, or another revision, than its record's name says.
    Another {
        /// What it says that it is.
        name: String,
        /// And which revision.
        version: u64,
    },
    /// Its manifest is no YAML; where the reader gave up is not known.
    NotAManifest,
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBase64 => write!(f, "its payload is not base64"),
            Self::Damaged => write!(f, "its payload is cut short or damaged (gzip)"),
            Self::TooLarge => write!(
                f,
                "its payload expands to more than {} MiB",
                MOST_EXPANDED / 1024 / 1024
            ),
            Self::TooLargeTogether => write!(
                f,
                "its payload and those of newer revisions expand to more than {} MiB together",
                MOST_EXPANDED / 1024 / 1024
            ),
            Self::NotARelease { line, column } => write!(
                f,
                "its payload is no release (JSON, line {line}, column {column})"
            ),
            Self::Another { name, version } => {
                write!(f, "its payload is of release {name}, revision {version}")
            }
            Self::NotAManifest => write!(f, "the manifest in its payload is no YAML"),
        }
    }
}

/// A release as its payload has it; only what is used here is read.
#[derive(Debug, Deserialize)]
pub struct Payload {
    /// The release's name.
    pub name: String,
    /// The revision.
    pub version: u64,
    /// What Helm says of it.
    #[serde(default)]
    pub info: Info,
    #[serde(default)]
    pub(crate) chart: Option<Chart>,
    /// How Helm 4 applies it: `ssa` or `csa`; Helm 3 does not say.
    #[serde(default)]
    pub(crate) apply_method: String,
    /// The values that were given.
    #[serde(default)]
    pub(crate) config: Value,
    /// The objects, as YAML documents.
    #[serde(default)]
    pub(crate) manifest: String,
    #[serde(default)]
    pub(crate) hooks: Option<Vec<Hook>>,
}

/// What Helm says of a revision.
#[derive(Debug, Default, Deserialize)]
pub struct Info {
    /// Its state.
    #[serde(default)]
    pub status: String,
    /// In words.
    #[serde(default)]
    pub description: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Chart {
    #[serde(default)]
    pub(crate) metadata: Option<ChartMetadata>,
    #[serde(default)]
    pub(crate) files: Option<Vec<ChartFile>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChartMetadata {
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) version: String,
    #[serde(default)]
    pub(crate) app_version: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ChartFile {
    #[serde(default)]
    pub(crate) name: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Hook {
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) manifest: String,
    #[serde(default)]
    pub(crate) events: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) weight: i64,
}

/// What payloads of one release may still expand to, together.
pub(crate) struct Room(u64);

impl Default for Room {
    fn default() -> Self {
        Self(MOST_EXPANDED)
    }
}

/// Reads the payload of the record of `name`'s revision `version`.
///
/// # Errors
/// A [`Defect`]. Nothing of the payload stands in it.
pub fn decode(data: &[u8], name: &str, version: u64) -> Result<Payload, Defect> {
    decode_within(data, name, version, &mut Room::default())
}

/// The same, of one among several that are held at the same time.
pub(crate) fn decode_within(
    data: &[u8],
    name: &str,
    version: u64,
    room: &mut Room,
) -> Result<Payload, Defect> {
    let json = expand(data, room)?;
    let payload: Payload = serde_json::from_slice(&json).map_err(|error| not_a_release(&error))?;
    if payload.name == name && payload.version == version {
        Ok(payload)
    } else {
        Err(Defect::Another {
            name: payload.name,
            version: payload.version,
        })
    }
}

/// The same payload with another state and description; every other byte of its parts stays as Helm wrote it.
///
/// # Errors
/// A [`Defect`].
pub(crate) fn with_state(data: &[u8], status: &str, description: &str) -> Result<Vec<u8>, Defect> {
    let json = expand(data, &mut Room::default())?;
    let mut parts: BTreeMap<String, Box<RawValue>> =
        serde_json::from_slice(&json).map_err(|error| not_a_release(&error))?;
    let info = parts.get("info").map_or("{}", |info| info.get());
    let mut info: BTreeMap<String, Value> =
        serde_json::from_str(info).map_err(|error| not_a_release(&error))?;
    info.insert("status".to_owned(), Value::from(status));
    info.insert("description".to_owned(), Value::from(description));
    let info = serde_json::value::to_raw_value(&info).map_err(|error| not_a_release(&error))?;
    parts.insert("info".to_owned(), info);
    let json = serde_json::to_vec(&parts).map_err(|error| not_a_release(&error))?;
    Ok(compress(&json))
}

fn expand(data: &[u8], room: &mut Room) -> Result<Vec<u8>, Defect> {
    let bytes = STANDARD
        .decode(data.trim_ascii())
        .map_err(|_| Defect::NotBase64)?;
    // Helm 2's last days wrote records without compression, and Helm still reads them.
    let expanded = if bytes.starts_with(&GZIP) {
        let mut expanded = Vec::with_capacity(bytes.len() * 4);
        GzDecoder::new(bytes.as_slice())
            .take(MOST_EXPANDED + 1)
            .read_to_end(&mut expanded)
            .map_err(|_| Defect::Damaged)?;
        expanded
    } else {
        bytes
    };
    let size = expanded.len() as u64;
    if size > MOST_EXPANDED {
        return Err(Defect::TooLarge);
    }
    room.0 = room.0.checked_sub(size).ok_or(Defect::TooLargeTogether)?;
    Ok(expanded)
}

pub(crate) fn compress(json: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let written = encoder.write_all(json).and_then(|()| encoder.finish());
    let bytes = written.expect("BUG: a Vec takes every byte");
    STANDARD.encode(bytes).into_bytes()
}

fn not_a_release(error: &serde_json::Error) -> Defect {
    Defect::NotARelease {
        line: error.line(),
        column: error.column(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELEASE: &str = r#"{"name":"shop","version":3,"info":{"status":"pending-upgrade","description":"Preparing upgrade","first_deployed":"2026-11-27T10:00:00Z"},"chart":{"metadata":{"name":"shop","version":"1.2.3"},"files":null},"config":{"tier":9007199254740993},"manifest":"---\nkind: ConfigMap\n","namespace":"shop"}"#;

    fn told(data: &[u8]) -> String {
        decode(data, "shop", 3).map_or_else(|defect| defect.to_string(), |_| "read".to_owned())
    }

    #[test]
    fn a_payload_that_is_not_what_it_says_is_told_and_not_quoted() {
        let whole = compress(RELEASE.as_bytes());
        assert_eq!(told(&whole), "read");
        // Helm reads records without compression too.
        assert_eq!(told(STANDARD.encode(RELEASE).as_bytes()), "read");
        assert_eq!(told(b"%%%"), "its payload is not base64");
        assert_eq!(told(b""), "its payload is no release (JSON, line 1, column 0)");
        let bytes = STANDARD.decode(&whole).unwrap();
        let cut = STANDARD.encode(&bytes[..bytes.len() / 2]);
        assert_eq!(told(cut.as_bytes()), "its payload is cut short or damaged (gzip)");
        let altered = compress(br#"{"name":"shop","version":"hunter2"}"#);
        assert_eq!(
            told(&altered),
            "its payload is no release (JSON, line 1, column 34)"
        );
        let other = compress(RELEASE.replace("\"version\":3", "\"version\":4").as_bytes());
        assert_eq!(told(&other), "its payload is of release shop, revision 4");
        assert_eq!(
            told(&compress(b"[1, 2]")),
            "its payload is no release (JSON, line 1, column 2)"
        );
    }

    #[test]
    fn a_payload_that_expands_without_end_is_given_up() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        let zeros = vec![b' '; 1024 * 1024];
        for _ in 0..(MOST_EXPANDED / zeros.len() as u64 + 2) {
            encoder.write_all(&zeros).unwrap();
        }
        let bomb = STANDARD.encode(encoder.finish().unwrap());
        assert_eq!(told(bomb.as_bytes()), "its payload expands to more than 64 MiB");
    }

    #[test]
    fn payloads_that_are_large_only_together_are_given_up_together() {
        let padded = RELEASE.replace("ConfigMap", &"x".repeat(MOST_EXPANDED as usize / 5 * 2));
        let (padded, small) = (compress(padded.as_bytes()), compress(RELEASE.as_bytes()));
        let room = &mut Room::default();
        let mut told = |data: &[u8]| {
            let read = decode_within(data, "shop", 3, room);
            read.map_or_else(|defect| defect.to_string(), |_| "read".to_owned())
        };
        assert_eq!([told(&padded), told(&padded)], ["read", "read"]);
        assert_eq!(
            told(&padded),
            "its payload and those of newer revisions expand to more than 64 MiB together"
        );
        assert_eq!(told(&small), "read", "what there is room for is read");
    }

    #[test]
    fn a_repaired_payload_differs_in_its_state_alone() {
        let repaired = with_state(
            &compress(RELEASE.as_bytes()),
            "failed",
            "left by a client that died",
        )
        .unwrap();
        let json: Value = serde_json::from_slice(&expand(&repaired, &mut Room::default()).unwrap()).unwrap();
        let mut expected: Value = serde_json::from_str(RELEASE).unwrap();
        expected["info"]["status"] = Value::from("failed");
        expected["info"]["description"] = Value::from("left by a client that died");
        assert_eq!(json, expected);
    }
}
