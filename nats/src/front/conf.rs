//! The configuration language: keys and values in blocks, with includes, variables, units and comments.
//!
//! Pure: files and environment come in by [`Sources`]. What must hold: any text gives a tree or an error with its place; nesting,
//! includes and copies are bounded. Oddities are nats-server's (its package `conf`): `=`, `:` or blanks between key and value; a comma, a semicolon or
//! a line end behind it; bare words are strings; `$name` is a value of an enclosing block or of the environment, but `$2a$…` is a
//! bcrypt hash; the last of two equal keys counts.

use std::fmt;

/// Deepest nesting of blocks, arrays and includes.
const DEPTH_MAX: usize = 64;
/// Most bytes of all files together, and of all copies that variables make.
const TEXT_MAX: usize = 16 << 20;

/// Where files and variables come from.
pub trait Sources {
    /// The text of an included file, by its name as written; relative to the file it stands in.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn include(&self, name: &str) -> Result<String, String>;

    /// A variable of the environment.
    fn variable(&self, name: &str) -> Option<String>;
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The line, from 1, in its file.
    pub line: u32,
    /// The characters before it, or before its key, on that line.
    pub column: u32,
    /// A later value refers to it: its key may be any.
    pub is_variable: bool,
    /// What it is.
    pub value: Value,
}

/// What a value can be.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `true`, `on`, `yes` and their opposites.
    Bool(bool),
    /// A whole number, its unit applied.
    Int(i64),
    /// A number with a point.
    Float(f64),
    /// Text.
    Text(String),
    /// `[ … ]`
    List(Vec<Node>),
    /// `{ … }`
    Block(Block),
}

impl Value {
    /// What a copy takes, bytes.
    fn size(&self) -> usize {
        let within = match self {
            Self::Bool(_) | Self::Int(_) | Self::Float(_) => 0,
            Self::Text(text) => text.len(),
            Self::List(nodes) => nodes.iter().map(|node| node.value.size()).sum(),
            Self::Block(block) => block.0.iter().map(|(key, node)| key.len() + node.value.size()).sum(),
        };
        size_of::<Node>() + within
    }

    /// How deeply it is nested.
    fn depth(&self) -> usize {
        let of = |nodes: &mut dyn Iterator<Item = &Node>| {
            1 + nodes.map(|node| node.value.depth()).max().unwrap_or(0)
        };
        match self {
            Self::List(nodes) => of(&mut nodes.iter()),
            Self::Block(block) => of(&mut block.0.iter().map(|(_, node)| node)),
            _ => 0,
        }
    }

    fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Bool(truth) => (*truth).into(),
            Self::Int(number) => (*number).into(),
            Self::Float(number) => (*number).into(),
            Self::Text(text) => text.as_str().into(),
            Self::List(nodes) => nodes.iter().map(|node| node.value.to_json()).collect(),
            Self::Block(block) => block.to_json(),
        }
    }
}

/// Keys and values, in the order in which they stand.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Block(pub Vec<(String, Node)>);

impl Block {
    /// The value of a key: the last one.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.0.iter().rev().find(|(name, _)| name == key).map(|(_, node)| node)
    }

    fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.0.iter_mut().rev().find(|(name, _)| name == key).map(|(_, node)| node)
    }

    /// As JSON, without variables: what nats-server takes the digest of that it shows with `-t`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let entries = self.0.iter().filter(|(_, node)| !node.is_variable);
        serde_json::Value::Object(entries.map(|(key, node)| (key.clone(), node.value.to_json())).collect())
    }
}

/// What is wrong with a text, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// What is said already says where.
    is_whole: bool,
    /// The line, from 1.
    pub line: u32,
    /// What.
    pub what: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_whole {
            true => f.write_str(&self.what),
            false => write!(f, "Parse error on line {}: '{}'", self.line, self.what),
        }
    }
}

/// Reads a whole configuration.
///
/// # Errors
/// The first thing that is wrong.
pub fn parse(text: &str, sources: &dyn Sources) -> Result<Block, Malformed> {
    let mut budget = TEXT_MAX;
    let mut reader = Reader::new(text, sources, &mut budget)?;
    let mut scopes = vec![Block::default()];
    reader.entries(&mut scopes, None, 0)?;
    Ok(scopes.pop().unwrap_or_default())
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    line: u32,
    sources: &'t dyn Sources,
    budget: &'t mut usize,
}

