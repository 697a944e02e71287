//! What an outbox table looks like, and the same in SQL: which expression is the lane, which the payload, and so on.
//!
//! All names come from the table itself and are quoted, so that no text of a row or of a command line becomes SQL.

use super::failed;
use crate::row::LANES;
use crate::source::SourceError;
use sqlx::postgres::PgConnection;
use sqlx::{Row as _, query};
use std::fmt;
use std::str::FromStr;

/// Name of a table, with its schema or found by the search path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    schema: Option<String>,
    table: String,
}

/// Longest name that the tables made beside an outbox leave room for.
const NAME_BYTES_MAX: usize = 40;

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (schema, table) = match text.split_once('.') {
            Some((schema, table)) => (Some(schema.to_owned()), table),
            None => (None, text),
        };
        let ok = |name: &str| (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.contains(['\0', '.']);
        if !ok(table) || !schema.as_deref().is_none_or(ok) {
            return Err(format!("expected table or schema.table, of up to {NAME_BYTES_MAX} bytes each"));
        }
        Ok(Self { schema, table: table.to_owned() })
    }
}

/// As SQL, quoted.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{}.{}", quoted(schema), quoted(&self.table)),
            None => f.write_str(&quoted(&self.table)),
        }
    }
}

impl Name {
    /// Name of something made beside it, such as the table of its dead rows.
    #[must_use]
    pub fn beside(&self, suffix: &str) -> Self {
        Self { schema: self.schema.clone(), table: format!("{}{suffix}", self.table) }
    }

    /// Without schema, as the name of an index is given where it is made.
    pub(crate) fn bare(&self) -> String {
        quoted(&self.table)
    }
}

/// As an identifier in SQL.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Whose columns they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Ours: see `stele outbox ddl`.
    Bus,
    /// `id, aggregatetype, aggregateid, type, payload`, as Debezium's outbox event router reads them.
    Debezium,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bus => "bus",
            Self::Debezium => "debezium",
        })
    }
}

/// A column as Postgres describes it.
#[derive(Clone, Debug)]
struct Column {
    name: String,
    kind: String,
    /// Filled by the database alone.
    generated: bool,
}

/// A table as it was found.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Its name, as SQL.
    pub name: Name,
    /// Its layout.
    pub layout: Layout,
    /// Postgres' number for it, from which the keys of its locks are made.
    pub oid: i64,
    columns: Vec<Column>,
    /// Whether there is an index over lane and number.
    indexed: bool,
    /// Whether the table of dead rows is there.
    has_dead: bool,
}

/// The column that is added to a table of Debezium's layout.
pub(crate) const ORD: &str = "stele_ord";

impl Shape {
    /// Looks at the table.
    ///
    /// # Errors
    /// It is not there, or has neither layout, or not the one that was said.
    pub async fn look(
        connection: &mut PgConnection,
        name: &Name,
        layout: Option<Layout>,
    ) -> Result<Self, SourceError> {
        let what = format!("look at the table {name}");
        let oid: Option<i64> = query("select to_regclass($1)::oid::int8")
            .bind(name.to_string())
            .fetch_one(&mut *connection)
            .await
            .and_then(|row| row.try_get(0))
            .map_err(failed(&what))?;
        let oid = oid.ok_or_else(|| SourceError(format!("there is no table {name}")))?;
        let rows = query(
            "select attname::text, atttypid::regtype::text, attgenerated <> '' or attidentity <> '' \
             from pg_attribute where attrelid = $1::oid and attnum > 0 and not attisdropped order by attnum",
        )
        .bind(oid)
        .fetch_all(&mut *connection)
        .await
        .map_err(failed(&what))?;
        let column = |row: &sqlx::postgres::PgRow| -> Result<Column, sqlx::Error> {
            Ok(Column { name: row.try_get(0)?, kind: row.try_get(1)?, generated: row.try_get(2)? })
        };
        let columns: Vec<Column> =
            rows.iter().map(column).collect::<Result<_, _>>().map_err(failed(&what))?;
        let found = found(&columns).ok_or_else(|| {
            let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
            SourceError(format!("the table {name} is no outbox: it has the columns {}", names.join(", ")))
        })?;
        if let Some(wanted) = layout.filter(|wanted| *wanted != found) {
            return Err(SourceError(format!("the table {name} has the layout {found}, not {wanted}")));
        }
        let mut shape =
            Self { name: name.clone(), layout: found, oid, columns, indexed: false, has_dead: false };
        let row = query(
            "select exists (select from pg_index where indrelid = $1::oid and indisvalid \
               and pg_get_indexdef(indexrelid) like '%, ' || $2 || ')'), to_regclass($3) is not null",
        )
        .bind(oid)
        .bind(shape.ord())
        .bind(name.beside("_dead").to_string())
        .fetch_one(connection)
        .await
        .map_err(failed(&what))?;
        shape.indexed = row.try_get(0).map_err(failed(&what))?;
        shape.has_dead = row.try_get(1).map_err(failed(&what))?;
        Ok(shape)
    }

    /// Whether a relay can work with it.
    #[must_use]
    pub fn is_prepared(&self) -> bool {
        self.missing().is_empty()
    }

