//! A deserializer that finds the fields of structs in any letter case, as MassTransit's reader does.
//!
//! Wraps any serde deserializer, without an intermediate tree: serde tells which fields a struct has, so each key that comes in is
//! replaced by the field it means. Called for envelopes and payloads. Keys of maps are left alone. What serde buffers on its own
//! (untagged and internally tagged enums, `flatten`) is compared exactly.

use serde::de::value::{BorrowedStrDeserializer, StrDeserializer};
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};

/// Read JSON into `T`, taking the names of fields in any letter case.
pub fn from_slice<'de, T: Deserialize<'de>>(json: &'de [u8]) -> Result<T, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let value = T::deserialize(Fold(&mut deserializer))?;
    deserializer.end()?;
    Ok(value)
}

/// The wrapper.
struct Fold<T>(T);

macro_rules! forward {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method(FoldVisitor { visitor, fields: &[] })
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Fold<D> {
    type Error = D::Error;

    forward! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64
        deserialize_char deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf deserialize_option
        deserialize_unit deserialize_seq deserialize_map deserialize_identifier deserialize_ignored_any
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_unit_struct(name, FoldVisitor { visitor, fields: &[] })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        if name.starts_with("$serde_json::private") {
            return self.0.deserialize_newtype_struct(name, visitor); // a raw value: bytes, not structure
        }
        self.0.deserialize_newtype_struct(name, FoldVisitor { visitor, fields: &[] })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_tuple(len, FoldVisitor { visitor, fields: &[] })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_tuple_struct(name, len, FoldVisitor { visitor, fields: &[] })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_struct(name, fields, FoldVisitor { visitor, fields })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_enum(name, variants, FoldVisitor { visitor, fields: &[] })
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

/// Hands wrapped parts to the visitor inside.
struct FoldVisitor<V> {
    visitor: V,
    /// Fields of the struct that is read; empty if it is none.
    fields: &'static [&'static str],
}

macro_rules! forward_visit {
    ($($method:ident($type:ty))*) => {
        $(fn $method<E: Error>(self, value: $type) -> Result<V::Value, E> {
            self.visitor.$method(value)
        })*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for FoldVisitor<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.visitor.expecting(f)
    }

    forward_visit! {
        visit_bool(bool) visit_i8(i8) visit_i16(i16) visit_i32(i32) visit_i64(i64) visit_i128(i128)
        visit_u8(u8) visit_u16(u16) visit_u32(u32) visit_u64(u64) visit_u128(u128) visit_f32(f32) visit_f64(f64)
        visit_char(char) visit_str(&str) visit_borrowed_str(&'de str) visit_string(String)
        visit_bytes(&[u8]) visit_borrowed_bytes(&'de [u8]) visit_byte_buf(Vec<u8>)
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_some(Fold(deserializer))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_newtype_struct(Fold(deserializer))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_seq(Fold(access))
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_map(FoldMap { access, fields: self.fields })
    }

    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_enum(Fold(access))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Fold<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Fold(deserializer))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Fold<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.0.next_element_seed(Fold(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

struct FoldMap<A> {
    access: A,
    fields: &'static [&'static str],
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for FoldMap<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        if self.fields.is_empty() {
            return self.access.next_key_seed(seed);
        }
        self.access.next_key_seed(Key { seed, fields: self.fields })
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.access.next_value_seed(Fold(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.access.size_hint()
    }
}

/// Reads a key and gives the field that it means to the seed.
struct Key<S> {
    seed: S,
    fields: &'static [&'static str],
}

impl<S> Key<S> {
    fn field(&self, key: &str) -> Option<&'static str> {
        let exact = self.fields.iter().find(|field| **field == key);
        exact.or_else(|| self.fields.iter().find(|field| field.eq_ignore_ascii_case(key))).copied()
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Key<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for Key<S> {
    type Value = S::Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<S::Value, E> {
        match self.field(key) {
            Some(field) => self.seed.deserialize(BorrowedStrDeserializer::new(field)),
            None => self.seed.deserialize(StrDeserializer::new(key)),
        }
    }

    fn visit_borrowed_str<E: Error>(self, key: &'de str) -> Result<S::Value, E> {
        let name = self.field(key).unwrap_or(key);
        self.seed.deserialize(BorrowedStrDeserializer::new(name))
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for Fold<A> {
    type Error = A::Error;
    type Variant = Fold<A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        let (value, variant) = self.0.variant_seed(seed)?;
        Ok((value, Fold(variant)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Fold<A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.0.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.0.newtype_variant_seed(Fold(seed))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.0.tuple_variant(len, FoldVisitor { visitor, fields: &[] })
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.0.struct_variant(fields, FoldVisitor { visitor, fields })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::value::RawValue;

    use super::*;

    #[derive(serde::Deserialize, Debug, PartialEq)]
    #[serde(rename_all = "camelCase")]
    struct Inner {
        unit_price: f64,
    }

    #[derive(serde::Deserialize, Debug, PartialEq)]
    enum Kind {
        Plain,
        Rich {
            #[serde(rename = "howMuch")]
            how_much: u32,
        },
        One(Inner),
    }

    #[derive(serde::Deserialize, Debug)]
    #[serde(rename_all = "camelCase")]
    struct Outer {
        order_id: String,
        lines: Vec<Inner>,
        note: Option<String>,
        by_name: BTreeMap<String, Inner>,
        kinds: Vec<Kind>,
        rest: Box<RawValue>,
    }

    #[test]
    fn fields_are_found_in_any_letter_case_at_any_depth() {
        let json = r#"{"ORDERID":"7","Lines":[{"UnitPrice":1.5},{"unitprice":2}],"NOTE":"x","unknown":{"a":[1]},
            "byName":{"Keep":{"UNITPRICE":3}},"kinds":["Plain",{"Rich":{"HOWMUCH":4}},{"One":{"Unitprice":5}}],"Rest":{"Any": 1}}"#;
        let outer: Outer = from_slice(json.as_bytes()).unwrap();
        assert_eq!(outer.order_id, "7");
        assert_eq!(outer.lines, [Inner { unit_price: 1.5 }, Inner { unit_price: 2.0 }]);
        assert_eq!(outer.note.as_deref(), Some("x"));
        assert_eq!(outer.by_name["Keep"], Inner { unit_price: 3.0 });
        assert_eq!(
            outer.kinds,
            [Kind::Plain, Kind::Rich { how_much: 4 }, Kind::One(Inner { unit_price: 5.0 })]
        );
        assert_eq!(outer.rest.get(), r#"{"Any": 1}"#);
    }

    #[test]
    fn an_escaped_key_is_found_too() {
        let inner: Inner = from_slice(br#"{"unit\u0050rice":9}"#).unwrap();
        assert_eq!(inner.unit_price, 9.0);
    }

    #[test]
    fn what_stands_behind_the_value_is_an_error() {
        assert!(from_slice::<Inner>(br#"{"unitPrice":1} x"#).is_err());
        assert!(from_slice::<Inner>(b"{").is_err());
    }
}