type Read<T> = Result<T, Malformed>;

impl<'t> Reader<'t> {
    fn new(text: &'t str, sources: &'t dyn Sources, budget: &'t mut usize) -> Read<Self> {
        let mut reader = Self { text, at: 0, line: 1, sources, budget };
        reader.spend(text.len())?;
        Ok(reader)
    }

    /// Takes so many bytes of what a configuration may have.
    fn spend(&mut self, bytes: usize) -> Read<()> {
        match self.budget.checked_sub(bytes) {
            Some(left) => *self.budget = left,
            None => return self.wrong("the configuration is too long"),
        }
        Ok(())
    }

    fn wrong<T>(&self, what: impl Into<String>) -> Read<T> {
        Err(Malformed { is_whole: false, line: self.line, what: what.into() })
    }

    /// In nats-server's words, which name the place themselves where they do.
    fn wrong_as_said<T>(&self, what: String) -> Read<T> {
        Err(Malformed { is_whole: true, line: self.line, what })
    }

    /// Characters of this line that are read.
    fn column(&self) -> u32 {
        let read = self.text.get(..self.at).unwrap_or_default();
        let line = read.rsplit('\n').next().unwrap_or_default();
        u32::try_from(line.chars().count()).unwrap_or(u32::MAX)
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        self.line += u32::from(c == '\n');
        Some(c)
    }

