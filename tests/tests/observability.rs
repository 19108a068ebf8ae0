//! What metrics and traces tell: everything that the tables and the dashboard promise, and never a secret.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use promql_parser::parser::{self, Expr};
use promql_parser::util::{ExprVisitor, walk_expr};
use serde_json::Value;
use stillkey::metrics::{ALL, Metric, MetricKind, describe};
use stillkey_tests::cli::{Sandbox, finish};
use stillkey_tests::{hex, scenario};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Writes down everything that a subscriber gets to see, one span or event a line.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<String>>);

struct Line<'t>(&'t mut String);

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }

    // Debug would escape it.
    fn record_str(&mut self, field: &Field, value: &str) {
        write!(self.0, " {}={value}", field.name()).unwrap();
    }

    fn record_bytes(&mut self, field: &Field, value: &[u8]) {
        write!(self.0, " {}={}", field.name(), hex::encode(value)).unwrap();
    }
}

impl Collector {
    fn line(&self, metadata: &Metadata<'_>, record: impl FnOnce(&mut Line<'_>)) {
        let mut text = self.0.lock().unwrap();
        write!(text, "{} {}", metadata.level(), metadata.name()).unwrap();
        record(&mut Line(&mut text));
        text.push('\n');
    }

    /// What was seen while `work` ran, and what it gave.
    fn collect<T>(work: impl FnOnce() -> T) -> (String, T) {
        let collector = Self::default();
        let done = tracing::subscriber::with_default(collector.clone(), work);
        let text = collector.0.lock().unwrap().clone();
        (text, done)
    }
}

impl Subscriber for Collector {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.line(span.metadata(), |line| span.record(line));
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut Line(&mut self.0.lock().unwrap()));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        self.line(event.metadata(), |line| event.record(line));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// What Prometheus would get to see of `work`.
fn measure<T>(work: impl FnOnce() -> T) -> (String, T) {
    let mut builder = PrometheusBuilder::new();
    for metric in ALL.iter().filter(|metric| !metric.buckets.is_empty()) {
        let name = Matcher::Full(metric.name.into());
        builder = builder
            .set_buckets_for_metric(name, metric.buckets)
            .unwrap();
    }
    let recorder = builder.build_recorder();
    let done = metrics::with_local_recorder(&recorder, || {
        describe();
        work()
    });
    recorder.handle().run_upkeep();
    (recorder.handle().render(), done)
}

/// All that came of one scenario: traces, metrics, and the keys that were in it.
fn observed() -> (String, String, Vec<Vec<u8>>) {
    let directory = tempfile::tempdir().unwrap();
    let work = || measure(|| scenario::play(directory.path()));
    let (traces, (metrics, keys)) = Collector::collect(work);
    (traces, metrics, keys)
}

/// The ways in which bytes are written down by accident.
fn forms(bytes: &[u8]) -> Vec<String> {
    let list = |of: fn(&u8) -> String, separator: &str| {
        bytes.iter().map(of).collect::<Vec<_>>().join(separator)
    };
    let lower = hex::encode(bytes);
    // Without the end, which depends on what follows.
    let base64 = openssl::base64::encode_block(bytes);
    vec![
        lower.to_uppercase(),
        lower,
        base64.replace('+', "-").replace('/', "_"),
        base64,
        list(u8::to_string, ", "),
        list(u8::to_string, ","),
        list(u8::to_string, " "),
        list(|byte| format!("{byte:02x}"), " "),
        list(|byte| format!("{byte:02x}"), ", "),
        list(|byte| format!("0x{byte:02x}"), ", "),
        list(|byte| format!("{byte:02X}"), ":"),
        bytes.escape_ascii().to_string(),
        String::from_utf8_lossy(bytes).into_owned(),
    ]
}

/// Nine bytes of a key on end that stand in `text`, in whatever form.
fn leaked(text: &str, keys: &[Vec<u8>]) -> Option<String> {
    let mut pieces = keys.iter().flat_map(|key| key.windows(9));
    pieces.find_map(|piece| forms(piece).into_iter().find(|form| text.contains(form)))
}

