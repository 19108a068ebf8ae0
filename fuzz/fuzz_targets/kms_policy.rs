//! A policy that parses decides as its statements say by a naive reading of their actions and
//! resources, and the same when it is read again. No text makes the parser or a decision panic.
//!
//! Input: the JSON text of a policy. Its own patterns are also what it is asked about.
#![no_main]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;
use stillkey_core::kms::json::Json;
use stillkey_core::kms::policy::{self, Decision, Policy, Question};
use stillkey_core::kms::time::Time;

const ACTIONS: [&str; 3] = [
    "kms:Encrypt",
    "KMS:createAlias",
    "kms:GenerateDataKeyWithoutPlaintext",
];
const RESOURCES: [&str; 3] = [
    "acs:kms:cn-hangzhou:1416614965936597:key/08c33a6f-4e0a-4a1b-a3fa-7ddfa1d4fb73",
    "acs:kms:cn-hangzhou:1416614965936597:alias/a/b",
    "acs:kms:local:000000000000:key",
];
/// How many of the policy's own patterns become actions and resources.
const OWN: usize = 5;

/// A statement, read by nobody's rules but those of this file.
struct Naive<'a> {
    allow: bool,
    actions: Vec<&'a str>,
    resources: Vec<&'a str>,
    conditional: bool,
}

fuzz_target!(|text: &str| {
    let policy = match Policy::parse(text) {
        Ok(policy) => policy,
        Err(error) => {
            assert!(error.to_string().len() < 2000, "{error}");
            return;
        }
    };
    assert_eq!(policy.text(), text);
    let again = Policy::parse(policy.text()).expect("parsed before");
    assert_eq!(again, policy);
    let json = Json::parse(text).expect("a policy is JSON");
    let statements = statements(&json);
    for warning in policy.warnings() {
        assert!(
            (1..=statements.len()).contains(&warning.statement),
            "{warning}"
        );
    }

    let own_actions = statements.iter().flat_map(|statement| &statement.actions);
    let own_resources = statements
        .iter()
        .flat_map(|statement| &statement.resources)
        .take(OWN)
        .flat_map(|pattern| near(pattern));
    let actions = ACTIONS.iter().chain(own_actions.take(OWN));
    let resources: Vec<String> = RESOURCES
        .map(String::from)
        .into_iter()
        .chain(own_resources)
        .collect();
    let tags: BTreeMap<String, String> = [("Project", "Apollo"), ("a", "1"), ("b", "true")]
        .map(|(key, value)| (key.into(), value.into()))
        .into();
    let facts = [
        (None, None),
        (Some(Ipv4Addr::new(10, 1, 2, 3).into()), Some(&tags)),
        (Some(Ipv6Addr::LOCALHOST.into()), Some(&tags)),
    ];
    for action in actions {
        for resource in &resources {
            let candidates: Vec<bool> = statements
                .iter()
                .map(|statement| statement.names(action, resource))
                .collect();
            for (source, tags) in facts {
                let question = Question {
                    action,
                    resource,
                    now: Time::from_unix(1_798_765_445).expect("a time"),
                    source,
                    tags,
                };
                let decision = policy.decide(&question);
                assert_eq!(again.decide(&question), decision);
                check(&statements, &candidates, action, decision);
            }
        }
    }
});

/// Texts that a pattern matches, or nearly so: itself, its literal characters, and all of these but
/// the first or the last.
fn near(pattern: &str) -> [String; 4] {
    let literal: String = pattern.chars().filter(|c| *c != '*').collect();
    let without_first = literal.chars().skip(1).collect();
    let mut without_last = literal.clone();
    without_last.pop();
    [pattern.into(), literal, without_first, without_last]
}

/// A decision names the first statement that may have made it, and none passes over a statement
/// without conditions.
fn check(statements: &[Naive<'_>], candidates: &[bool], action: &str, decision: Decision) {
    if !policy::ACTIONS
        .iter()
        .any(|known| known.eq_ignore_ascii_case(action))
    {
        assert_eq!(decision, Decision::NotAllowed);
        return;
    }
    let surely = |allow: bool, below: usize| {
        statements
            .iter()
            .zip(candidates)
            .take(below)
            .any(|(statement, candidate)| {
                *candidate && statement.allow == allow && !statement.conditional
            })
    };
    let all = statements.len();
    match decision {
        Decision::Allowed { statement } => {
            assert!(statements[statement - 1].allow && candidates[statement - 1]);
            assert!(!surely(true, statement - 1) && !surely(false, all));
        }
        Decision::Denied { statement } => {
            assert!(!statements[statement - 1].allow && candidates[statement - 1]);
            assert!(!surely(false, statement - 1));
        }
        Decision::NotAllowed => assert!(!surely(true, all) && !surely(false, all)),
    }
}

impl Naive<'_> {
    fn names(&self, action: &str, resource: &str) -> bool {
        let action = action.to_ascii_lowercase();
        let mut actions = self.actions.iter();
        actions.any(|pattern| matches(&pattern.to_ascii_lowercase(), &action))
            && self
                .resources
                .iter()
                .any(|pattern| matches(pattern, resource))
    }
}

/// Column by column of the table of all prefixes of the pattern and all prefixes of the text.
fn matches(pattern: &str, text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let mut row = vec![false; text.len() + 1];
    row[0] = true;
    for expected in pattern.chars() {
        let above = row.clone();
        row[0] = above[0] && expected == '*';
        for (at, found) in text.iter().enumerate() {
            row[at + 1] = match expected {
                '*' => above[at + 1] || row[at],
                '?' => above[at],
                _ => above[at] && expected == *found,
            };
        }
    }
    row[text.len()]
}

fn statements(json: &Json) -> Vec<Naive<'_>> {
    items(json.member("Statement").expect("required"))
        .map(|statement| {
            let member = |name| statement.member(name).expect("required");
            let strings = |name| items(member(name)).map(|item| item.as_str().expect("a string"));
            Naive {
                allow: member("Effect").as_str() == Some("Allow"),
                actions: strings("Action").collect(),
                resources: strings("Resource").collect(),
                conditional: statement
                    .member("Condition")
                    .is_some_and(|c| *c != Json::Object(vec![])),
            }
        })
        .collect()
}

fn items(json: &Json) -> impl Iterator<Item = &Json> {
    let (array, single) = match json {
        Json::Array(items) => (&**items, None),
        single => (&[][..], Some(single)),
    };
    array.iter().chain(single)
}
