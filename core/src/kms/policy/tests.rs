//! What policies mean: the rules of the module's documentation, one table each, and the samples of
//! Alibaba Cloud KMS's user guide.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::*;
use crate::kms::request::Operation;

const KEY: &str = "acs:kms:cn-hangzhou:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const NOW: &str = "2027-01-01T01:04:05Z";

fn policy(text: &str) -> Policy {
    Policy::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// A policy of these statements.
fn of_statements(statements: &str) -> Policy {
    policy(&format!(
        r#"{{"Version": "1", "Statement": [{statements}]}}"#
    ))
}

/// A policy of one statement about everything, with these conditions.
fn with_condition(effect: &str, condition: &str) -> Policy {
    of_statements(&format!(
        r#"{{"Effect": "{effect}", "Action": "*", "Resource": "*", "Condition": {condition}}}"#
    ))
}

fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let own = |(key, value): &(&str, &str)| (String::from(*key), String::from(*value));
    pairs.iter().map(own).collect()
}

fn question<'a>(action: &'a str, resource: &'a str) -> Question<'a> {
    Question {
        action,
        resource,
        now: NOW.parse().unwrap(),
        source: None,
        tags: None,
    }
}

fn allows(policy: &Policy, action: &str, resource: &str) -> bool {
    matches!(
        policy.decide(&question(action, resource)),
        Decision::Allowed { .. }
    )
}

/// Whether a statement with this condition matches, as an Allow and as a Deny.
fn matches(condition: &str, ask: &Question<'_>) -> (bool, bool) {
    let allow = with_condition("Allow", condition).decide(ask);
    let deny = with_condition("Deny", condition).decide(ask);
    let matched = |decision, yes| match decision {
        Decision::NotAllowed => false,
        other => {
            assert_eq!(other, yes);
            true
        }
    };
    (
        matched(allow, Decision::Allowed { statement: 1 }),
        matched(deny, Decision::Denied { statement: 1 }),
    )
}

fn warnings(policy: &Policy) -> Vec<String> {
    policy.warnings().iter().map(ToString::to_string).collect()
}

fn refusal(text: &str) -> String {
    Policy::parse(text).unwrap_err().to_string()
}

#[test]
fn a_deny_overrules_every_allow_and_silence_allows_nothing() {
    let allow = |action| format!(r#"{{"Effect":"Allow","Action":"{action}","Resource":"*"}}"#);
    let deny = |action| format!(r#"{{"Effect":"Deny","Action":"{action}","Resource":"*"}}"#);
    let [encrypt, other] = ["kms:Encrypt", "kms:Decrypt"];
    for (statements, expected) in [
        (&[][..], Decision::NotAllowed),
        (&[allow(encrypt)], Decision::Allowed { statement: 1 }),
        (&[allow(other)], Decision::NotAllowed),
        (&[deny(other)], Decision::NotAllowed),
        (&[deny(encrypt)], Decision::Denied { statement: 1 }),
        (
            &[allow(other), allow(encrypt), allow("*")],
            Decision::Allowed { statement: 2 },
        ),
        (
            &[deny(encrypt), allow("*")],
            Decision::Denied { statement: 1 },
        ),
        (
            &[allow("*"), allow(encrypt), deny("kms:*"), deny(encrypt)],
            Decision::Denied { statement: 3 },
        ),
        (
            &[deny(other), allow(encrypt)],
            Decision::Allowed { statement: 2 },
        ),
    ] {
        let policy = of_statements(&statements.join(","));
        assert_eq!(
            policy.decide(&question(encrypt, KEY)),
            expected,
            "{statements:?}"
        );
    }
}

#[test]
fn single_values_need_no_array() {
    let short = policy(
        r#"{"Version":"1","Statement":{"Effect":"Allow","Action":"kms:Encrypt","Resource":"*",
            "Condition":{"StringEquals":{"kms:tag/a":"b"}}}}"#,
    );
    let long = policy(
        r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":["kms:Encrypt"],
            "Resource":["*"],"Condition":{"StringEquals":{"kms:tag/a":["b"]}}}]}"#,
    );
    assert_eq!(short.statements, long.statements);
}

