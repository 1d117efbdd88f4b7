//! From a request's path to what is meant. Owns the shapes of paths; knows no kinds.

use super::status::{Outcome, Refusal};
use std::borrow::Cow;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    /// `/api`, `/apis`, `/version` and the like.
    Root(&'a str),
    /// `/apis/GROUP`
    Group(&'a str),
    /// `/api/v1`, `/apis/GROUP/VERSION`
    Version { group: &'a str, version: &'a str },
    /// A resource: a collection, an object, or a part of one.
    Resource(Place<'a>),
}

/// The parts of a resource's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place<'a> {
    pub(crate) group: &'a str,
    pub(crate) version: &'a str,
    pub(crate) namespace: Option<&'a str>,
    pub(crate) plural: &'a str,
    pub(crate) name: Option<&'a str>,
    pub(crate) subresource: Option<&'a str>,
}

pub(crate) fn route(path: &str) -> Outcome<Route<'_>> {
    if path.contains("//") {
        return Err(Refusal::no_such_path());
    }
    let trimmed = path.trim_end_matches('/');
    let parts: Vec<&str> = trimmed.split('/').filter(|part| !part.is_empty()).collect();
    let (group, version, rest) = match parts.as_slice() {
        ["apis", group] => return Ok(Route::Group(group)),
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return Ok(Route::Root(trimmed)),
    };
    let place = |namespace, plural, name, subresource| {
        Ok(Route::Resource(Place {
            group,
            version,
            namespace,
            plural,
            name,
            subresource,
        }))
    };
    match rest {
        [] => Ok(Route::Version { group, version }),
        // A namespace's own subresources look like collections inside it.
        ["namespaces", name, part @ ("status" | "finalize")] => {
            place(None, "namespaces", Some(*name), Some(*part))
        }
        ["namespaces", namespace, plural] => place(Some(*namespace), plural, None, None),
        ["namespaces", namespace, plural, name] => place(Some(*namespace), plural, Some(*name), None),
        ["namespaces", namespace, plural, name, part] => {
            place(Some(*namespace), plural, Some(*name), Some(*part))
        }
        // `services/NAME/proxy/PATH…`
        ["namespaces", namespace, plural, name, part, ..] => {
            place(Some(*namespace), plural, Some(*name), Some(*part))
        }
        [plural] => place(None, plural, None, None),
        [plural, name] => place(None, plural, Some(*name), None),
        [plural, name, part] => place(None, plural, Some(*name), Some(*part)),
        _ => Err(Refusal::no_such_path()),
    }
}

/// A query's parameters, decoded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(query: &str) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        });
        Self(pairs.collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(each, _)| each == name)?;
        Some(value.as_str()).filter(|value| !value.is_empty())
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        matches!(self.get(name), Some("true" | "1"))
    }

    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> Outcome<Option<T>> {
        self.get(name)
            .map(|text| {
                text.parse().map_err(|_| {
                    Refusal::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))
                })
            })
            .transpose()
    }
}

/// A path as it is meant: names such as `system:node` may come encoded.
pub(crate) fn decoded_path(path: &str) -> Cow<'_, str> {
    if path.contains('%') {
        // A plus is a plus in a path.
        decoded(&path.replace('+', "%2B")).into()
    } else {
        path.into()
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = rest.clone().take(2).collect::<Vec<u8>>();
                let parsed = std::str::from_utf8(&digits)
                    .ok()
                    .and_then(|digits| u8::from_str_radix(digits, 16).ok());
                match parsed {
                    Some(parsed) => {
                        bytes.push(parsed);
                        rest.next();
                        rest.next();
                    }
                    None => bytes.push(byte),
                }
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_collections_objects_and_parts() {
        let check = |path: &str, namespace, plural, name, part| {
            let Ok(Route::Resource(place)) = route(path) else {
                panic!("{path} is no resource");
            };
            assert_eq!(
                (place.namespace, place.plural, place.name, place.subresource),
                (namespace, plural, name, part),
                "{path}"
            );
        };
        check("/api/v1/pods", None, "pods", None, None);
        check("/api/v1/namespaces/shop", None, "namespaces", Some("shop"), None);
        check("/api/v1/namespaces/shop/pods", Some("shop"), "pods", None, None);
        check(
            "/api/v1/namespaces/shop/status",
            None,
            "namespaces",
            Some("shop"),
            Some("status"),
        );
        check(
            "/apis/apps/v1/namespaces/shop/deployments/web/scale",
            Some("shop"),
            "deployments",
            Some("web"),
            Some("scale"),
        );
        assert_eq!(route("/apis/apps").unwrap(), Route::Group("apps"));
        assert_eq!(route("/version").unwrap(), Route::Root("/version"));
    }

    #[test]
    fn an_encoded_name_in_a_path_is_meant_as_the_name() {
        assert_eq!(decoded_path("/a/system%3Anode+x"), "/a/system:node+x");
    }

    #[test]
    fn a_query_is_decoded() {
        let query = Query::parse("labelSelector=app%3Dweb%2Ctier&watch=true&limit=");
        assert_eq!(query.get("labelSelector"), Some("app=web,tier"));
        assert!(query.flag("watch"));
        assert_eq!(query.get("limit"), None);
    }
}
