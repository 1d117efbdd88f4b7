//! Objects without `metadata.managedFields`: who manages which field is half of an object, and only of workloads is it
//! asked. The fields are skipped where they stand, instead of being read and thrown away.

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, IntoDeserializer as _, MapAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use std::fmt;

/// An object that is read without its managed fields.
pub(super) struct Unmanaged<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Unmanaged<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let within = Within {
            what: deserializer,
            level: Level::Object,
        };
        T::deserialize(within).map(Self)
    }
}

/// How deep in the object one is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Object,
    Metadata,
}

/// What reads the object, or a part of it, at a level: deserializer, seed and visitor, each around that of the object.
struct Within<W> {
    what: W,
    level: Level,
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Within<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, what: V) -> Result<V::Value, D::Error> {
        let level = self.level;
        self.what.deserialize_any(Within { what, level })
    }

    fn deserialize_option<V: Visitor<'de>>(self, what: V) -> Result<V::Value, D::Error> {
        let level = self.level;
        self.what.deserialize_option(Within { what, level })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Within<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, what: D) -> Result<S::Value, D::Error> {
        let level = self.level;
        self.what.deserialize(Within { what, level })
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Within<V> {
    type Value = V::Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.what.expecting(out)
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.what.visit_unit()
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.what.visit_none()
    }

    fn visit_some<D: Deserializer<'de>>(self, what: D) -> Result<V::Value, D::Error> {
        let level = self.level;
        self.what.visit_some(Within { what, level })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        let level = self.level;
        let enters = false;
        self.what.visit_map(Fields { map, level, enters })
    }
}

/// The fields of a level, one after the other.
struct Fields<A> {
    map: A,
    level: Level,
    /// Whether the value that comes next is the object's metadata.
    enters: bool,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Fields<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        while let Some(key) = self.map.next_key::<String>()? {
            if self.level == Level::Metadata && key == "managedFields" {
                self.map.next_value::<IgnoredAny>()?;
                continue;
            }
            self.enters = self.level == Level::Object && key == "metadata";
            return seed.deserialize(key.into_deserializer()).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, what: V) -> Result<V::Value, A::Error> {
        if self.enters {
            let level = Level::Metadata;
            self.map.next_value_seed(Within { what, level })
        } else {
            self.map.next_value_seed(what)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Unmanaged;
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::{Value, json};

    const MANAGED: &str = r#"[{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}]"#;

    #[test]
    fn an_object_is_read_whole_but_for_who_manages_its_fields() {
        let labels = r#"{"managedFields": "a label's own name"}"#;
        let text = format!(
            r#"{{"kind": "Pod", "metadata": {{"name": "a", "managedFields": {MANAGED}, "labels": {labels}}},
                "spec": {{"containers": [], "managedFields": 1}}, "status": null}}"#
        );
        let Unmanaged(object) = serde_json::from_str::<Unmanaged<Value>>(&text).unwrap();
        let labelled = json!({"managedFields": "a label's own name"});
        assert_eq!(
            object,
            json!({"kind": "Pod", "metadata": {"name": "a", "labels": labelled},
                   "spec": {"containers": [], "managedFields": 1}, "status": null})
        );
        let Unmanaged(pod) = serde_json::from_str::<Unmanaged<Pod>>(&text).unwrap();
        assert_eq!(pod.metadata.name.as_deref(), Some("a"));
        assert_eq!(
            pod.metadata.labels.unwrap()["managedFields"],
            "a label's own name"
        );
        assert!(pod.metadata.managed_fields.is_none() && pod.spec.is_some());
    }

    #[test]
    fn an_object_without_metadata_is_read_and_what_is_no_object_is_refused() {
        let bare = serde_json::from_str::<Unmanaged<Pod>>(r#"{"metadata": null}"#);
        assert!(bare.is_ok_and(|Unmanaged(pod)| pod == Pod::default()));
        assert!(serde_json::from_str::<Unmanaged<Value>>("\"pod\"").is_err());
    }
}
