//! A table of the configuration file, read key by key.
//!
//! An error names the key and its line and never quotes what stands there, which may be a secret in the wrong place. Keys that nobody has
//! asked for become warnings.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use stillkey_core::SecretBytes;
use toml::de::{DeTable, DeValue};

use crate::error::Error;

/// Something in a configuration that is probably not meant so. It is read nevertheless, as TiKV does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigWarning {
    /// The file, if it was read by its path.
    pub path: Option<PathBuf>,
    /// The key with the tables that it is in, joined by dots.
    pub key: String,
    /// Its line, counted from 1.
    pub line: usize,
    /// What is suspicious, and what happens.
    pub message: String,
}

impl fmt::Display for ConfigWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            write!(f, "{}: ", path.display())?;
        }
        write!(f, "line {}: {}: {}", self.line, self.key, self.message)
    }
}

/// A table of the file. What has been asked for is taken out of it. It can't be printed: it holds whatever the file does.
pub(super) struct Section<'t> {
    text: &'t str,
    path: String,
    line: usize,
    table: DeTable<'t>,
    /// What has been asked for, with its line if it was there.
    asked: Vec<(&'static str, Option<usize>)>,
}

impl<'t> Section<'t> {
    /// The whole file.
    pub(super) fn document(text: &'t str) -> Result<Self, Error> {
        let table = DeTable::parse(text).map_err(|error| {
            let at = error.span().map(|span| line(text, span.start));
            let place = at.map_or("it".into(), |line| format!("line {line}"));
            Error::Usage(format!("{place} isn't TOML; check its quotes and brackets"))
        })?;
        Ok(Self {
            text,
            path: String::new(),
            line: 1,
            table: table.into_inner(),
            asked: Vec::new(),
        })
    }

    /// Where a key of this table stands, with all tables around it.
    pub(super) fn path(&self, key: &str) -> String {
        let is_bare = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        let dot = if self.path.is_empty() { "" } else { "." };
        if !key.is_empty() && key.chars().all(is_bare) {
            format!("{}{dot}{key}", self.path)
        } else {
            format!("{}{dot}{key:?}", self.path)
        }
    }

    /// Where this table stands, for messages.
    pub(super) fn place(&self) -> String {
        format!("line {}: {}", self.line, self.path)
    }

    /// The line of a key, or that of the table when it isn't there.
    fn line_of(&self, key: &str) -> usize {
        let there = self.table.get_key_value(key);
        let taken = || self.asked.iter().find(|(asked, _)| *asked == key)?.1;
        there
            .map(|(name, _)| line(self.text, name.span().start))
            .or_else(taken)
            .unwrap_or(self.line)
    }