#[test]
fn an_action_is_compared_without_regard_to_case() {
    for (pattern, action, expected) in [
        ("kms:Encrypt", "kms:Encrypt", true),
        ("KMS:ENCRYPT", "kms:Encrypt", true),
        ("kms:encrypt", "KMS:Encrypt", true),
        ("kms:Encrypt", "kms:Encryp", false),
        ("kms:Encrypt", "kms:EncryptX", false),
        ("kms:List*", "kms:ListKeys", true),
        ("kms:list*", "kms:ListAliasesByKeyId", true),
        ("kms:ListKeys*", "kms:ListKeys", true),
        ("kms:List*", "kms:DescribeKey", false),
        ("kms:*Alias", "kms:CreateAlias", true),
        ("kms:*Alias", "kms:ListAliases", false),
        ("kms:???rypt", "kms:Encrypt", true),
        ("kms:????rypt", "kms:Encrypt", false),
        ("kms:??crypt", "kms:Encrypt", true),
        ("kms:??crypt", "kms:Decrypt", true),
        ("kms:ReEncrypt*", "kms:ReEncryptFrom", true),
        ("kms:ReEncrypt*", "kms:ReEncryptTo", true),
        ("kms:ReEncryptFrom", "kms:ReEncryptTo", false),
        (
            "kms:GenerateDataKey",
            "kms:GenerateDataKeyWithoutPlaintext",
            false,
        ),
        ("kms:*", "kms:Encrypt", true),
        ("*", "kms:Encrypt", true),
        ("ecs:*", "kms:Encrypt", false),
        ("*:Encrypt", "kms:Encrypt", true),
        ("", "kms:Encrypt", false),
    ] {
        let policy = of_statements(&format!(
            r#"{{"Effect":"Allow","Action":["none","{pattern}"],"Resource":"*"}}"#
        ));
        assert_eq!(allows(&policy, action, KEY), expected, "{pattern} {action}");
    }
}

#[test]
fn what_is_no_action_is_neither_allowed_nor_denied() {
    for effect in ["Allow", "Deny"] {
        let policy = of_statements(&format!(
            r#"{{"Effect":"{effect}","Action":["*","oss:GetObject"],"Resource":"*"}}"#
        ));
        for action in [
            "oss:GetObject",
            "kms:",
            "kms:Encryp",
            "kms:Encrypt ",
            "kms>DeleteAlias",
            "*",
        ] {
            assert_eq!(
                policy.decide(&question(action, KEY)),
                Decision::NotAllowed,
                "{action}"
            );
        }
    }
}

#[test]
fn every_action_is_told_from_every_other() {
    for action in ACTIONS {
        let policy = of_statements(&format!(
            r#"{{"Effect":"Allow","Action":"{action}","Resource":"*"}}"#
        ));
        for other in ACTIONS {
            assert_eq!(
                allows(&policy, other, KEY),
                other == action,
                "{action} {other}"
            );
        }
    }
    assert!(ACTIONS.is_sorted() && ACTIONS.len() <= 64);
}

#[test]
fn every_operation_has_its_action() {
    let actions = |wanted: fn(&Operation) -> bool| {
        let operations = Operation::ALL.iter().copied().filter(wanted);
        let mut actions: Vec<&str> = operations
            .flat_map(|operation| match operation {
                Operation::ReEncrypt => ["kms:ReEncryptFrom", "kms:ReEncryptTo"].to_vec(),
                other => [other.action()].to_vec(),
            })
            .collect();
        actions.sort_unstable();
        actions
    };
    assert_eq!(actions(|_| true), ACTIONS);
    assert_eq!(
        actions(|operation| operation.is_cryptographic()),
        actions::CRYPTOGRAPHIC
    );
}

#[test]
fn a_resource_is_compared_with_regard_to_case() {
    let alias = "acs:kms:cn-hangzhou:111122223333:alias/a/b:c";
    for (pattern, resource, expected) in [
        ("*", KEY, true),
        (KEY, KEY, true),
        (&*KEY.to_uppercase(), KEY, false),
        ("acs:kms:*:*:key/*", KEY, true),
        ("acs:kms:*:*:key/*", alias, false),
        (
            "acs:kms:*:*:key/*",
            "acs:kms:cn-hangzhou:111122223333:key",
            false,
        ),
        ("acs:kms:*:*:Key/*", KEY, false),
        ("acs:*", alias, true),
        ("acs:kms:*/b:c", alias, true),
        ("acs:kms:*alias/*", alias, true),
        ("acs:kms:*:111122223333:alias/?/*", alias, true),
        ("acs:kms:cn-?hangzhou:*", KEY, false),
        ("acs:kms:cn-????zhou:*", KEY, true),
        ("acs:kms:cn-hangzhou:111122223333:key/????abcd-*", KEY, true),
        ("acs:kms:cn-hangzhou:111122223333:key/????-*", KEY, false),
        ("arn:aws:kms:*", KEY, false),
    ] {
        let policy = of_statements(&format!(
            r#"{{"Effect":"Allow","Action":"*","Resource":["none","{pattern}"]}}"#
        ));
        assert_eq!(
            allows(&policy, "kms:Encrypt", resource),
            expected,
            "{pattern} {resource}"
        );
    }
}

