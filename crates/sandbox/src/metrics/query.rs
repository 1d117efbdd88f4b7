//! What an expression of PromQL is worth at a time. Owns the few forms that are answered, those of canary analysis:
//! selectors, `rate` and `increase`, aggregations, arithmetic, `histogram_quantile`. The rest is refused by its name.

use super::series::{self, Series};
use crate::traffic::Requests;
use jiff::{SignedDuration, Timestamp};
use promql_parser::label::Matchers;
use promql_parser::parser::{
    self, AggregateExpr, BinaryExpr, Call, Expr, LabelModifier, MatrixSelector, VectorMatchCardinality,
    VectorSelector,
};
use std::collections::BTreeMap;

/// Names and values.
pub(super) type Labels = BTreeMap<String, String>;

const NAME: &str = "__name__";
const BOUND: &str = "le";
/// How long a series is still told after its last sample.
const LOOKBACK: SignedDuration = SignedDuration::from_mins(5);
/// The time between two samples; a rate needs two.
const SCRAPED: SignedDuration = SignedDuration::from_secs(15);

/// What an expression is worth.
#[derive(Debug, PartialEq)]
pub(super) enum Value {
    Scalar(f64),
    Vector(Vec<Sample>),
}

/// One of a vector.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) labels: Labels,
    pub(super) value: f64,
}

/// Reads an expression.
pub(super) fn parse(text: &str) -> Result<Expr, String> {
    parser::parse(text).map_err(|error| format!("invalid parameter \"query\": {error}"))
}

/// What an expression is worth at a time.
pub(super) fn value(asked: &Expr, requests: &Requests, at: Timestamp) -> Result<Value, String> {
    match asked {
        Expr::NumberLiteral(number) => Ok(Value::Scalar(number.val)),
        Expr::Paren(inner) => value(&inner.expr, requests, at),
        Expr::VectorSelector(selector) => selected(selector, requests, at),
        Expr::Call(call) => called(call, requests, at),
        Expr::Aggregate(aggregation) => aggregated(aggregation, requests, at),
        Expr::Binary(binary) => combined(binary, requests, at),
        Expr::MatrixSelector(_) => Err(unknown("a range without rate or increase")),
        Expr::Subquery(_) => Err(unknown("a subquery")),
        Expr::Unary(_) => Err(unknown("a sign before an expression")),
        Expr::StringLiteral(_) => Err(unknown("a text")),
        Expr::Extension(_) => Err(unknown("an extension")),
    }
}

fn unknown(what: &str) -> String {
    format!(
        "the sandbox does not answer {what}; it knows selectors, rate and increase over a range, sum, avg, min, max and \
         count, + - * / and histogram_quantile"
    )
}

fn matching<'a>(
    selector: &'a VectorSelector,
    requests: &'a Requests,
) -> Result<impl Iterator<Item = Series<'a>>, String> {
    if selector.offset.is_some() || selector.at.is_some() {
        return Err(unknown("offset and @"));
    }
    let Matchers {
        matchers,
        or_matchers,
    } = &selector.matchers;
    if !or_matchers.is_empty() {
        return Err(unknown("matchers with or"));
    }
    Ok(series::all(requests).filter(move |series| {
        let label = |name: &str| series.labels.get(name).map_or("", String::as_str);
        selector.name.as_deref().is_none_or(|name| label(NAME) == name)
            && matchers
                .iter()
                .all(|matcher| matcher.is_match(label(&matcher.name)))
    }))
}

fn selected(selector: &VectorSelector, requests: &Requests, at: Timestamp) -> Result<Value, String> {
    let told = |series: &Series<'_>| {
        series.count.began() <= at && series.count.ended().is_none_or(|ended| at < ended + LOOKBACK)
    };
    let samples = matching(selector, requests)?.filter(told).map(|series| Sample {
        value: series.count.total(at) * series.each,
        labels: series.labels,
    });
    Ok(Value::Vector(samples.collect()))
}

fn called(call: &Call, requests: &Requests, at: Timestamp) -> Result<Value, String> {
    let arguments = &call.args.args;
    match (call.func.name, arguments.as_slice()) {
        (name @ ("rate" | "increase"), [range]) => {
            let Expr::MatrixSelector(range) = &**range else {
                return Err(unknown("a rate of anything but a selector with a range"));
            };
            increase(range, requests, at, name == "rate")
        }
        ("histogram_quantile", [share, buckets]) => {
            let (Value::Scalar(share), Value::Vector(buckets)) =
                (value(share, requests, at)?, value(buckets, requests, at)?)
            else {
                return Err(unknown(
                    "histogram_quantile of anything but a number and a vector",
                ));
            };
            Ok(Value::Vector(quantiles(share, buckets)))
        }
        (name, _) => Err(unknown(&format!("{name}()"))),
    }
}

fn increase(
    range: &MatrixSelector,
    requests: &Requests,
    at: Timestamp,
    per_second: bool,
) -> Result<Value, String> {
    let window = SignedDuration::try_from(range.range).map_err(|error| error.to_string())?;
    let from = at - window;
    let told = |series: &Series<'_>| {
        let sampled = at.duration_since(series.count.began()) >= SCRAPED && window > SCRAPED;
        sampled && series.count.ended().is_none_or(|ended| ended > from)
    };
    let over = if per_second { window.as_secs_f64() } else { 1.0 };
    let samples = matching(&range.vs, requests)?.filter(told).map(|mut series| {
        series.labels.remove(NAME);
        Sample {
            value: (series.count.total(at) - series.count.total(from)) * series.each / over,
            labels: series.labels,
        }
    });
    Ok(Value::Vector(samples.collect()))
}