    fn take_while(&mut self, is: impl Fn(char) -> bool) -> &'t str {
        let from = self.at;
        while self.peek().is_some_and(&is) {
            self.next();
        }
        self.text.get(from..self.at).unwrap_or_default()
    }

    fn is_comment(&self) -> bool {
        self.rest().starts_with('#') || self.rest().starts_with("//")
    }

    /// Blanks on this line, and a comment. Whatever ends a bare word is one, or a word of no length would be read for ever.
    fn blanks(&mut self) {
        self.take_while(|c| c.is_whitespace() && c != '\n');
        if self.is_comment() {
            self.take_while(|c| c != '\n');
        }
    }

    /// Blanks, comments and line ends, and what may stand between entries.
    fn gap(&mut self) {
        loop {
            self.blanks();
            match self.peek() {
                Some('\n' | ',' | ';') => drop(self.next()),
                _ => return,
            }
        }
    }

    /// Entries up to `end`, or to the end of the text, into the last scope.
    fn entries(&mut self, scopes: &mut Vec<Block>, end: Option<char>, depth: usize) -> Read<()> {
        if depth > DEPTH_MAX {
            return self.wrong("nested too deeply");
        }
        loop {
            self.gap();
            match self.peek() {
                None if end.is_none() => return Ok(()),
                None => return self.wrong("Unexpected EOF processing map."),
                found if found == end => {
                    self.next();
                    return Ok(());
                }
                // Braces around everything, as JSON has them, mean nothing.
                Some('{') if end.is_none() => {
                    self.next();
                    self.entries(scopes, Some('}'), depth + 1)?;
                }
                Some(_) => self.entry(scopes, depth)?,
            }
        }
    }

    fn entry(&mut self, scopes: &mut Vec<Block>, depth: usize) -> Read<()> {
        let (line, column) = (self.line, self.column());
        let key = self.key()?;
        self.blanks();
        if key == "include" && !matches!(self.peek(), Some('=' | ':' | '{')) {
            return self.include(scopes, depth);
        }
        if matches!(self.peek(), Some('=' | ':')) {
            self.next();
            self.gap_lines();
        }
        let value = self.value(scopes, depth)?;
        if let Some(block) = scopes.last_mut() {
            block.0.push((key, Node { line, column, is_variable: false, value }));
        }
        Ok(())
    }

    /// Blanks, comments and line ends.
    fn gap_lines(&mut self) {
        loop {
            self.blanks();
            if self.peek() != Some('\n') {
                return;
            }
            self.next();
        }
    }

    fn key(&mut self) -> Read<String> {
        match self.peek() {
            Some(quote @ ('"' | '\'')) => self.quoted(quote),
            _ => {
                let ends = |c: char| {
                    c.is_whitespace() || matches!(c, '=' | ':' | '{' | '}' | '[' | ']' | '"' | '\'')
                };
                let key = self.take_while(|c| !ends(c));
                if key.is_empty() { self.wrong("a key is expected") } else { Ok(key.to_owned()) }
            }
        }
    }

    fn include(&mut self, scopes: &mut Vec<Block>, depth: usize) -> Read<()> {
        let name = match self.peek() {
            Some(quote @ ('"' | '\'')) => self.quoted(quote)?,
            _ => self.take_while(|c| !c.is_whitespace() && c != ';').to_owned(),
        };
        let text = match self.sources.include(&name) {
            Ok(text) => text,
            Err(why) => {
                return self.wrong_as_said(format!("error parsing include file '{name}', {why}"));
            }
        };
        if depth >= DEPTH_MAX {
            return self.wrong("included too deeply");
        }
        let inner = Reader::new(&text, self.sources, self.budget)
            .and_then(|mut reader| reader.entries(scopes, None, depth + 1));
        inner.or_else(|error| self.wrong_as_said(format!("error parsing include file '{name}', {error}")))
    }

    fn value(&mut self, scopes: &mut Vec<Block>, depth: usize) -> Read<Value> {
        match self.peek() {
            Some('{') => {
                self.next();
                scopes.push(Block::default());
                self.entries(scopes, Some('}'), depth + 1)?;
                Ok(Value::Block(scopes.pop().unwrap_or_default()))
            }
            Some('[') => {
                self.next();
                self.list(scopes, depth + 1)
            }
            Some('(') => self.lines(),
            Some(quote @ ('"' | '\'')) => self.quoted(quote).map(Value::Text),
            None | Some('\n' | '}' | ']' | ',' | ';') => self.wrong("a value is expected"),
            Some(_) => self.bare(scopes, depth),
        }
    }

    fn list(&mut self, scopes: &mut Vec<Block>, depth: usize) -> Read<Value> {
        if depth > DEPTH_MAX {
            return self.wrong("nested too deeply");
        }
        let mut nodes = Vec::new();
        loop {
            self.gap();
            let (line, column) = (self.line, self.column());
            match self.peek() {
                None => return self.wrong("Unexpected EOF processing array."),
                Some(']') => {
                    self.next();
                    return Ok(Value::List(nodes));
                }
                Some(_) => {
                    let value = self.value(scopes, depth)?;
                    nodes.push(Node { line, column, is_variable: false, value });
                }
            }
        }
    }

    /// `( … )` over several lines, as it stands.
    fn lines(&mut self) -> Read<Value> {
        self.next();
        let mut kept = String::new();
        loop {
            let line = self.take_while(|c| c != '\n');
            if line.trim() == ")" {
                return Ok(Value::Text(kept));
            }
            kept.push_str(line);
            if self.next().is_none() {
                return self.wrong("the text ends within a block of lines");
            }
            kept.push('\n');
        }
    }

    fn quoted(&mut self, quote: char) -> Read<String> {
        self.next();
        let mut text = String::new();
        loop {
            match self.next() {
                None => return self.wrong("the text ends within quotes"),
                Some(c) if c == quote => return Ok(text),
                Some('\\') if quote == '"' => text.push(self.escape()?),
                Some(c) => text.push(c),
            }
        }
    }

    fn escape(&mut self) -> Read<char> {
        match self.next() {
            Some('n') => Ok('\n'),
            Some('t') => Ok('\t'),
            Some('r') => Ok('\r'),
            Some('"') => Ok('"'),
            Some('\\') => Ok('\\'),
            Some('x') => {
                let digits: String = [self.next(), self.next()].into_iter().flatten().collect();
                match u8::from_str_radix(&digits, 16) {
                    Ok(octet) => Ok(char::from(octet)),
                    Err(_) => self.wrong(format!("\\x{digits} is no character")),
                }
            }
            other => self.wrong(format!("\\{} means nothing", other.unwrap_or(' '))),
        }
    }

    /// A word without quotes: a number, a truth, a variable, or itself.
    fn bare(&mut self, scopes: &mut Vec<Block>, depth: usize) -> Read<Value> {
        let word = self.take_while(|c| !c.is_whitespace() && !matches!(c, ',' | ';' | ']' | '}'));
        match word.strip_prefix('$') {
            Some(name) if !name.starts_with("2a$") => self.variable(name, scopes, depth),
            _ => Ok(plain(word)),
        }
    }

    fn variable(&mut self, name: &str, scopes: &mut Vec<Block>, depth: usize) -> Read<Value> {
        if let Some(node) = scopes.iter_mut().rev().find_map(|block| block.get_mut(name)) {
            node.is_variable = true;
            // Measured before it is copied: of lists of each other each could be twice as large, or much deeper, than the one before.
            self.spend(node.value.size())?;
            if depth + node.value.depth() > DEPTH_MAX {
                return self.wrong("nested too deeply");
            }
            return Ok(node.value.clone());
        }
        let Some(text) = self.sources.variable(name) else {
            let line = self.line;
            return self
                .wrong_as_said(format!("variable reference for '{name}' on line {line} can not be found"));
        };
        if depth >= DEPTH_MAX {
            return self.wrong(format!("variable {name:?} refers to itself"));
        }
        // It is read as it would be if it stood here.
        let inner = Reader::new(&text, self.sources, self.budget).and_then(|mut reader| {
            if text.starts_with("$2a$") {
                Ok(Value::Text(text.clone()))
            } else {
                reader.value(scopes, depth + 1)
            }
        });
        inner.or_else(|error| self.wrong(format!("in variable {name:?}: {}", error.what)))
    }
}

