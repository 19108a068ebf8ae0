//! Policies from JSON. What is malformed is refused; what has no effect, or not the one that its
//! author may expect, gets a warning.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::slice;

use super::actions::{Actions, CRYPTOGRAPHIC};
use super::condition::Condition;
use super::pattern::Pattern;
use super::{Effect, NotAPolicy, Policy, PolicyWarning, Statement};
use crate::kms::json::{Json, quoted};

/// What every resource begins with.
const RESOURCE: &str = "acs:kms:";

pub(super) fn policy(text: &str) -> Result<Policy, NotAPolicy> {
    if text.len() > Policy::MAX_LEN {
        return Err(NotAPolicy::TooLong { bytes: text.len() });
    }
    let json = Json::parse(text).map_err(NotAPolicy::NotJson)?;
    let place = "policy";
    let [version, statements] = members(&json, place, ["Version", "Statement"])?;
    match required(version, place, "Version")? {
        Json::String(version) if version == "1" => {}
        other => {
            let what = format!("Version is {}, expected the string \"1\"", shown(other));
            return Err(malformed(place, what));
        }
    }
    let statements = one_or_more(required(statements, place, "Statement")?);
    if statements.len() > Policy::MAX_STATEMENTS {
        return Err(NotAPolicy::TooManyStatements {
            statements: statements.len(),
        });
    }
    let mut warnings = Vec::new();
    let statements = statements
        .iter()
        .zip(1..)
        .map(|(json, number)| statement(json, number, &mut warnings))
        .collect::<Result<_, _>>()?;
    Ok(Policy {
        text: text.into(),
        statements,
        warnings: warnings.into(),
    })
}

fn statement(
    json: &Json,
    number: usize,
    warnings: &mut Vec<PolicyWarning>,
) -> Result<Statement, NotAPolicy> {
    let place = &*format!("statement {number}");
    let mut warn = |what| {
        warnings.push(PolicyWarning {
            statement: number,
            what,
        });
    };
    let names = ["Effect", "Action", "Resource", "Condition"];
    let [effect, actions, resources, conditions] = members(json, place, names)?;
    let effect = match required(effect, place, "Effect")? {
        Json::String(effect) if effect == "Allow" => Effect::Allow,
        Json::String(effect) if effect == "Deny" => Effect::Deny,
        other => {
            let what = format!("Effect is {}, expected \"Allow\" or \"Deny\"", shown(other));
            return Err(malformed(place, what));
        }
    };

    let actions = strings(required(actions, place, "Action")?, place, "Action")?;
    for action in &actions {
        if Actions::matching(action).is_empty() {
            warn(format!(
                "Action {} matches no action of the KMS",
                quoted(action)
            ));
        }
    }
    let actions: Actions = actions
        .iter()
        .map(|action| Actions::matching(action))
        .collect();

    let resources = strings(required(resources, place, "Resource")?, place, "Resource")?;
    for resource in &resources {
        if !Pattern::new(resource).can_begin_with(RESOURCE) {
            let resource = quoted(resource);
            warn(format!(
                "Resource {resource} matches none of the KMS, which all begin with {RESOURCE}"
            ));
        }
    }

    let (conditions, unusable) = match conditions {
        Some(conditions) => self::conditions(conditions, place)?,
        None => (Vec::new(), Vec::new()),
    };
    let fails_closed = !unusable.is_empty();
    let consequence = match effect {
        Effect::Allow => "so the statement allows nothing",
        Effect::Deny => "so the statement denies whatever its conditions say",
    };
    for what in unusable {
        warn(format!("{what}; {consequence}"));
    }
    if conditions.iter().any(Condition::is_about_tags)
        && !actions.intersects(Actions::cryptographic())
    {
        warn(format!(
            "its condition on tags never holds: Action has none of {}, and tags count in no other",
            CRYPTOGRAPHIC.join(", ")
        ));
    }
    Ok(Statement {
        effect,
        actions,
        resources: resources
            .iter()
            .map(|resource| Pattern::new(resource))
            .collect(),
        conditions: conditions.into(),
        fails_closed,
    })
}

/// The conditions that can be judged; and for each other one, in words, why it can't be.
fn conditions(json: &Json, place: &str) -> Result<(Vec<Condition>, Vec<String>), NotAPolicy> {
    let place = &*format!("{place}, Condition");
    let (mut conditions, mut unusable) = (Vec::new(), Vec::new());
    for (operator, keys) in object(json, place, "of operators")? {
        let place = &*format!("{place}, {}", quoted(operator));
        let keys = object(keys, place, "of condition keys")?;
        if keys.is_empty() {
            let what = "names no condition key, expected at least one".to_owned();
            return Err(malformed(place, what));
        }
        for (key, values) in keys {
            let place = &*format!("{place}, {}", quoted(key));
            let values = one_or_more(values);
            if values.is_empty() {
                return Err(malformed(
                    place,
                    "has no value, expected at least one".to_owned(),
                ));
            }
            for value in values {
                if !matches!(value, Json::String(_) | Json::Bool(_)) {
                    let what = format!("found {}, expected a string", value.kind());
                    return Err(malformed(place, what));
                }
            }
            match Condition::new(operator, key, values) {
                Ok(condition) => conditions.push(condition),
                Err(why) => {
                    let (operator, key) = (quoted(operator), quoted(key));
                    unusable.push(format!("Condition {operator}, {key}: {why}"));
                }
            }
        }
    }
    Ok((conditions, unusable))
}

/// The members of an object, which may have no others than `names`.
fn members<'a, const N: usize>(
    json: &'a Json,
    place: &str,
    names: [&str; N],
) -> Result<[Option<&'a Json>; N], NotAPolicy> {
    let all = names.join(", ");
    for (name, _) in object(json, place, &format!("with {all}"))? {
        if !names.contains(&&**name) {
            let what = format!("unknown member {}, expected only {all}", quoted(name));
            return Err(malformed(place, what));
        }
    }
    Ok(names.map(|name| json.member(name)))
}

fn object<'a>(json: &'a Json, place: &str, kind: &str) -> Result<&'a [(String, Json)], NotAPolicy> {
    match json {
        Json::Object(members) => Ok(members),
        other => {
            let what = format!("found {}, expected an object {kind}", other.kind());
            Err(malformed(place, what))
        }
    }
}

fn required<'a>(json: Option<&'a Json>, place: &str, name: &str) -> Result<&'a Json, NotAPolicy> {
    json.ok_or_else(|| malformed(place, format!("{name} is missing")))
}

/// The items of an array, or the one value that isn't an array.
fn one_or_more(json: &Json) -> &[Json] {
    match json {
        Json::Array(items) => items,
        other => slice::from_ref(other),
    }
}

fn strings<'a>(json: &'a Json, place: &str, name: &str) -> Result<Box<[&'a str]>, NotAPolicy> {
    let items = one_or_more(json);
    if items.is_empty() {
        let what = format!("{name} is empty, expected at least one string");
        return Err(malformed(place, what));
    }
    let string = |item: &'a Json| {
        item.as_str().ok_or_else(|| {
            let what = format!("{name} has {}, expected strings", item.kind());
            malformed(place, what)
        })
    };
    items.iter().map(string).collect()
}

fn shown(json: &Json) -> String {
    match json {
        Json::String(text) => quoted(text),
        other => other.kind().to_owned(),
    }
}

fn malformed(place: &str, what: String) -> NotAPolicy {
    NotAPolicy::Malformed {
        place: place.to_owned(),
        what,
    }
}