    fn take_as<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        convert: impl FnOnce(DeValue<'t>) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let Some((name, value)) = self.table.remove_entry(key) else {
            self.asked.push((key, None));
            return Ok(None);
        };
        let line = line(self.text, name.span().start);
        self.asked.push((key, Some(line)));
        let value = value.into_inner();
        let found = value.type_str();
        convert(value).map(Some).ok_or_else(|| {
            let path = self.path(key);
            Error::Usage(format!(
                "line {line}: {path}: this {found} isn't {expected}"
            ))
        })
    }

    /// A table within this one.
    pub(super) fn section(&mut self, key: &'static str) -> Result<Option<Self>, Error> {
        let line = self.line_of(key);
        let table = self.take_as(key, "a table", |value| match value {
            DeValue::Table(table) => Some(table),
            _ => None,
        })?;
        Ok(table.map(|table| Self {
            text: self.text,
            path: self.path(key),
            line,
            table,
            asked: Vec::new(),
        }))
    }

    /// As [`Section::section`], for a table whose form is none of our business where it isn't one.
    pub(super) fn foreign_section(&mut self, key: &'static str) -> Option<Self> {
        self.section(key).ok().flatten()
    }

    /// A string; `None` for an empty one, too, which to TiKV says that there is none.
    pub(super) fn string(&mut self, key: &'static str) -> Result<Option<String>, Error> {
        let text = self.parsed(key, "a string", |text| Some(text.to_owned()))?;
        Ok(text.filter(|text| !text.is_empty()))
    }

    /// As [`Section::string`], for what must not be seen.
    pub(super) fn secret(&mut self, key: &'static str) -> Result<Option<Arc<SecretBytes>>, Error> {
        let secret = self.take_as(key, "a string", |value| match value {
            DeValue::String(text) => Some(SecretBytes::new(text.into_owned().into_bytes())),
            _ => None,
        })?;
        Ok(secret.filter(|secret| !secret.is_empty()).map(Arc::new))
    }

    /// A string that `parse` understands.
    pub(super) fn parsed<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        self.take_as(key, expected, |value| match value {
            DeValue::String(text) => parse(&text),
            _ => None,
        })
    }

    pub(super) fn boolean(&mut self, key: &'static str) -> Result<Option<bool>, Error> {
        self.take_as(key, "true or false", |value| value.as_bool())
    }

    pub(super) fn number(&mut self, key: &'static str) -> Result<Option<u64>, Error> {
        self.take_as(key, "a whole number from 0 on", |value| {
            let integer = value.as_integer()?;
            u64::from_str_radix(integer.as_str(), integer.radix()).ok()
        })
    }

    /// A warning about a key of this table.
    pub(super) fn warning(&self, key: &str, message: impl Into<String>) -> ConfigWarning {
        ConfigWarning {
            path: None,
            key: self.path(key),
            line: self.line_of(key),
            message: message.into(),
        }
    }

    /// A warning about this table as a whole.
    pub(super) fn warning_of_all(&self, message: impl Into<String>) -> ConfigWarning {
        ConfigWarning {
            path: None,
            key: self.path.clone(),
            line: self.line,
            message: message.into(),
        }
    }

    /// Takes out keys that have no effect here, and warns of those that are there.
    pub(super) fn without_effect(
        &mut self,
        keys: &[&'static str],
        why: &str,
        warnings: &mut Vec<ConfigWarning>,
    ) {
        for key in keys {
            if self.table.contains_key(*key) {
                warnings.push(self.warning(key, format!("has no effect {why}")));
                self.table.remove(*key);
            }
        }
    }

    /// Warns of every key that is left over.
    pub(super) fn warn_of_unknown(&self, warnings: &mut Vec<ConfigWarning>) {
        for name in self.table.keys() {
            let suggestion = near(name.get_ref(), &self.asked);
            let hint = suggestion.map_or(String::new(), |key| format!("; did you mean '{key}'?"));
            warnings.push(self.warning(name.get_ref(), format!("unknown key, ignored{hint}")));
        }
    }

    /// Warns of keys that look like misspellings of those asked for, in a table that has many others.
    pub(super) fn warn_of_misspelt(&self, warnings: &mut Vec<ConfigWarning>) {
        for name in self.table.keys() {
            if let Some(key) = near(name.get_ref(), &self.asked) {
                warnings.push(self.warning(
                    name.get_ref(),
                    format!("has no effect on encryption; did you mean '{key}'?"),
                ));
            }
        }
    }
}

/// Of `keys`, the one that `key` was probably meant to be: at most one letter in three differs.
fn near(key: &str, keys: &[(&'static str, Option<usize>)]) -> Option<&'static str> {
    let key = key.to_lowercase().replace('_', "-");
    let distance = |other: &&'static str| strsim::damerau_levenshtein(&key, other);
    let nearest = keys.iter().map(|(key, _)| *key).min_by_key(distance)?;
    (distance(&nearest) * 3 <= nearest.len()).then_some(nearest)
}

fn line(text: &str, at: usize) -> usize {
    1 + text
        .get(..at)
        .map_or(0, |before| before.matches('\n').count())
}