#[test]
fn traces_and_metrics_tell_of_every_step_and_of_no_key() {
    let (traces, metrics, keys) = observed();
    assert!(keys.len() > 8 && keys.iter().all(|key| key.len() >= 16));
    for text in [&traces, &metrics] {
        assert_eq!(leaked(text, &keys), None, "{text}");
    }
    for step in [
        "INFO start directory=",
        "dictionaries created",
        "dictionaries opened",
        "DEBUG create_file file=a",
        "DEBUG rename_file from=a to=d",
        "DEBUG link_file",
        "DEBUG delete_file file=e",
        "DEBUG write_file",
        "DEBUG rename_directory",
        "DEBUG delete_directory",
        "DEBUG rekey_file file=b",
        "file encrypted anew bytes=7",
        "file not encrypted anew",
        "INFO compact",
        "INFO rotate_data_key",
        "reason=asked_for",
        "reason=method_changed",
        "INFO rotate_master_key",
        "data keys sealed under another master key",
        "the previous master key was needed",
        "cutting off the end of the log",
        "changes committed changes=1",
        "changes not committed",
    ] {
        assert!(traces.contains(step), "{step:?} is not in:\n{traces}");
    }
}

#[test]
fn a_key_is_found_in_whatever_form_it_is_told() {
    let key: Vec<u8> = (0..32).map(|i| 200_u8.wrapping_sub(7 * i)).collect();
    let keys = [key.clone()];
    for form in forms(&key) {
        let (traces, ()) = Collector::collect(|| tracing::trace!(form, "told"));
        assert!(leaked(&traces, &keys).is_some(), "{form}");
    }
    let (traces, ()) = Collector::collect(|| tracing::info_span!("span", ?key).in_scope(|| ()));
    assert!(leaked(&traces, &keys).is_some(), "{traces}");
    let (traces, ()) = Collector::collect(|| tracing::info!(key = &key[..], "told"));
    assert!(leaked(&traces, &keys).is_some(), "{traces}");
    assert_eq!(leaked("nothing", &keys), None);
}

/// The samples of a page for Prometheus: the names, each with all labels that it is ever seen with.
type Exported = BTreeMap<String, BTreeSet<String>>;

fn samples(page: &str, exported: &mut Exported) {
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let Some((sample, _value)) = line.rsplit_once(' ') else {
            continue;
        };
        let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
        let labels = labels.split(',').filter_map(|label| label.split_once('='));
        let labels = labels.map(|(label, _)| label.to_owned());
        exported.entry(name.to_owned()).or_default().extend(labels);
    }
}

/// What an engine's process and `stillkey serve-metrics` export.
fn exported() -> Exported {
    let mut exported = Exported::new();
    samples(&observed().1, &mut exported);
    let sandbox = Sandbox::with_vault();
    let key = ["-k", "file:master.key"];
    let serve = ["serve-metrics", "-d", "vault", "--textfile", "vault.prom"];
    sandbox.run(serve.into_iter().chain(key)).expect_status(0);
    samples(
        &String::from_utf8(sandbox.read("vault.prom")).unwrap(),
        &mut exported,
    );
    exported
}

/// The names that a metric's samples have.
fn sample_names(metric: &Metric) -> Vec<String> {
    let endings: &[&str] = match metric.kind {
        MetricKind::Histogram => &["_bucket", "_sum", "_count"],
        _ => &[""],
    };
    let names = endings
        .iter()
        .map(|ending| format!("{}{ending}", metric.name));
    names.collect()
}

#[test]
fn the_table_and_what_is_exported_are_the_same() {
    let exported = exported();
    let mut described = BTreeSet::new();
    for metric in ALL {
        for name in sample_names(metric) {
            let labels = exported.get(&name);
            let labels = labels.unwrap_or_else(|| panic!("{name} is described and never exported"));
            let expected = metric.labels.iter().copied();
            let expected = expected.chain(name.ends_with("_bucket").then_some("le"));
            let expected: BTreeSet<_> = expected.map(str::to_owned).collect();
            assert_eq!(*labels, expected, "{name}");
            assert!(
                described.insert(name.clone()),
                "{name} stands twice in the table"
            );
        }
    }
    let exported: BTreeSet<_> = exported.into_keys().collect();
    assert_eq!(exported, described);
}

/// The metrics of a query, and the labels that it asks for.
#[derive(Default)]
struct Query {
    metrics: BTreeSet<String>,
    labels: BTreeSet<String>,
}

impl Query {
    fn parse(expression: &str) -> Self {
        // Grafana's own variables.
        let expression = expression.replace("$__rate_interval", "5m");
        let parsed = parser::parse(&expression);
        let parsed = parsed.unwrap_or_else(|error| panic!("{expression}: {error}"));
        let mut query = Self::default();
        let Ok(_) = walk_expr(&mut query, &parsed);
        query
    }