    /// What a relay needs and is not there, in words.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        if !self.has(self.ord()) {
            missing.push(format!("the column {}", self.ord()));
        }
        if !self.indexed {
            missing.push(format!("the index over the lane and {}", self.ord()));
        }
        if !self.has_dead {
            missing.push(format!("the table {}", self.name.beside("_dead")));
        }
        missing
    }

    pub(crate) fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|found| found.name == column)
    }

    /// Whether the table of dead rows is there.
    pub(crate) fn has_dead(&self) -> bool {
        self.has_dead
    }

    /// Whether rows can say that they are to wait.
    pub(crate) fn has_schedule(&self) -> bool {
        self.layout == Layout::Bus && self.has("available_at")
    }

    pub(crate) fn is_indexed(&self) -> bool {
        self.indexed
    }

    /// The column that numbers the rows.
    pub(crate) fn ord(&self) -> &'static str {
        match self.layout {
            Layout::Bus => "ord",
            Layout::Debezium => ORD,
        }
    }

    /// The lane of a row `o`, as it stands in the index.
    pub(crate) fn lane(&self) -> String {
        match self.layout {
            Layout::Bus => "o.lane".into(),
            Layout::Debezium => lane_of("o."),
        }
    }

    /// The aggregate of a row `o`.
    pub(crate) fn aggregate(&self) -> &'static str {
        match self.layout {
            Layout::Bus => "coalesce(o.aggregate_id, o.id::text)",
            Layout::Debezium => "coalesce(o.aggregateid::text, o.id::text)",
        }
    }

    /// When a row was made, in seconds since 1970, if the table says it.
    pub(crate) fn made_at(&self) -> Option<String> {
        let is_time = |kind: &str| kind.starts_with("timestamp");
        let names = ["created_at", "timestamp"];
        let column =
            self.columns.iter().find(|column| names.contains(&&*column.name) && is_time(&column.kind));
        column.map(|column| format!("extract(epoch from o.{})::float8", quoted(&column.name)))
    }

    /// What is read of a row `o`, in the order of [`crate::Row`]'s fields: lane, number, id, aggregate type, aggregate, type, destination,
    /// content type, headers, properties, payload.
    pub(crate) fn selected(&self) -> String {
        let (lane, ord, aggregate) = (self.lane(), self.ord(), self.aggregate());
        match self.layout {
            Layout::Bus => format!(
                "{lane}, o.{ord}, o.id::text, coalesce(o.aggregate_type, ''), {aggregate}, o.type, o.destination, \
                 o.content_type, o.headers::text, o.properties::text, o.payload"
            ),
            Layout::Debezium => {
                let binary =
                    self.columns.iter().any(|column| column.name == "payload" && column.kind == "bytea");
                let (media, payload) = match binary {
                    true => ("application/octet-stream", "o.payload"),
                    false => ("application/json", "convert_to(o.payload::text, 'UTF8')"),
                };
                let is_json = |column: &&Column| column.name == "headers" && column.kind.starts_with("json");
                let headers = match self.columns.iter().any(|column| is_json(&column)) {
                    true => "o.headers::text",
                    false => "null::text",
                };
                format!(
                    "{lane}, o.{ord}, o.id::text, coalesce(o.aggregatetype::text, ''), {aggregate}, \
                     coalesce(o.type::text, ''), null::text, '{media}', {headers}, null::text, \
                     coalesce({payload}, '')"
                )
            }
        }
    }

    /// The columns that a row is given back by when it is replayed: all that the database does not fill.
    pub(crate) fn given(&self) -> String {
        let given = self.columns.iter().filter(|column| !column.generated);
        given.map(|column| quoted(&column.name)).collect::<Vec<_>>().join(", ")
    }
}

/// The lane of a row in Debezium's layout; `of` is what its columns are called by.
pub(crate) fn lane_of(of: &str) -> String {
    let mask = LANES - 1;
    format!("((hashtextextended(coalesce({of}aggregateid::text, {of}id::text), 0) & {mask})::smallint)")
}

fn found(columns: &[Column]) -> Option<Layout> {
    let has = |names: &[&str]| names.iter().all(|name| columns.iter().any(|column| column.name == *name));
    if has(&["ord", "lane", "id", "aggregate_type", "aggregate_id", "type", "destination", "payload"]) {
        Some(Layout::Bus)
    } else if has(&["id", "aggregatetype", "aggregateid", "type", "payload"]) {
        Some(Layout::Debezium)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_and_what_stands_beside_them_too() {
        let name: Name = "shop.out\"box".parse().unwrap();
        assert_eq!(name.to_string(), "\"shop\".\"out\"\"box\"");
        assert_eq!(name.beside("_dead").to_string(), "\"shop\".\"out\"\"box_dead\"");
        assert_eq!("outbox".parse::<Name>().unwrap().to_string(), "\"outbox\"");
        for text in ["", ".", "a.b.c", "a.", "x\0"] {
            assert!(text.parse::<Name>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_lane_is_a_mask_of_a_hash() {
        assert!(LANES.is_power_of_two());
        assert!(lane_of("o.").contains("& 63"));
    }
}
