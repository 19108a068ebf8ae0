//! Keys and their like, for people and for scripts.

use serde_json::{Value, json};
use stillkey::core::kms::key::{KeyMetadata, Origin};
use stillkey::core::kms::response::VersionEntry;
use stillkey::core::kms::time::Time;

/// Lines of `NAME: VALUE`.
pub(super) fn key(key: &KeyMetadata, aliases: &[String], arn: &str) -> String {
    let mut lines = vec![
        format!("key             {}", key.key),
        format!("arn             {arn}"),
        format!("state           {}", key.state.name()),
        format!("origin          {}", origin(key.origin)),
        format!("protection      {}", key.protection),
        format!("creator         {}", key.creator),
        format!("created         {}", key.created),
        format!("rotation        {}", rotation(key)),
    ];
    let mut line = |name: &str, value: Option<String>| {
        lines.extend(value.map(|value| format!("{name:<15} {value}")));
    };
    line("aliases", (!aliases.is_empty()).then(|| aliases.join(", ")));
    line(
        "description",
        Some(key.description.clone()).filter(|text| !text.is_empty()),
    );
    line(
        "primary version",
        key.primary_version.map(|id| id.to_string()),
    );
    line(
        "last rotation",
        key.last_rotation.map(|time| time.to_string()),
    );
    line(
        "next rotation",
        key.next_rotation.map(|time| time.to_string()),
    );
    line("deleted at", key.delete_at.map(|time| time.to_string()));
    line(
        "material ends",
        key.material_expires.map(|time| time.to_string()),
    );
    line("protected", key.deletion_protection.clone());
    line("last used", key.last_used.map(day));
    lines.join("\n")
}

pub(super) fn key_json(key: &KeyMetadata, aliases: &[String], arn: &str) -> Value {
    let text = |time: Option<Time>| time.map(|time| time.to_string());
    json!({
        "key_id": key.key.to_string(),
        "arn": arn,
        "state": key.state.name(),
        "origin": origin(key.origin),
        "protection_level": key.protection.name(),
        "creator": key.creator,
        "created": key.created.to_string(),
        "description": key.description,
        "aliases": aliases,
        "automatic_rotation": key.automatic_rotation.name(),
        "rotation_interval": key.rotation_interval.map(|interval| interval.to_string()),
        "primary_version": key.primary_version.map(|id| id.to_string()),
        "last_rotation": text(key.last_rotation),
        "next_rotation": text(key.next_rotation),
        "delete_at": text(key.delete_at),
        "material_expires": text(key.material_expires),
        "deletion_protection": key.deletion_protection,
        "last_used": key.last_used.map(day),
    })
}

fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Generated => "generated",
        Origin::External => "external",
    }
}

fn rotation(key: &KeyMetadata) -> String {
    let name = key.automatic_rotation.name();
    match key.rotation_interval {
        Some(interval) => format!("{name}, every {} days", interval.seconds() / 86_400),
        None => name.to_owned(),
    }
}

/// Of a day counted from 1970-01-01.
pub(super) fn day(day: u64) -> String {
    let time = Time::from_unix(day.saturating_mul(86_400)).unwrap_or(Time::MAX);
    time.to_string().chars().take(10).collect()
}

pub(super) fn version(entry: &VersionEntry) -> String {
    let used = match entry.last_used {
        Some(last) => format!("used {} times, last on {}", entry.uses, day(last)),
        None => "not used".into(),
    };
    format!("{}  made {}  {used}", entry.version, entry.created)
}

pub(super) fn version_json(entry: &VersionEntry) -> Value {
    json!({
        "version": entry.version.to_string(),
        "created": entry.created.to_string(),
        "last_used": entry.last_used.map(day),
        "uses": entry.uses,
    })
}