/// A word as the value that it spells.
fn plain(word: &str) -> Value {
    match word.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" => return Value::Bool(true),
        "false" | "off" | "no" => return Value::Bool(false),
        _ => {}
    }
    if let Some(number) = whole(word) {
        return Value::Int(number);
    }
    let is_float = word.contains('.')
        && word.bytes().all(|octet| octet.is_ascii_digit() || matches!(octet, b'.' | b'-'));
    match word.parse() {
        Ok(number) if is_float => Value::Float(number),
        _ => Value::Text(word.to_owned()),
    }
}

/// A whole number, perhaps with a unit: `k` is 1000, `kb`, `ki` and `kib` are 1024, and so on.
fn whole(word: &str) -> Option<i64> {
    let digits = word.strip_prefix('-').unwrap_or(word);
    let len = digits.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = word.split_at(word.len() - digits.len() + len);
    let number: i64 = number.parse().ok()?;
    let unit = unit.to_ascii_lowercase();
    let Some(first) = unit.chars().next() else { return Some(number) };
    let power = u32::try_from("kmgtpe".find(first)?).ok()? + 1;
    let base: i64 = match unit.get(1..)? {
        "" => 1000,
        "b" | "i" | "ib" => 1024,
        _ => return None,
    };
    number.checked_mul(base.checked_pow(power)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Default)]
    struct Given {
        files: BTreeMap<&'static str, &'static str>,
        variables: BTreeMap<&'static str, &'static str>,
    }

    impl Sources for Given {
        fn include(&self, name: &str) -> Result<String, String> {
            self.files.get(name).map(|text| (*text).to_owned()).ok_or_else(|| "no such file".to_owned())
        }

        fn variable(&self, name: &str) -> Option<String> {
            self.variables.get(name).map(|text| (*text).to_owned())
        }
    }

    fn shown(value: &Value) -> String {
        match value {
            Value::Bool(truth) => truth.to_string(),
            Value::Int(number) => number.to_string(),
            Value::Float(number) => format!("{number}f"),
            Value::Text(text) => format!("{text:?}"),
            Value::List(nodes) => {
                format!("[{}]", nodes.iter().map(|node| shown(&node.value)).collect::<Vec<_>>().join(" "))
            }
            Value::Block(block) => {
                let entries = block.0.iter().map(|(key, node)| format!("{key}={}", shown(&node.value)));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(" "))
            }
        }
    }

    fn read(text: &str, sources: &Given) -> String {
        match parse(text, sources) {
            Ok(block) => shown(&Value::Block(block)),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn values_are_read_in_all_their_forms() {
        let sources = Given {
            files: BTreeMap::from([
                ("more.conf", "a: 1\nb { c: $outer }"),
                ("loop.conf", "include loop.conf"),
            ]),
            variables: BTreeMap::from([("PORT", "4333"), ("HASH", "$2a$11$abc"), ("LIST", "[1, 2]")]),
        };
        let cases = [
            ("port: 4222", "{port=4222}"),
            ("port=4222;host = '0.0.0.0' # a comment", r#"{port=4222 host="0.0.0.0"}"#),
            ("listen localhost:4222 // another", r#"{listen="localhost:4222"}"#),
            ("a { b: [1 2, 3\n4] }", "{a={b=[1 2 3 4]}}"),
            ("a: 1k b: x", "{a=1000 b=\"x\"}"),
            ("s: 1MB, m = 8mib\nn -5", "{s=1048576 m=8388608 n=-5}"),
            ("f: 2.5\nd: 10s\nt: YES\no: off", "{f=2.5f d=\"10s\" t=true o=false}"),
            (r#"q: "a\"b\n\x41""#, r#"{q="a\"b\nA"}"#),
            (
                "p: $2a$11$W2zko751KUvVy59mUTWmpOdWjpEm5qhcCZRd05GjI/sSOT.xtiHyG",
                "{p=\"$2a$11$W2zko751KUvVy59mUTWmpOdWjpEm5qhcCZRd05GjI/sSOT.xtiHyG\"}",
            ),
            ("outer = 7\nx { y = $outer }", "{outer=7 x={y=7}}"),
            ("port: $PORT, l: $LIST, h: $HASH", "{port=4333 l=[1 2] h=\"$2a$11$abc\"}"),
            ("outer: 1\ninclude \"more.conf\"\nz: 2", "{outer=1 a=1 b={c=1} z=2}"),
            ("text (\n one\n two\n)\nb: 1", "{text=\"\\n one\\n two\\n\" b=1}"),
            (
                "users = [ {user: a, password: \"b\"}\n {user: c} ]",
                "{users=[{user=\"a\" password=\"b\"} {user=\"c\"}]}",
            ),
            ("\"quoted key\": 1", "{quoted key=1}"),
            ("", "{}"),
            ("{\n \"port\": 4222,\n \"a\": {\"b\": true}\n}\n", "{port=4222 a={b=true}}"),
            ("{a: 1} {b: $a}\nc: 2", "{a=1 b=1 c=2}"),
            ("{a: 1", "Parse error on line 1: 'Unexpected EOF processing map.'"),
            ("a: ", "Parse error on line 1: 'a value is expected'"),
            ("a {\n b: 1", "Parse error on line 2: 'Unexpected EOF processing map.'"),
            ("a: $nowhere", "variable reference for 'nowhere' on line 1 can not be found"),
            ("\ninclude other.conf", "error parsing include file 'other.conf', no such file"),
            ("a: \"b", "Parse error on line 1: 'the text ends within quotes'"),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text, &sources), expected, "{text}");
        }
        assert!(read("include loop.conf", &sources).contains("too deeply"));
        let deep = "a {".repeat(100);
        assert!(read(&deep, &sources).contains("too deeply"));
    }

    #[test]
    fn whatever_ends_a_word_is_passed_over() {
        assert_eq!(read("a: [1\u{b}2\u{85}3]", &Given::default()), read("a: [1 2 3]", &Given::default()));
    }

    #[test]
    fn a_key_that_is_referred_to_is_a_variable_and_is_left_out_of_the_digest() {
        let block = parse("NAME = x\n  other { n: $NAME }", &Given::default()).unwrap();
        assert!(block.get("NAME").unwrap().is_variable);
        let other = block.get("other").unwrap();
        assert_eq!((other.line, other.column, other.is_variable), (2, 2, false));
        assert_eq!(block.to_json().to_string(), r#"{"other":{"n":"x"}}"#);
    }

    #[test]
    fn a_variable_of_the_environment_that_names_itself_ends() {
        let sources = Given { variables: BTreeMap::from([("A", "$A")]), ..Given::default() };
        assert!(read("x: $A", &sources).contains("refers to itself"));
    }

    #[test]
    fn variables_that_grow_with_each_copy_end_where_it_is_too_much() {
        let wide = format!("a: [1 2]{}", "\na: [$a $a]".repeat(40));
        let line = |line, what| format!("Parse error on line {line}: '{what}'");
        assert_eq!(read(&wide, &Given::default()), line(17, "the configuration is too long"));
        let deep = format!("a: 1{}", "\na: [[[$a]]]".repeat(40));
        assert_eq!(read(&deep, &Given::default()), line(23, "nested too deeply"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-c\\{\\}\\[\\]\"'$=:,;#/\\\\ \n\u{b}\\(\\)0-9kmi\\.-]{0,80}") {
            let _ = parse(&text, &Given::default());
        }

        #[test]
        fn whole_numbers_come_back(number in any::<i64>()) {
            prop_assert_eq!(plain(&number.to_string()), Value::Int(number));
        }
    }
}
