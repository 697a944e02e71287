//! From two definitions to one table in Rust, and the index of all tables.
//!
//! What a table says is described at the macro that reads it, `kafka/src/codec/message.rs`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::definition::{Definition, Field, Versions};

/// Rust's words that are names of fields.
const KEYWORDS: &[&str] = &["type", "match", "in", "ref"];

/// A request and its response.
pub(super) struct Api {
    name: &'static str,
    request: Definition,
    response: Definition,
    versions: Versions,
    /// First flexible version; `None`: there is none.
    flexible: Option<i16>,
}

/// A structure of a table.
struct Structure {
    name: String,
    /// Something in it is borrowed.
    borrows: bool,
    lines: Vec<String>,
}

impl Api {
    pub(super) fn new(name: &'static str, request: Definition, response: Definition) -> Result<Self> {
        let versions = request.stable()?;
        if request.flexible_versions != response.flexible_versions || request.api_key != response.api_key {
            bail!("{name}: request and response differ in key or flexible versions");
        }
        let flexible = Versions::parse(&request.flexible_versions)?.map(|versions| versions.first);
        Ok(Self { name, request, response, versions, flexible })
    }

    pub(super) fn key(&self) -> i16 {
        self.request.api_key
    }

    /// Name of the module, and of its file.
    pub(super) fn module(&self) -> String {
        snake(self.name)
    }

    /// The whole file.
    pub(super) fn text(&self, kafka: &str) -> Result<String> {
        let mut structures = Vec::new();
        for definition in [&self.request, &self.response] {
            let mut taken: BTreeSet<String> =
                structures.iter().map(|one: &Structure| one.name.clone()).collect();
            self.structure(&definition.name, &definition.fields, definition, &mut taken, &mut structures)
                .with_context(|| format!("generate {}", definition.name))?;
        }
        let mut body = String::new();
        for structure in &structures {
            let life = if structure.borrows { "<'a>" } else { "" };
            write!(body, "\n    {}{life} {{", structure.name)?;
            for line in &structure.lines {
                write!(body, "\n        {line}")?;
            }
            body.push_str(if structure.lines.is_empty() { "}\n" } else { "\n    }\n" });
        }
        let uses: Vec<&str> = ["Text", "Uuid"]
            .into_iter()
            .filter(|word| body.contains(&format!("{word}{}", if *word == "Text" { "<" } else { "" })))
            .collect();
        let mut text = format!(
            "//! {} (key {}): the messages of Kafka {kafka}. Made by `cargo xtask codegen kafka`; change the generator, not this.\n\n",
            self.name,
            self.key()
        );
        text.push_str("use crate::codec::message::messages;\n");
        match uses[..] {
            [] => {}
            [one] => writeln!(text, "use crate::codec::wire::{one};")?,
            _ => writeln!(text, "use crate::codec::wire::{{{}}};", uses.join(", "))?,
        }
        write!(text, "\nmessages! {{{}}}\n", body.trim_start_matches('\n').replacen("    ", "\n    ", 1))?;
        Ok(text)
    }

    /// Adds a structure after those it is made of; returns its name and whether it borrows.
    fn structure(
        &self,
        name: &str,
        fields: &[Field],
        definition: &Definition,
        taken: &mut BTreeSet<String>,
        out: &mut Vec<Structure>,
    ) -> Result<(String, bool)> {
        let name = if taken.contains(name) { format!("{}{name}", definition.name) } else { name.to_owned() };
        let mut borrows = false;
        let mut lines = Vec::new();
        let mut tagged = Vec::new();
        for field in fields {
            field.check()?;
            let Some(versions) = Versions::parse(&field.versions)?.and_then(|own| own.within(self.versions))
            else {
                continue;
            };
            let (of, field_borrows) = self.of(field, definition, taken, out)?;
            borrows |= field_borrows;
            let mut line = String::new();
            let nullable = match &field.nullable_versions {
                Some(text) => Versions::parse(text)?.and_then(|null| null.within(versions)),
                None => None,
            };
            let of = if nullable.is_some() { format!("Option<{of}>") } else { of };
            write!(line, "{}: {of}", ident(&field.name))?;
            if let Some(default) = default(field, &of)? {
                write!(line, ", default {default}")?;
            }
            if let Some(range) = versions.range(self.versions) {
                write!(line, ", in {range}")?;
            }
            if let Some(null) = nullable {
                write!(line, ", null {}", null.range(versions).unwrap_or_else(|| "0..".to_owned()))?;
            }
            if let Some(tag) = field.tag {
                let since = Versions::parse(field.tagged_versions.as_deref().unwrap_or("none"))?;
                if since.is_none_or(|since| since.first > versions.first) {
                    bail!("{} is tagged in some of its versions only", field.name);
                }
                write!(line, ", tag {tag}")?;
                tagged.push((tag, line + ";"));
            } else {
                lines.push(line + ";");
            }
        }
        tagged.sort();
        lines.extend(tagged.into_iter().map(|(_, line)| line));
        taken.insert(name.clone());
        out.push(Structure { name: name.clone(), borrows, lines });
        Ok((name, borrows))
    }

