//! Image references: repository, tag, digest. Knows no registry.

use serde::{Deserialize, Serialize};
use std::fmt;

/// An image as a template names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Image {
    /// The text exactly as written in the template.
    pub reference: String,
}

impl Image {
    /// Takes the reference as it is; any text is a reference, only its parts may be missing.
    pub fn parse(reference: &str) -> Self {
        Self {
            reference: reference.to_owned(),
        }
    }

    /// The tag: what stands after the last `:` of the last path segment, without the digest.
    pub fn tag(&self) -> Option<&str> {
        let name = self.reference.split('@').next().unwrap_or_default();
        let last = name.rsplit('/').next().unwrap_or_default();
        last.split_once(':').map(|(_, tag)| tag)
    }

    /// `sha256:…` where the reference pins one.
    pub fn digest(&self) -> Option<&str> {
        self.reference.split_once('@').map(|(_, digest)| digest)
    }

    /// The reference without tag and digest.
    pub fn repository(&self) -> &str {
        let name = self.reference.split('@').next().unwrap_or_default();
        match self.tag() {
            Some(tag) => name
                .strip_suffix(tag)
                .and_then(|n| n.strip_suffix(':'))
                .unwrap_or(name),
            None => name,
        }
    }

    /// What a person calls the version: the tag, else the first twelve digits of the digest, else `latest`.
    pub fn version(&self) -> String {
        match (self.tag(), self.digest()) {
            (Some(tag), _) => tag.to_owned(),
            (None, Some(digest)) => digest
                .strip_prefix("sha256:")
                .unwrap_or(digest)
                .chars()
                .take(12)
                .collect(),
            (None, None) => "latest".to_owned(),
        }
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reference)
    }
}

#[cfg(test)]
mod tests {
    use super::Image;

    #[test]
    fn a_port_in_the_host_is_not_a_tag() {
        let check = |text: &str, repository: &str, tag: Option<&str>, digest: Option<&str>| {
            let image = Image::parse(text);
            assert_eq!(
                (image.repository(), image.tag(), image.digest()),
                (repository, tag, digest),
                "{text}"
            );
        };
        check("nginx", "nginx", None, None);
        check("nginx:1.27", "nginx", Some("1.27"), None);
        check("host.test:5000/a/b", "host.test:5000/a/b", None, None);
        check(
            "host.test:5000/a/b:v1@sha256:ab",
            "host.test:5000/a/b",
            Some("v1"),
            Some("sha256:ab"),
        );
    }
}