fn aggregated(asked: &AggregateExpr, requests: &Requests, at: Timestamp) -> Result<Value, String> {
    let how = asked.op.to_string();
    let fold: fn(&[f64]) -> f64 = match how.as_str() {
        "sum" => |values| values.iter().sum(),
        "avg" => |values| values.iter().sum::<f64>() / values.len() as f64,
        "min" => |values| values.iter().copied().fold(f64::INFINITY, f64::min),
        "max" => |values| values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        "count" => |values| values.len() as f64,
        _ => return Err(unknown(&format!("{how}()"))),
    };
    let Value::Vector(samples) = value(&asked.expr, requests, at)? else {
        return Err(unknown(&format!("{how}() of a number")));
    };
    let mut groups: BTreeMap<Labels, Vec<f64>> = BTreeMap::new();
    for Sample { mut labels, value } in samples {
        labels.retain(|name, _| match &asked.modifier {
            None => false,
            Some(LabelModifier::Include(by)) => by.labels.contains(name),
            Some(LabelModifier::Exclude(without)) => name != NAME && !without.labels.contains(name),
        });
        groups.entry(labels).or_default().push(value);
    }
    let samples = groups.into_iter().map(|(labels, values)| Sample {
        labels,
        value: fold(&values),
    });
    Ok(Value::Vector(samples.collect()))
}

fn combined(asked: &BinaryExpr, requests: &Requests, at: Timestamp) -> Result<Value, String> {
    let sign = asked.op.to_string();
    let arithmetic: fn(f64, f64) -> f64 = match sign.as_str() {
        "+" => |one, other| one + other,
        "-" => |one, other| one - other,
        "*" => |one, other| one * other,
        "/" => |one, other| one / other,
        _ => return Err(unknown(&format!("{sign} between expressions"))),
    };
    let plain = asked.modifier.as_ref().is_none_or(|modifier| {
        modifier.matching.is_none() && modifier.card == VectorMatchCardinality::OneToOne
    });
    if !plain {
        return Err(unknown("on, ignoring and group modifiers"));
    }
    let nameless = |mut labels: Labels| {
        labels.remove(NAME);
        labels
    };
    let each = |samples: Vec<Sample>, what: &dyn Fn(f64) -> f64| {
        let samples = samples.into_iter().map(|sample| Sample {
            value: what(sample.value),
            labels: nameless(sample.labels),
        });
        Value::Vector(samples.collect())
    };
    let (left, right) = (value(&asked.lhs, requests, at)?, value(&asked.rhs, requests, at)?);
    Ok(match (left, right) {
        (Value::Scalar(one), Value::Scalar(other)) => Value::Scalar(arithmetic(one, other)),
        (Value::Vector(samples), Value::Scalar(other)) => each(samples, &|one| arithmetic(one, other)),
        (Value::Scalar(one), Value::Vector(samples)) => each(samples, &|other| arithmetic(one, other)),
        (Value::Vector(ones), Value::Vector(others)) => {
            let others: BTreeMap<Labels, f64> = others
                .into_iter()
                .map(|sample| (nameless(sample.labels), sample.value))
                .collect();
            let samples = ones.into_iter().filter_map(|sample| {
                let labels = nameless(sample.labels);
                let other = others.get(&labels)?;
                Some(Sample {
                    value: arithmetic(sample.value, *other),
                    labels,
                })
            });
            Value::Vector(samples.collect())
        }
    })
}

/// The quantile of each histogram, between two bounds in proportion. As Prometheus computes it.
fn quantiles(share: f64, buckets: Vec<Sample>) -> Vec<Sample> {
    let mut histograms: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
    for Sample { mut labels, value } in buckets {
        labels.remove(NAME);
        let bound = labels.remove(BOUND).and_then(|bound| bound.parse().ok());
        if let Some(bound) = bound {
            histograms.entry(labels).or_default().push((bound, value));
        }
    }
    let samples = histograms.into_iter().map(|(labels, buckets)| Sample {
        labels,
        value: quantile(share, buckets),
    });
    samples.collect()
}

fn quantile(share: f64, mut buckets: Vec<(f64, f64)>) -> f64 {
    if share.is_nan() {
        return f64::NAN;
    }
    if share < 0.0 {
        return f64::NEG_INFINITY;
    }
    if share > 1.0 {
        return f64::INFINITY;
    }
    buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
    let [lower @ .., (last, all)] = buckets.as_slice() else {
        return f64::NAN;
    };
    if !last.is_infinite() || lower.is_empty() || *all == 0.0 {
        return f64::NAN;
    }
    let rank = share * all;
    let Some(at) = lower.iter().position(|(_, count)| *count >= rank) else {
        return lower[lower.len() - 1].0;
    };
    let (end, count) = lower[at];
    let (start, before) = match at {
        0 if end <= 0.0 => return end,
        0 => (0.0, 0.0),
        at => lower[at - 1],
    };
    start + (end - start) * (rank - before) / (count - before)
}