    fn select(&mut self, selector: &parser::VectorSelector) {
        self.metrics.extend(selector.name.clone());
        let matchers = selector.matchers.matchers.iter();
        self.labels
            .extend(matchers.map(|matcher| matcher.name.clone()));
    }
}

impl ExprVisitor for Query {
    type Error = Infallible;

    fn pre_visit(&mut self, expression: &Expr) -> Result<bool, Infallible> {
        match expression {
            Expr::VectorSelector(selector) => self.select(selector),
            Expr::MatrixSelector(selector) => self.select(&selector.vs),
            Expr::Aggregate(aggregate) => {
                if let Some(modifier) = &aggregate.modifier {
                    self.labels.extend(modifier.labels().labels.iter().cloned());
                }
            }
            _ => {}
        }
        Ok(true)
    }
}

/// The queries of the dashboard, and its legends, which show labels.
fn queries() -> Vec<(String, String)> {
    let dashboard = include_str!("../../native/dashboards/stillkey.json");
    let dashboard: Value = serde_json::from_str(dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    targets
        .map(|target| (text(&target["expr"]), text(&target["legendFormat"])))
        .collect()
}

/// The labels in `{{label}}`.
fn legend_labels(legend: &str) -> impl Iterator<Item = String> {
    let pieces = legend.split("{{").skip(1);
    pieces.map(|piece| piece.split("}}").next().unwrap().trim().to_owned())
}

#[test]
fn the_dashboard_asks_for_nothing_but_what_is_exported_and_for_all_of_it() {
    let exported = exported();
    let queries = queries();
    assert!(queries.len() > 20);
    let mut asked_for = BTreeSet::new();
    for (expression, legend) in queries {
        let mut query = Query::parse(&expression);
        assert!(!query.metrics.is_empty(), "{expression}");
        query.labels.extend(legend_labels(&legend));
        // Prometheus adds this one.
        query.labels.remove("instance");
        for metric in query.metrics {
            let labels = exported.get(&metric);
            let labels = labels.unwrap_or_else(|| panic!("{metric} is not exported: {expression}"));
            let unknown: Vec<_> = query.labels.difference(labels).collect();
            assert!(
                unknown.is_empty(),
                "{metric} has no {unknown:?}: {expression} {legend}"
            );
            asked_for.insert(metric);
        }
    }
    for metric in ALL {
        let is_shown = sample_names(metric)
            .iter()
            .any(|name| asked_for.contains(name));
        assert!(is_shown, "no panel shows {}", metric.name);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn memory_that_the_system_does_not_lock_is_told_of_once_and_the_command_goes_on() {
    let sandbox = Sandbox::with_vault();
    // Root may lock as much as it likes, unless that right is taken from it.
    let run = |arguments: &str| {
        let line = format!(
            "ulimit -l 0; take=; [ $(id -u) != 0 ] || take='setpriv --bounding-set=-ipc_lock --inh-caps=-ipc_lock'; \
             exec $take stillkey inspect vault -k file:master.key {arguments}"
        );
        finish(sandbox.program("bash").args(["-c", &line]))
    };
    run("").expect_status(0).expect_message(&[
        "stillkey: warning: key material may be swapped out",
        "lock it in memory",
    ]);
    for arguments in ["--quiet", "--json"] {
        let ran = run(arguments);
        ran.expect_status(0);
        assert_eq!(ran.stderr, "");
    }
}

#[test]
fn the_command_shows_its_steps_when_it_is_asked_to_and_no_key() {
    let sandbox = Sandbox::with_vault();
    let key = String::from_utf8(sandbox.read("master.key")).unwrap();
    let rotate = ["rotate", "data-key", "-d", "vault", "-k", "file:master.key"];
    let ran = finish(sandbox.stillkey(rotate).env("STILLKEY_LOG", "trace"));
    ran.expect_status(0);
    assert!(ran.stderr.contains("new data key"), "{ran:?}");
    assert_eq!(leaked(&ran.stderr, &[hex::decode(key.trim())]), None);
    assert_eq!(sandbox.run(rotate).stderr, "");
    finish(sandbox.stillkey(rotate).env("STILLKEY_LOG", "loud"))
        .expect_failure(2, &["STILLKEY_LOG", "debug"]);
}