    /// The Rust type of a field, and whether it borrows.
    fn of(
        &self,
        field: &Field,
        definition: &Definition,
        taken: &mut BTreeSet<String>,
        out: &mut Vec<Structure>,
    ) -> Result<(String, bool)> {
        let (element, array) = match field.of.strip_prefix("[]") {
            Some(element) => (element, true),
            None => (field.of.as_str(), false),
        };
        let (of, borrows) = match element {
            "bool" => ("bool".to_owned(), false),
            "int8" => ("i8".to_owned(), false),
            "int16" => ("i16".to_owned(), false),
            "uint16" => ("u16".to_owned(), false),
            "int32" => ("i32".to_owned(), false),
            "uint32" => ("u32".to_owned(), false),
            "int64" => ("i64".to_owned(), false),
            "float64" => ("f64".to_owned(), false),
            "uuid" => ("Uuid".to_owned(), false),
            "string" => ("Text<'a>".to_owned(), true),
            "bytes" | "records" => ("&'a [u8]".to_owned(), true),
            name => {
                let shared = definition.common_structs.iter().find(|shared| shared.name == name);
                let fields = shared.map_or(&field.fields, |shared| &shared.fields);
                let known = out.iter().find(|one| shared.is_some() && one.name == name);
                let (name, borrows) = match known {
                    Some(known) => (known.name.clone(), known.borrows),
                    None => self.structure(name, fields, definition, taken, out)?,
                };
                (if borrows { format!("{name}<'a>") } else { name }, borrows)
            }
        };
        Ok((if array { format!("Vec<{of}>") } else { of }, borrows))
    }
}

/// The default of a field, unless it is what Rust's `Default` gives anyway.
fn default(field: &Field, of: &str) -> Result<Option<String>> {
    let text = match &field.default {
        None => return Ok(None),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    Ok(match (text.as_str(), of) {
        ("" | "0" | "false", _) => None,
        ("null", of) if of.starts_with("Option<") => None,
        ("true", "bool") => Some(text),
        (number, "i8" | "i16" | "u16" | "i32" | "u32" | "i64") => Some(match number {
            "0x7fffffff" => "i32::MAX".to_owned(),
            "-2147483648" => "i32::MIN".to_owned(),
            "9223372036854775807" => "i64::MAX".to_owned(),
            _ => number.parse::<i64>().map(|number| number.to_string()).context("read a default")?,
        }),
        _ => bail!("{}: a default of {text:?} for {of}", field.name),
    })
}

/// The index: modules, and one row for each API.
pub(super) fn index(apis: &[Api], kafka: &str) -> String {
    let mut text = format!(
        "//! The messages of Kafka {kafka} that the dialect knows. Made by `cargo xtask codegen kafka`; change the generator, not this.\n\n"
    );
    let mut modules: Vec<String> = apis.iter().map(Api::module).collect();
    modules.sort();
    for module in modules {
        text.push_str(&format!("pub mod {module};\n"));
    }
    text.push_str(
        "\n/// Hands one row for each API to the macro `$then`: key, name, module, request, response, versions, first flexible version.\n\
         macro_rules! apis {\n    ($then:ident) => {\n        $then! {\n",
    );
    for api in apis {
        let (module, Versions { first, last }) = (api.module(), api.versions);
        let flexible = api.flexible.map_or_else(|| "i16::MAX".to_owned(), |first| first.to_string());
        let (key, name) = (api.key(), api.name);
        text.push_str(&format!(
            "            {key} {name} {module} {name}Request {name}Response {first}..={last} {flexible};\n"
        ));
    }
    text.push_str("        }\n    };\n}\n\npub(crate) use apis;\n");
    text
}

/// `TopicId` → `topic_id`.
fn snake(name: &str) -> String {
    let mut out = String::new();
    for (at, c) in name.chars().enumerate() {
        if c.is_uppercase() && at > 0 {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}

fn ident(name: &str) -> String {
    let name = snake(name);
    if KEYWORDS.contains(&name.as_str()) { format!("r#{name}") } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_becomes_a_table() {
        let request = r#"{ "apiKey": 9, "type": "request", "name": "DemoRequest", "validVersions": "1-4", "flexibleVersions": "3+",
            "latestVersionUnstable": true, "fields": [
            { "name": "GroupId", "type": "string", "versions": "0+" }, // a comment
            { "name": "Old", "type": "int32", "versions": "0" },
            { "name": "Topics", "type": "[]DemoTopic", "versions": "1+", "nullableVersions": "2+", "fields": [
              { "name": "Type", "type": "int8", "versions": "2+", "default": "-1" }] },
            { "name": "Late", "type": "bool", "versions": "3+", "taggedVersions": "3+", "tag": 0, "default": "true" }] }"#;
        let response = r#"{ "apiKey": 9, "type": "response", "name": "DemoResponse", "validVersions": "1-4",
            "flexibleVersions": "3+", "fields": [] }"#;
        let parse = |text| Definition::parse(text).unwrap();
        let text = Api::new("Demo", parse(request), parse(response)).unwrap().text("4").unwrap();
        let table = text.split_once("messages! {").unwrap().1;
        let expected = "
    DemoTopic {
        r#type: i8, default -1, in 2..;
    }

    DemoRequest<'a> {
        group_id: Text<'a>;
        topics: Option<Vec<DemoTopic>>, null 2..;
        late: bool, default true, in 3.., tag 0;
    }

    DemoResponse {}
}
";
        assert_eq!(table, expected);
    }
}
