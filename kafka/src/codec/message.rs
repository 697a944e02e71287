//! The macro that makes structures, readers and writers out of the generated tables.
//!
//! One line of a table is one field: `name: type, default -1, in 3.., null 4.., tag 0;`. `in` names the versions that have the
//! field (all, if it is missing), `null` those in which an optional field may be null (all), `tag` makes it a tagged field. A
//! field that a version does not have keeps its default when read and is left out when written.

/// Makes the structures of one API.
macro_rules! messages {
    ($($name:ident $(<$life:lifetime>)? {
        $($field:ident: $of:ty $(, default $default:expr)? $(, in $versions:expr)? $(, null $null:expr)? $(, tag $tag:literal)?;)*
    })*) => {$(
        #[derive(Clone, Debug, PartialEq)]
        #[expect(missing_docs, reason = "names and meaning are those of Kafka's message definitions")]
        pub struct $name $(<$life>)? {
            $(pub $field: $of,)*
        }

        impl $(<$life>)? Default for $name $(<$life>)? {
            fn default() -> Self {
                Self { $($field: messages!(@default $($default)?),)* }
            }
        }

        #[allow(unused_variables, unused_mut, reason = "not every structure has fields, tagged ones, or ones that come and go")]
        impl<'a> $crate::codec::wire::Wire<'a> for $name $(<$life>)? {
            fn read(reader: &mut $crate::codec::wire::Reader<'a>) -> Result<Self, $crate::codec::Malformed> {
                let version = reader.version;
                let mut this = Self::default();
                $(messages!(@read this.$field, reader, version, [$($versions)?], [$($null)?], [$($tag)?]);)*
                reader.tags(|tag, reader| {
                    $(messages!(@known tag, this.$field, reader, version, [$($versions)?], [$($tag)?]);)*
                    Ok(false)
                })?;
                Ok(this)
            }

            fn write(&self, writer: &mut $crate::codec::wire::Writer<'_>) {
                let version = writer.version;
                $(messages!(@write self.$field, writer, version, [$($versions)?], [$($null)?], [$($tag)?]);)*
                let mut tags = $crate::codec::wire::Tags::default();
                $(messages!(@tag tags, self.$field, writer, version, [$($versions)?], [$($tag)?], [$($default)?]);)*
                tags.end(writer);
            }
        }

        impl<'a> $crate::codec::wire::Nullable<'a> for $name $(<$life>)? {
            fn read_nullable(
                reader: &mut $crate::codec::wire::Reader<'a>,
            ) -> Result<Option<Self>, $crate::codec::Malformed> {
                use $crate::codec::wire::Wire;
                if i8::read(reader)? < 0 { Ok(None) } else { Self::read(reader).map(Some) }
            }

            fn write_nullable(value: Option<&Self>, writer: &mut $crate::codec::wire::Writer<'_>) {
                use $crate::codec::wire::Wire;
                let present: i8 = if value.is_some() { 1 } else { -1 };
                present.write(writer);
                if let Some(value) = value {
                    value.write(writer);
                }
            }
        }

        #[cfg(test)]
        impl<'a> $crate::codec::oracle::Sample<'a> for $name $(<$life>)? {
            #[allow(unused_variables, unused_mut, reason = "some structures have no fields")]
            fn sample(choice: &mut $crate::codec::oracle::Choice) -> Self {
                let version = choice.version;
                let mut this = Self::default();
                $(if messages!(@has version, [$($versions)?]) {
                    this.$field = $crate::codec::oracle::Sample::sample(choice);
                    messages!(@sample this.$field, version, choice, [$($null)?]);
                })*
                this
            }
        }
    )*};

    (@default) => { Default::default() };
    (@default $default:expr) => { $default };

    (@has $version:ident, []) => { true };
    (@has $version:ident, [$versions:expr]) => { ($versions).contains(&$version) };

    (@read $this:ident.$field:ident, $reader:ident, $version:ident, $versions:tt, $null:tt, [$tag:literal]) => {};
    (@read $this:ident.$field:ident, $reader:ident, $version:ident, $versions:tt, [], []) => {
        if messages!(@has $version, $versions) {
            $this.$field = $crate::codec::wire::Wire::read($reader)?;
        }
    };
    (@read $this:ident.$field:ident, $reader:ident, $version:ident, $versions:tt, [$null:expr], []) => {
        if messages!(@has $version, $versions) {
            $this.$field = $crate::codec::wire::Wire::read($reader)?;
            if $this.$field.is_none() && !($null).contains(&$version) {
                return Err($crate::codec::Malformed("null"));
            }
        }
    };

    (@known $found:ident, $this:ident.$field:ident, $reader:ident, $version:ident, $versions:tt, []) => {};
    (@known $found:ident, $this:ident.$field:ident, $reader:ident, $version:ident, $versions:tt, [$tag:literal]) => {
        if $found == $tag && messages!(@has $version, $versions) {
            $this.$field = $crate::codec::wire::Wire::read($reader)?;
            return Ok(true);
        }
    };

    (@write $this:ident.$field:ident, $writer:ident, $version:ident, $versions:tt, $null:tt, [$tag:literal]) => {};
    (@write $this:ident.$field:ident, $writer:ident, $version:ident, $versions:tt, [], []) => {
        if messages!(@has $version, $versions) {
            $this.$field.write($writer);
        }
    };
    (@write $this:ident.$field:ident, $writer:ident, $version:ident, $versions:tt, [$null:expr], []) => {
        if messages!(@has $version, $versions) {
            if $this.$field.is_none() && !($null).contains(&$version) {
                Some($this.$field.clone().unwrap_or_default()).write($writer);
            } else {
                $this.$field.write($writer);
            }
        }
    };

    (@tag $tags:ident, $this:ident.$field:ident, $writer:ident, $version:ident, $versions:tt, [], $default:tt) => {};
    (@tag $tags:ident, $this:ident.$field:ident, $writer:ident, $version:ident, $versions:tt, [$tag:literal], [$($default:expr)?]) => {
        if messages!(@has $version, $versions) {
            let mut plain = Self::default();
            plain.$field = messages!(@default $($default)?);
            if $this.$field != plain.$field {
                $tags.put($tag, &$this.$field, $writer);
            }
        }
    };

    (@sample $this:ident.$field:ident, $version:ident, $choice:ident, []) => {};
    (@sample $this:ident.$field:ident, $version:ident, $choice:ident, [$null:expr]) => {
        if $this.$field.is_none() && !($null).contains(&$version) {
            $this.$field = Some($crate::codec::oracle::Sample::sample($choice));
        }
    };
}

pub(crate) use messages;