#[test]
fn strings_are_compared_as_the_operator_says() {
    for (operator, values, tag, expected) in [
        ("StringEquals", r#""Apollo""#, "Apollo", true),
        ("StringEquals", r#""Apollo""#, "apollo", false),
        ("StringEquals", r#""Apollo""#, "Apollo ", false),
        ("StringEquals", r#""Apo*""#, "Apollo", false),
        ("StringEquals", r#"["Gemini","Apollo"]"#, "Apollo", true),
        ("StringEquals", r#"["Gemini","Apollo"]"#, "Mercury", false),
        ("StringEquals", r#""""#, "", true),
        ("StringNotEquals", r#""Apollo""#, "Apollo", false),
        ("StringNotEquals", r#""Apollo""#, "apollo", true),
        ("StringNotEquals", r#"["Gemini","Apollo"]"#, "Apollo", false),
        ("StringNotEquals", r#"["Gemini","Apollo"]"#, "Mercury", true),
        ("StringEqualsIgnoreCase", r#""Apollo""#, "aPOLLO", true),
        ("StringEqualsIgnoreCase", r#""Apollo""#, "Apoll", false),
        (
            "StringEqualsIgnoreCase",
            r#"["Gemini","Apollo"]"#,
            "gemini",
            true,
        ),
        ("StringEqualsIgnoreCase", r#""É""#, "é", false),
        ("StringNotEqualsIgnoreCase", r#""Apollo""#, "aPOLLO", false),
        ("StringNotEqualsIgnoreCase", r#""Apollo""#, "Gemini", true),
        (
            "StringNotEqualsIgnoreCase",
            r#"["Gemini","Apollo"]"#,
            "gemini",
            false,
        ),
        ("StringLike", r#""Apo*""#, "Apollo", true),
        ("StringLike", r#""apo*""#, "Apollo", false),
        ("StringLike", r#""Apoll?""#, "Apollo", true),
        ("StringLike", r#""Apollo?""#, "Apollo", false),
        ("StringLike", r#"["G*","*o"]"#, "Apollo", true),
        ("StringLike", r#"["G*","*O"]"#, "Apollo", false),
        ("StringNotLike", r#""Apo*""#, "Apollo", false),
        ("StringNotLike", r#""apo*""#, "Apollo", true),
        ("StringNotLike", r#"["G*","*o"]"#, "Apollo", false),
        ("Bool", r#""true""#, "true", true),
        ("Bool", "true", "True", true),
        ("Bool", r#""FALSE""#, "false", true),
        ("Bool", "false", "true", false),
        ("Bool", "[true,false]", "true", true),
        ("Bool", "true", "yes", false),
        ("Bool", "false", "no", false),
    ] {
        let condition = format!(r#"{{"{operator}": {{"kms:tag/Project": {values}}}}}"#);
        let tags = tags(&[("Project", tag), ("project", "other")]);
        let ask = Question {
            tags: Some(&tags),
            ..question("kms:Encrypt", KEY)
        };
        assert_eq!(
            matches(&condition, &ask),
            (expected, expected),
            "{condition} {tag}"
        );
        assert_eq!(with_condition("Allow", &condition).warnings(), &[]);
    }
}

#[test]
fn a_tag_that_is_missing_or_unknown_fulfils_no_condition() {
    for operator in [
        "StringEquals",
        "StringNotEquals",
        "StringEqualsIgnoreCase",
        "StringNotEqualsIgnoreCase",
        "StringLike",
        "StringNotLike",
        "Bool",
    ] {
        let value = if operator == "Bool" { "true" } else { "*" };
        let condition = format!(r#"{{"{operator}": {{"kms:tag/Project": "{value}"}}}}"#);
        // Tags are compared with regard to case.
        for tags in [tags(&[]), tags(&[("project", "*"), ("Projec", "true")])] {
            let ask = Question {
                tags: Some(&tags),
                ..question("kms:Encrypt", KEY)
            };
            assert_eq!(matches(&condition, &ask), (false, false), "{condition}");
        }
        let ask = question("kms:DescribeKey", KEY);
        assert_eq!(matches(&condition, &ask), (false, false), "{condition}");
    }
}

#[test]
fn the_current_time_is_compared_as_the_operator_says() {
    let [before, now, after] = ["2027-01-01T01:04:04Z", NOW, "2027-01-01T01:04:06Z"];
    // The same moments, as RAM's samples write them.
    let [east, west] = ["2027-01-01T09:04:05+08:00", "2026-12-31T17:04:05-08:00"];
    for (operator, value_before, value_now, value_after) in [
        ("DateEquals", false, true, false),
        ("DateNotEquals", true, false, true),
        ("DateLessThan", false, false, true),
        ("DateLessThanEquals", false, true, true),
        ("DateGreaterThan", true, false, false),
        ("DateGreaterThanEquals", true, true, false),
    ] {
        for (value, expected) in [
            (before, value_before),
            (now, value_now),
            (after, value_after),
            (east, value_now),
            (west, value_now),
        ] {
            let condition = format!(r#"{{"{operator}": {{"acs:CurrentTime": "{value}"}}}}"#);
            let ask = question("kms:Encrypt", KEY);
            assert_eq!(
                matches(&condition, &ask),
                (expected, expected),
                "{condition}"
            );
            assert_eq!(with_condition("Allow", &condition).warnings(), &[]);
        }
    }
    for (operator, expected) in [
        ("DateEquals", true),
        ("DateNotEquals", false),
        ("DateLessThan", true),
        ("DateGreaterThan", true),
    ] {
        let condition =
            format!(r#"{{"{operator}": {{"acs:CurrentTime": ["{before}", "{now}", "{after}"]}}}}"#);
        let ask = question("kms:Encrypt", KEY);
        assert_eq!(
            matches(&condition, &ask),
            (expected, expected),
            "{condition}"
        );
    }
}

#[test]
fn the_source_address_is_compared_with_networks() {
    for (operator, values, source, expected) in [
        ("IpAddress", r#""10.0.0.0/8""#, "10.1.2.3", true),
        ("IpAddress", r#""10.0.0.0/8""#, "11.1.2.3", false),
        ("IpAddress", r#""10.0.0.0/8""#, "::ffff:10.1.2.3", true),
        (
            "IpAddress",
            r#"["10.0.0.0/8","2001:db8::/32"]"#,
            "2001:db8::1",
            true,
        ),
        (
            "IpAddress",
            r#"["10.0.0.0/8","2001:db8::/32"]"#,
            "2001:db9::1",
            false,
        ),
        ("IpAddress", r#""203.0.113.7""#, "203.0.113.7", true),
        ("IpAddress", r#""203.0.113.7""#, "203.0.113.8", false),
        ("NotIpAddress", r#""10.0.0.0/8""#, "10.1.2.3", false),
        ("NotIpAddress", r#""10.0.0.0/8""#, "11.1.2.3", true),
        (
            "NotIpAddress",
            r#"["10.0.0.0/8","2001:db8::/32"]"#,
            "2001:db8::1",
            false,
        ),
        (
            "NotIpAddress",
            r#"["10.0.0.0/8","2001:db8::/32"]"#,
            "2001:db9::1",
            true,
        ),
    ] {
        let condition = format!(r#"{{"{operator}": {{"acs:SourceIp": {values}}}}}"#);
        let ask = Question {
            source: Some(source.parse().unwrap()),
            ..question("kms:Encrypt", KEY)
        };
        assert_eq!(
            matches(&condition, &ask),
            (expected, expected),
            "{condition} {source}"
        );
        assert_eq!(with_condition("Allow", &condition).warnings(), &[]);
    }
}

#[test]
fn an_unknown_source_fails_an_allow_and_not_a_deny() {
    let ask = question("kms:Encrypt", KEY);
    for operator in ["IpAddress", "NotIpAddress"] {
        let condition = format!(r#"{{"{operator}": {{"acs:SourceIp": "0.0.0.0/0"}}}}"#);
        assert_eq!(matches(&condition, &ask), (false, true), "{condition}");
    }
    // The other conditions still have to hold.
    let condition = r#"{"IpAddress": {"acs:SourceIp": "0.0.0.0/0"},
        "DateLessThan": {"acs:CurrentTime": "2027-01-01T00:00:00Z"}}"#;
    assert_eq!(matches(condition, &ask), (false, false));
}

#[test]
fn every_operator_and_every_key_must_hold() {
    let tags = tags(&[("a", "1"), ("b", "2")]);
    let ask = Question {
        source: Some([10, 0, 0, 1].into()),
        tags: Some(&tags),
        ..question("kms:Encrypt", KEY)
    };
    for (a, b, not_b, network, expected) in [
        ("1", "2", "3", "10.0.0.0/8", true),
        ("0", "2", "3", "10.0.0.0/8", false),
        ("1", "0", "3", "10.0.0.0/8", false),
        ("1", "2", "2", "10.0.0.0/8", false),
        ("1", "2", "3", "11.0.0.0/8", false),
    ] {
        let condition = format!(
            r#"{{"StringEquals": {{"kms:tag/a": "{a}", "kms:tag/b": "{b}"}},
                "StringNotEquals": {{"kms:tag/b": "{not_b}"}},
                "IpAddress": {{"acs:SourceIp": "{network}"}}}}"#
        );
        assert_eq!(
            matches(&condition, &ask),
            (expected, expected),
            "{condition}"
        );
    }
    assert_eq!(matches("{}", &ask), (true, true));
}

#[test]
fn what_cannot_be_judged_fails_closed_with_a_warning() {
    let tags = tags(&[("a", "1")]);
    let ask = Question {
        source: Some([10, 0, 0, 1].into()),
        tags: Some(&tags),
        ..question("kms:Encrypt", KEY)
    };
    for (operator, key, value, what) in [
        (
            "StringEqual",
            "kms:tag/a",
            r#""1""#,
            "unknown operator \"StringEqual\"; known are StringEquals, ",
        ),
        (
            "stringequals",
            "kms:tag/a",
            r#""1""#,
            "unknown operator \"stringequals\"; did you mean StringEquals?",
        ),
        (
            "StringEqualsIfExists",
            "kms:tag/a",
            r#""1""#,
            "unknown operator",
        ),
        ("NumericEquals", "kms:tag/a", r#""1""#, "unknown operator"),
        (
            "StringEquals",
            "acs:CurrentTimes",
            r#""1""#,
            "unknown key \"acs:CurrentTimes\"; known are acs:CurrentTime, \
             acs:SourceIp, kms:tag/KEY",
        ),
        (
            "IpAddress",
            "acs:sourceip",
            r#""10.0.0.0/8""#,
            "unknown key \"acs:sourceip\"; did you mean acs:SourceIp?",
        ),
        ("StringEquals", "kms:Tag/a", r#""1""#, "unknown key"),
        ("StringEquals", "kms:tag/", r#""1""#, "unknown key"),
        ("Bool", "acs:SecureTransport", "true", "unknown key"),
        ("Bool", "acs:MFAPresent", "true", "unknown key"),
        (
            "StringEquals",
            "acs:SourceIp",
            r#""10.0.0.1""#,
            "this operator can't be applied to acs:SourceIp; expected IpAddress or NotIpAddress",
        ),
        (
            "DateEquals",
            "acs:SourceIp",
            r#""10.0.0.1""#,
            "this operator can't be applied to acs:SourceIp",
        ),
        (
            "StringLike",
            "acs:CurrentTime",
            r#""2027*""#,
            "this operator can't be applied to acs:CurrentTime; expected one of Date…",
        ),
        (
            "IpAddress",
            "kms:tag/a",
            r#""10.0.0.1""#,
            "this operator can't be applied to kms:tag/a; expected one of String… or Bool",
        ),
        (
            "DateLessThan",
            "kms:tag/a",
            r#""2027-01-01T00:00:00Z""#,
            "this operator can't be applied to kms:tag/a",
        ),
        (
            "DateLessThan",
            "acs:CurrentTime",
            r#""tomorrow""#,
            "found \"tomorrow\", expected a time such as 2027-01-01T01:04:05Z or ",
        ),
        (
            "DateLessThan",
            "acs:CurrentTime",
            "true",
            "found true, expected a time",
        ),
        (
            "IpAddress",
            "acs:SourceIp",
            r#"["10.0.0.0/8","10.0.0.0/33"]"#,
            "found \"10.0.0.0/33\", expected an address or network such as ",
        ),
        (
            "Bool",
            "kms:tag/a",
            r#""yes""#,
            "found \"yes\", expected true or false",
        ),
        (
            "StringEquals",
            "kms:tag/a",
            "true",
            "found true, expected a string",
        ),
    ] {
        // The conditions before and behind it hold; a condition that doesn't comes with the third.
        for others in [
            r#""DateLessThan": {"acs:CurrentTime": "2028-01-01T00:00:00Z"}"#,
            r#""DateGreaterThan": {"acs:CurrentTime": "2028-01-01T00:00:00Z"}"#,
        ] {
            let bad = format!(r#""{key}": {value}"#);
            let condition = if operator == "DateLessThan" {
                format!(r#"{{"{operator}": {{{bad}}}}}"#)
            } else {
                format!(r#"{{{others}, "{operator}": {{{bad}}}}}"#)
            };
            assert_eq!(matches(&condition, &ask), (false, true), "{condition}");
            for (effect, consequence) in [
                ("Allow", "; so the statement allows nothing"),
                (
                    "Deny",
                    "; so the statement denies whatever its conditions say",
                ),
            ] {
                let warnings = warnings(&with_condition(effect, &condition));
                let [warning] = &*warnings else {
                    panic!("{condition}: {warnings:?}");
                };
                let place = format!("statement 1: Condition \"{operator}\", \"{key}\": {what}");
                assert!(warning.starts_with(&place), "{warning}");
                assert!(warning.ends_with(consequence), "{warning}");
            }
        }
    }
}

#[test]
fn what_cannot_be_judged_still_needs_action_and_resource() {
    let policy = of_statements(
        r#"{"Effect": "Allow", "Action": "*", "Resource": "*"},
           {"Effect": "Deny", "Action": "kms:Encrypt", "Resource": "acs:kms:*:*:key/*",
            "Condition": {"NumericEquals": {"kms:tag/a": "1"}}}"#,
    );
    assert!(!allows(&policy, "kms:Encrypt", KEY));
    assert!(allows(&policy, "kms:Decrypt", KEY));
    assert!(allows(
        &policy,
        "kms:Encrypt",
        "acs:kms:cn-hangzhou:111122223333:alias/a"
    ));
}

#[test]
fn what_has_no_effect_is_warned_of() {
    let policy = of_statements(
        r#"{"Effect": "Allow", "Action": ["kms:*", "kms>DeleteAlias", "kms:ReEncrypt", "kms:*x*"],
            "Resource": ["acs:kms:*", "*", "arn:aws:kms:*", "acs:kms", "acs:k?s:*:alias/a"]},
           {"Effect": "Deny", "Action": ["kms:CreateAlias", "kms:Describe*"], "Resource": "*",
            "Condition": {"StringEquals": {"kms:tag/a": "1"}}},
           {"Effect": "Deny", "Action": ["kms:CreateAlias", "KMS:*CRYPT"], "Resource": "*",
            "Condition": {"StringEquals": {"kms:tag/a": "1"}}}"#,
    );
    assert_eq!(
        warnings(&policy),
        [
            "statement 1: Action \"kms>DeleteAlias\" matches no action of the KMS",
            "statement 1: Action \"kms:ReEncrypt\" matches no action of the KMS",
            "statement 1: Resource \"arn:aws:kms:*\" matches none of the KMS, which all begin with \
             acs:kms:",
            "statement 1: Resource \"acs:kms\" matches none of the KMS, which all begin with \
             acs:kms:",
            "statement 2: its condition on tags never holds: Action has none of kms:Decrypt, \
             kms:Encrypt, kms:GenerateDataKey, kms:GenerateDataKeyWithoutPlaintext, \
             kms:ReEncryptFrom, kms:ReEncryptTo, and tags count in no other",
        ]
    );
}

#[test]
fn what_is_no_policy_is_refused_where_it_is_wrong() {
    let statement = |members: &str| {
        format!(
            r#"{{"Version":"1","Statement":[
                {{"Effect":"Deny","Action":"*","Resource":"*"}},{{{members}}}]}}"#
        )
    };
    let rest = r#""Action":"*","Resource":"*""#;
    let all = r#""Effect":"Allow","Action":"*","Resource":"*""#;
    let condition = |json: &str| statement(&format!(r#"{all},"Condition":{json}"#));
    for (text, expected) in [
        (
            "[]".to_owned(),
            "policy: found an array, expected an object with Version, Statement",
        ),
        ("{}".to_owned(), "policy: Version is missing"),
        (
            r#"{"Version":"1"}"#.to_owned(),
            "policy: Statement is missing",
        ),
        (
            r#"{"Version":1,"Statement":[]}"#.to_owned(),
            "policy: Version is a number, expected the string \"1\"",
        ),
        (
            r#"{"Version":"2012-10-17","Statement":[]}"#.to_owned(),
            "policy: Version is \"2012-10-17\", expected the string \"1\"",
        ),
        (
            r#"{"Version":"1","Statement":[],"Id":"a"}"#.to_owned(),
            "policy: unknown member \"Id\", expected only Version, Statement",
        ),
        (
            r#"{"version":"1","Statement":[]}"#.to_owned(),
            "policy: unknown member \"version\", expected only Version, Statement",
        ),
        (
            r#"{"Version":"1","Statement":"all"}"#.to_owned(),
            "statement 1: found a string, expected an object with Effect, Action, Resource, \
             Condition",
        ),
        (
            r#"{"Version":"1","Statement":[[]]}"#.to_owned(),
            "statement 1: found an array, expected an object with Effect, Action, Resource, \
             Condition",
        ),
        (statement(rest), "statement 2: Effect is missing"),
        (
            statement(&format!(r#""Efect":"Allow",{rest}"#)),
            "statement 2: unknown member \"Efect\", expected only Effect, Action, Resource, \
             Condition",
        ),
        (
            statement(&format!(r#"{all},"NotAction":"kms:*""#)),
            "statement 2: unknown member \"NotAction\", \
             expected only Effect, Action, Resource, Condition",
        ),
        (
            statement(&format!(r#"{all},"Principal":{{"RAM":["a"]}}"#)),
            "statement 2: unknown member \"Principal\", \
             expected only Effect, Action, Resource, Condition",
        ),
        (
            statement(&format!(r#""Effect":"allow",{rest}"#)),
            "statement 2: Effect is \"allow\", expected \"Allow\" or \"Deny\"",
        ),
        (
            statement(&format!(r#""Effect":["Allow"],{rest}"#)),
            "statement 2: Effect is an array, expected \"Allow\" or \"Deny\"",
        ),
        (
            statement(r#""Effect":"Allow","Resource":"*""#),
            "statement 2: Action is missing",
        ),
        (
            statement(r#""Effect":"Allow","Action":"*""#),
            "statement 2: Resource is missing",
        ),
        (
            statement(r#""Effect":"Allow","Action":[],"Resource":"*""#),
            "statement 2: Action is empty, expected at least one string",
        ),
        (
            statement(r#""Effect":"Allow","Action":["*",1],"Resource":"*""#),
            "statement 2: Action has a number, expected strings",
        ),
        (
            statement(r#""Effect":"Allow","Action":"*","Resource":{}"#),
            "statement 2: Resource has an object, expected strings",
        ),
        (
            condition("[]"),
            "statement 2, Condition: found an array, expected an object of operators",
        ),
        (
            condition(r#"{"Bool":true}"#),
            "statement 2, Condition, \"Bool\": found a boolean, expected an object of \
             condition keys",
        ),
        (
            condition(r#"{"Bool":{}}"#),
            "statement 2, Condition, \"Bool\": names no condition key, expected at least one",
        ),
        (
            condition(r#"{"Bool":{"kms:tag/a":[]}}"#),
            "statement 2, Condition, \"Bool\", \"kms:tag/a\": has no value, expected at least one",
        ),
        (
            condition(r#"{"StringLike":{"kms:tag/a":["*",5]}}"#),
            "statement 2, Condition, \"StringLike\", \"kms:tag/a\": found a number, \
             expected a string",
        ),
        (
            condition(r#"{"Unknown":{"kms:tag/a":null}}"#),
            "statement 2, Condition, \"Unknown\", \"kms:tag/a\": found null, expected a string",
        ),
        (
            r#"{"Version":"1","Statement":[],"Statement":[]}"#.to_owned(),
            "policy: line 1, column 41: duplicate name \"Statement\"",
        ),
        (
            statement(&format!(r#"{all},"\u0045ffect":"Deny""#)),
            "policy: line 2, column 121: duplicate name \"Effect\"",
        ),
    ] {
        assert_eq!(refusal(&text), expected, "{text}");
    }
}

#[test]
fn comments_are_refused_with_line_and_column() {
    let text = r#"{
  "Version": "1",
  "Statement": [{
    "Effect": "Allow",
    "Action": "kms:CreateAlias", // on both
    "Resource": "*"
  }]
}"#;
    assert_eq!(
        refusal(text),
        "policy: line 5, column 34: found a comment, which JSON doesn't have; take it out"
    );
    assert!(Policy::parse(&text.replace("// on both", "")).is_ok());
}

#[test]
fn the_length_is_limited_before_the_text_is_parsed() {
    let whole = r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
    let padded = |len: usize| format!("{whole}{}", " ".repeat(len - whole.len()));
    let longest = policy(&padded(Policy::MAX_LEN));
    assert_eq!(longest.text(), padded(Policy::MAX_LEN));
    assert_eq!(
        refusal(&padded(Policy::MAX_LEN + 1)),
        "policy: 32769 bytes, expected at most 32768"
    );
    // Were it parsed, the error would be about JSON.
    assert_eq!(
        Policy::parse(&"[".repeat(Policy::MAX_LEN + 1)),
        Err(NotAPolicy::TooLong {
            bytes: Policy::MAX_LEN + 1
        })
    );
}

#[test]
fn the_number_of_statements_is_limited() {
    let of = |count: usize| {
        let statement = r#"{"Effect":"Allow","Action":"*","Resource":"*"}"#;
        let statements = [statement].repeat(count).join(",");
        Policy::parse(&format!(r#"{{"Version":"1","Statement":[{statements}]}}"#))
    };
    assert!(of(Policy::MAX_STATEMENTS).is_ok());
    assert_eq!(
        of(Policy::MAX_STATEMENTS + 1).unwrap_err().to_string(),
        "policy: 101 statements, expected at most 100"
    );
}

#[test]
fn the_text_is_kept_as_given_and_means_the_same_again() {
    let text = "\t{\"Statement\" : {\"Resource\":\"*\",\"Action\":\"kms:\\u0044*\",\n \
                \"Effect\":\"Allow\"}, \"Version\":\"1\"}\n";
    let policy = policy(text);
    assert_eq!(policy.text(), text);
    assert_eq!(Policy::parse(policy.text()), Ok(policy.clone()));
    assert!(allows(&policy, "kms:Decrypt", KEY));
}

/// The samples of the user guide, and what its tables say of them.
mod guide {
    use super::*;

    const NAMESPACE: &str = "acs:kms:cn-hangzhou:1416614965936597:";

    fn resource(relative: &str) -> String {
        format!("{NAMESPACE}{relative}")
    }

    #[test]
    fn everything_is_allowed() {
        let policy = policy(
            r#"{
              "Version": "1",
              "Statement": [{"Effect": "Allow", "Action": ["kms:*"], "Resource": ["*"]}]
            }"#,
        );
        for action in ACTIONS {
            for relative in ["key", "key/a", "alias", "alias/a"] {
                assert!(allows(&policy, action, &resource(relative)), "{action}");
            }
        }
        assert_eq!(policy.warnings(), &[]);
    }

    #[test]
    fn read_only_allows_what_it_lists_and_no_change() {
        let policy = policy(
            r#"{
              "Version": "1",
              "Statement": [{
                "Effect": "Allow",
                "Action": [
                  "kms:List*", "kms:Describe*", "kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey"
                ],
                "Resource": ["*"]
              }]
            }"#,
        );
        let allowed: Vec<&str> = ACTIONS
            .into_iter()
            .filter(|action| allows(&policy, action, &resource("key/a")))
            .collect();
        assert_eq!(
            allowed,
            [
                "kms:Decrypt",
                "kms:DescribeKey",
                "kms:DescribeKeyVersion",
                "kms:DescribeRegions",
                "kms:Encrypt",
                "kms:GenerateDataKey",
                "kms:ListAliases",
                "kms:ListAliasesByKeyId",
                "kms:ListKeyVersions",
                "kms:ListKeys",
                "kms:ListResourceTags",
            ]
        );
        assert_eq!(policy.warnings(), &[]);
    }

    #[test]
    fn a_tag_is_required_of_keys_in_cryptography() {
        let policy = policy(
            r#"{
              "Version": "1",
              "Statement": [{
                "Effect": "Allow",
                "Action": ["kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey"],
                "Resource": ["*"],
                "Condition": {"StringEqualsIgnoreCase": {"kms:tag/Project": ["Apollo"]}}
              }]
            }"#,
        );
        let with = |action, tags: Option<&BTreeMap<_, _>>| {
            policy.decide(&Question {
                tags,
                ..question(action, KEY)
            })
        };
        let allowed = Decision::Allowed { statement: 1 };
        for action in ["kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey"] {
            for tag in ["Apollo", "apollo", "APOLLO"] {
                let tags = tags(&[("Project", tag), ("Stage", "1")]);
                assert_eq!(with(action, Some(&tags)), allowed, "{action} {tag}");
            }
            for tags in [
                tags(&[]),
                tags(&[("Project", "Gemini")]),
                tags(&[("project", "Apollo")]),
                tags(&[("Stage", "Apollo")]),
            ] {
                assert_eq!(with(action, Some(&tags)), Decision::NotAllowed, "{tags:?}");
            }
        }
        for action in ACTIONS {
            assert_eq!(with(action, None), Decision::NotAllowed, "{action}");
        }
    }

    #[test]
    fn an_alias_operation_is_allowed_on_exactly_its_resources() {
        for (action, needed) in [
            ("kms:CreateAlias", &["key/key-1", "alias/ExampleAlias"][..]),
            (
                "kms:UpdateAlias",
                &["key/key-1", "key/key-2", "alias/ExampleAlias"],
            ),
            ("kms:DeleteAlias", &["key/key-1", "alias/ExampleAlias"]),
            ("kms:ListAliases", &["alias"]),
            ("kms:ListAliasesByKeyId", &["key/key-1"]),
        ] {
            let of = |relative: &[&str]| {
                let resources: Vec<_> = relative
                    .iter()
                    .map(|r| format!("{:?}", resource(r)))
                    .collect();
                policy(&format!(
                    r#"{{"Version":"1","Statement":[{{"Effect":"Allow","Action":["{action}"],
                        "Resource":[{}]}}]}}"#,
                    resources.join(",")
                ))
            };
            let allows_all = |policy: &Policy| {
                let mut needed = needed.iter();
                needed.all(|needed| allows(policy, action, &resource(needed)))
            };
            let whole = of(needed);
            assert!(allows_all(&whole), "{action}");
            assert_eq!(whole.warnings(), &[]);
            for other in ACTIONS.into_iter().filter(|other| *other != action) {
                assert!(!allows(&whole, other, &resource(needed[0])), "{other}");
            }
            for (at, taken) in needed.iter().enumerate() {
                let mut rest = needed.to_vec();
                rest.remove(at);
                // A statement needs a resource; this one is not what is asked for.
                rest.push("key/another");
                let without = of(&rest);
                assert!(!allows_all(&without), "{action} without {taken}");
                assert!(!allows(&without, action, &resource(taken)));
            }
        }
    }

    #[test]
    fn the_sample_for_aliases_of_a_key_names_another_action() {
        let policy = policy(
            r#"{
              "Version": "1",
              "Statement": [{
                "Effect": "Allow",
                "Action": ["kms:DeleteAlias"],
                "Resource": ["acs:kms:cn-hangzhou:1416614965936597:key/08c33a6f-4e0a-4a1b"]
              }]
            }"#,
        );
        let key = resource("key/08c33a6f-4e0a-4a1b");
        assert!(!allows(&policy, "kms:ListAliasesByKeyId", &key));
        assert!(allows(&policy, "kms:DeleteAlias", &key));
    }

    #[test]
    fn an_account_is_all_its_keys_aliases_and_containers() {
        let policy = policy(
            r#"{
              "Version": "1",
              "Statement": [{
                "Effect": "Allow",
                "Action": ["kms:*"],
                "Resource": ["acs:kms:*:1416614965936597:*"]
              }]
            }"#,
        );
        for relative in ["key", "key/08c33a6f", "alias", "alias/a", "alias/a/b"] {
            for region in ["cn-hangzhou", "local", ""] {
                let resource = |account| format!("acs:kms:{region}:{account}:{relative}");
                assert!(allows(
                    &policy,
                    "kms:Encrypt",
                    &resource("1416614965936597")
                ));
                for account in [
                    "1416614965936598",
                    "14166149659365970",
                    "01416614965936597",
                    "416614965936597",
                    "",
                    "*",
                ] {
                    assert!(
                        !allows(&policy, "kms:Encrypt", &resource(account)),
                        "{account}"
                    );
                }
            }
        }
        assert!(!allows(
            &policy,
            "kms:Encrypt",
            "acs:oss:x:1416614965936597:key/a"
        ));
        assert_eq!(policy.warnings(), &[]);
    }

    #[test]
    fn an_action_with_a_slip_of_the_pen_is_none() {
        let policy = policy(
            r#"{
              "Version": "1",
              "Statement": [{
                "Effect": "Allow",
                "Action": ["kms>DeleteAlias"],
                "Resource": ["*"]
              }]
            }"#,
        );
        assert!(!allows(&policy, "kms:DeleteAlias", &resource("alias/a")));
        assert_eq!(
            warnings(&policy),
            ["statement 1: Action \"kms>DeleteAlias\" matches no action of the KMS"]
        );
    }
}
