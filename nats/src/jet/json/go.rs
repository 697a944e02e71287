//! JSON that was parsed, as Go takes it into its structures.
//!
//! Called by [`super::read_value`] for what is spelt in an unusual way. What must hold: `null` leaves a field as nothing had been said, but an
//! enumeration refuses it; a structure is an object and no list; names of fields are known in any case, and one that is not known is there
//! even if its value is `null`. Not here: what a fast reader takes at once.

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, Error as _, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Error, Value};

/// See the module.
pub(super) struct Go {
    value: Value,
    /// Fields that are not known are passed over.
    is_lenient: bool,
}

impl Go {
    pub(super) fn new(value: Value, is_lenient: bool) -> Self {
        Self { value, is_lenient }
    }

    fn list<'de, V: Visitor<'de>>(&self, values: Vec<Value>, visitor: V) -> Result<V::Value, Error> {
        let is_lenient = self.is_lenient;
        visitor.visit_seq(SeqDeserializer::new(values.into_iter().map(|value| Self { value, is_lenient })))
    }

    fn object<'de, V: Visitor<'de>>(
        &self,
        fields: Vec<(String, Value)>,
        visitor: V,
    ) -> Result<V::Value, Error> {
        let is_lenient = self.is_lenient;
        let fields = fields.into_iter().map(|(name, value)| (name, Self { value, is_lenient }));
        visitor.visit_map(MapDeserializer::new(fields))
    }

    /// What `null` stands for where something of this kind is expected.
    fn or<'de, V: Visitor<'de>>(self, nothing: Value, visitor: V) -> Result<V::Value, Error> {
        let value = if self.value.is_null() { nothing } else { self.value };
        Self { value, ..self }.deserialize_any(visitor)
    }
}

impl<'de> IntoDeserializer<'de, Error> for Go {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! null_is {
    ($nothing:expr; $($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.or($nothing, visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Go {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        match std::mem::take(&mut self.value) {
            Value::Array(values) => self.list(values, visitor),
            Value::Object(fields) => self.object(fields.into_iter().collect(), visitor),
            plain => plain.deserialize_any(visitor),
        }
    }

    null_is!(Value::from(0); deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8 deserialize_u16);
    null_is!(Value::from(0); deserialize_u32 deserialize_u64 deserialize_f32 deserialize_f64);
    null_is!(Value::from(false); deserialize_bool);
    null_is!(Value::from(""); deserialize_str deserialize_string);
    null_is!(Value::Array(Vec::new()); deserialize_seq);
    null_is!(Value::Object(Default::default()); deserialize_map);

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.value.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        mut self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let fields = match std::mem::take(&mut self.value) {
            Value::Null => Vec::new(),
            Value::Object(fields) => fields.into_iter().collect(),
            _ => return Err(Error::custom("an object is expected")),
        };
        let mut named: Vec<(String, Value)> = Vec::with_capacity(fields.len());
        for (name, value) in fields {
            let found = known.iter().find(|known| known.eq_ignore_ascii_case(&name));
            let name = match found {
                Some(known) => (*known).to_owned(),
                None if self.is_lenient => continue,
                None => name,
            };
            // Of two spellings of a name the later one counts.
            named.retain(|(other, _)| *other != name);
            named.push((name, value));
        }
        self.object(named, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.value.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}
