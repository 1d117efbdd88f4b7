//! The calculation itself: from an entity and a month to a breakdown. The activity figures are made up from
//! the input, so that the same question always has the same answer; nothing here is real carbon accounting.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The longest name of an entity; what is longer is a mistake.
const ENTITY_ID_MAX: usize = 64;

/// The unit of every emission: grams of carbon dioxide and what equals it.
const UNIT: &str = "gCO2e";

/// The scope 3 categories that are computed, each with its factor in grams of CO₂e per unit of activity.
const FACTORS: [(&str, u64); 4] = [
    ("purchased-goods", 412),
    ("upstream-transport", 96),
    ("business-travel", 158),
    ("waste", 21),
];

/// The body of a calculation request.
#[derive(Deserialize)]
pub(crate) struct Question {
    /// Whose emissions.
    pub(crate) entity_id: String,
    /// The month, as `YYYY-MM`.
    pub(crate) period: String,
}

/// The result of a calculation.
#[derive(Serialize)]
pub(crate) struct Answer {
    entity_id: String,
    period: String,
    unit: &'static str,
    total: u64,
    breakdown: Vec<Part>,
}

/// What one category adds to the total.
#[derive(Serialize)]
struct Part {
    category: &'static str,
    activity: u64,
    factor: u64,
    emissions: u64,
}

impl Question {
    /// Reads a request's body; the error says to the caller what is wrong with it.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, String> {
        let question: Self =
            serde_json::from_slice(body).map_err(|error| format!("not a question: {error}"))?;
        if question.entity_id.is_empty() || question.entity_id.len() > ENTITY_ID_MAX {
            return Err(format!("entity_id: want 1 to {ENTITY_ID_MAX} characters"));
        }
        if !is_month(&question.period) {
            return Err("period: want a month as YYYY-MM".into());
        }
        Ok(question)
    }

    /// Computes the answer.
    pub(crate) fn answer(self) -> Answer {
        let breakdown: Vec<Part> = FACTORS
            .iter()
            .map(|&(category, factor)| {
                let activity = activity(&[&self.entity_id, &self.period, category]);
                Part {
                    category,
                    activity,
                    factor,
                    emissions: activity * factor,
                }
            })
            .collect();
        let total = breakdown.iter().map(|part| part.emissions).sum();
        Answer {
            entity_id: self.entity_id,
            period: self.period,
            unit: UNIT,
            total,
            breakdown,
        }
    }
}

/// The factors that calculations use, by category.
pub(crate) fn factors() -> Value {
    let factors: BTreeMap<&str, u64> = FACTORS.into();
    json!({ "unit": UNIT, "factors": factors })
}

fn is_month(text: &str) -> bool {
    let Some((year, month)) = text.split_once('-') else {
        return false;
    };
    let digits = |part: &str, count| part.len() == count && part.bytes().all(|byte| byte.is_ascii_digit());
    digits(year, 4) && digits(month, 2) && ("01"..="12").contains(&month)
}

/// An activity figure below 10,000, always the same for the same parts (FNV-1a over them).
fn activity(parts: &[&str]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash % 10_000
}
