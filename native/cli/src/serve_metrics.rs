//! `stillkey serve-metrics`: what a dictionary directory looks like from outside, for Prometheus.
//!
//! No lock is taken and nothing in the directory is written, so the engine that works in it doesn't notice. The directory is read when somebody
//! asks, but no more often than every so often.

use std::cell::RefCell;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use stillkey::core::{FileDictionary, KeyDictionary, MasterKey, Reading, Verdict};
use stillkey::metrics as table;
use stillkey::{
    AtomicFile, Error, ErrorKind, parse_duration, read_file_dictionary, read_key_dictionary,
};
use tiny_http::{Header, Method, Request, Response, Server};

use crate::dictionaries::{DictArgs, first_that_fits};
use crate::failure::{Failure, Outcome, io};
use crate::ui::Ui;

/// Show the state of a dictionary directory to Prometheus: over HTTP, or in a file for node_exporter
///
/// Reads the directory without a lock, next to the engine that works in it, and writes nothing there. Number of files, size and state of the log
/// need no master key. With one (--master-key, --config or STILLKEY_MASTER_KEY), number of data keys, age of the current one, and files
/// under older ones are told, too. What is told of memory is this command's own. Ends with exit status 0 on SIGINT and SIGTERM.
#[derive(Debug, clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    dictionaries: DictArgs,
    /// Where to serve http://ADDRESS/metrics. There is neither encryption nor a password, so it should stay on this machine
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:9929",
        conflicts_with = "textfile"
    )]
    listen: SocketAddr,
    /// Write this file instead, in one step, for node_exporter's textfile collector; its name must end in .prom there
    #[arg(long, value_name = "PATH")]
    textfile: Option<PathBuf>,
    /// Read the directory no more often than this (15s unless given); with --textfile, write it this often instead of once
    #[arg(long, value_name = "TIME", value_parser = interval)]
    every: Option<Duration>,
}

const AFTER_HELP: &str = "\
Examples:
  stillkey serve-metrics -d /var/lib/tikv
  stillkey serve-metrics --config tikv.toml --listen 127.0.0.1:9929 --every 1m
  stillkey serve-metrics -d vault --textfile /var/lib/node_exporter/stillkey.prom";

const DEFAULT_INTERVAL: Duration = Duration::from_secs(15);

/// What Prometheus calls its text format.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

fn interval(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(Duration::ZERO) => Err("expected a time above zero, such as 15s or 2m".into()),
        interval => interval.map_err(|error| error.to_string()),
    }
}

impl Args {
    pub(crate) fn run(self, ui: &Ui) -> Outcome {
        let (stop, stopped) = channel();
        let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(system("wait for signals"))?;
        let directory = Watched {
            directory: self.dictionaries.directory()?,
            master_keys: RefCell::new(self.dictionaries.named_keys(ui)?),
            dictionaries: &self.dictionaries,
            trouble: RefCell::default(),
            page: install_recorder()?,
            ui,
        };
        directory.look()?;
        match self.textfile {
            Some(path) => {
                thread::spawn(move || signals.forever().next().map(|_| stop.send(())));
                directory.keep_file(&path, self.every, &stopped)
            }
            None => {
                let server = listen(self.listen, ui)?;
                let until = Arc::clone(&server);
                thread::spawn(move || signals.forever().next().map(|_| until.unblock()));
                directory.serve(&server, self.every.unwrap_or(DEFAULT_INTERVAL))
            }
        }
    }
}

fn listen(address: SocketAddr, ui: &Ui) -> Outcome<Arc<Server>> {
    let server = Server::http(address).map_err(|error| {
        let why =
            format!("cannot listen on {address}: {error}; choose another address with --listen");
        Failure::Said(ErrorKind::Io, why)
    })?;
    // The port is the system's choice if it was given as 0.
    let address = server.server_addr().to_ip().unwrap_or(address);
    if !address.ip().is_loopback() {
        ui.warn(&format!("{address} may be reached from other machines, and there is neither encryption nor a password"));
    }
    let url = format!("http://{address}/metrics");
    ui.result(&format!("serving {url}"), &json!({ "url": url }))?;
    Ok(Arc::new(server))
}

/// Makes the process's recorder, which divides histograms as the table says.
fn install_recorder() -> Outcome<PrometheusHandle> {
    let failed =
        |error: BuildError| Failure::Said(ErrorKind::Io, format!("cannot record metrics: {error}"));
    let mut builder = PrometheusBuilder::new();
    for metric in table::ALL
        .iter()
        .filter(|metric| !metric.buckets.is_empty())
    {
        let name = Matcher::Full(metric.name.into());
        builder = builder
            .set_buckets_for_metric(name, metric.buckets)
            .map_err(failed)?;
    }
    let handle = builder.install_recorder().map_err(failed)?;
    table::describe();
    Ok(handle)
}

/// A directory that is looked at again and again.
struct Watched<'a> {
    directory: PathBuf,
    /// Those that were named; none is fine.
    master_keys: RefCell<Vec<MasterKey>>,
    dictionaries: &'a DictArgs,
    /// Why the last look failed.
    trouble: RefCell<Option<String>>,
    page: PrometheusHandle,
    ui: &'a Ui,
}

impl Watched<'_> {
    /// Answers requests until the server is told to stop.
    fn serve(&self, server: &Server, every: Duration) -> Outcome {
        let mut looked = Instant::now();
        for request in server.incoming_requests() {
            if looked.elapsed() >= every {
                self.look_again();
                looked = Instant::now();
            }
            // Whoever has asked and gone away needs no answer.
            let _ = self.answer(request);
        }
        Ok(())
    }

    fn answer(&self, request: Request) -> std::io::Result<()> {
        let path = request.url().split('?').next().unwrap_or_default();
        let (status, body) = match (request.method(), path) {
            (Method::Get | Method::Head, "/metrics") => (200, self.render()),
            (Method::Get | Method::Head, _) => (404, "see /metrics\n".into()),
            _ => (405, "only GET\n".into()),
        };
        let mut response = Response::from_string(body).with_status_code(status);
        if let Ok(header) = Header::from_bytes("Content-Type", CONTENT_TYPE) {
            response.add_header(header);
        }
        request.respond(response)
    }

    /// Writes the file once, or again and again until there is a signal.
    fn keep_file(&self, path: &Path, every: Option<Duration>, stopped: &Receiver<()>) -> Outcome {
        self.write_file(path)?;
        let Some(every) = every else {
            let json = json!({ "textfile": path.display().to_string() });
            return self
                .ui
                .result(&format!("{}: written", path.display()), &json);
        };
        while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
            self.look_again();
            if let Err(failure) = self.write_file(path) {
                self.ui.warn(&failure.to_string());
            }
        }
        Ok(())
    }

    fn write_file(&self, path: &Path) -> Outcome {
        let mut file = AtomicFile::create(path)?;
        file.write_all(self.render().as_bytes())
            .map_err(io(path, "write"))?;
        // The collector runs as a user of its own, and nothing in the file is secret.
        readable_to_all(file.as_file()).map_err(io(path, "set the permissions of"))?;
        Ok(file.commit(true)?)
    }

    fn render(&self) -> String {
        self.page.run_upkeep();
        self.page.render()
    }

    /// A directory that can't be read now may be readable again later, and the metrics say so.
    fn look_again(&self) {
        let trouble = self.look().err().map(|failure| failure.to_string());
        let before = self.trouble.replace(trouble.clone());
        // Not again at each request.
        if let Some(trouble) = trouble.filter(|trouble| before.as_ref() != Some(trouble)) {
            self.ui.warn(&trouble);
        }
    }

    /// Reads the dictionaries, and records what they show. What can't be read isn't known any more.
    fn look(&self) -> Outcome {
        let (files, keys) = (self.look_at_files(), self.look_at_keys());
        self.record_readable("file_dictionary", files.is_ok(), &FILES_GAUGES);
        // Without a master key, nobody has tried.
        if !matches!(keys, Ok(None)) {
            self.record_readable("key_dictionary", keys.is_ok(), &KEY_GAUGES);
            let older = match (&files, &keys) {
                (Ok(Some(files)), Ok(Some(keys))) => under_older_keys(files, keys) as f64,
                _ => f64::NAN,
            };
            table::FILES_UNDER_OLDER_KEYS.set_float(older, []);
        }
        table::INITIALIZED.set(usize::from(files.is_ok() && keys.is_ok()), []);
        match (files, keys) {
            (Err(files), Err(keys)) if is_absence(&files) && is_absence(&keys) => {
                let path = self.directory.clone();
                Err(Error::NoDictionaries { path }.into())
            }
            (files, keys) => keys.and(files).map(drop),
        }
    }

    fn record_readable(
        &self,
        dictionary: &'static str,
        is_readable: bool,
        gauges: &[table::Metric],
    ) {
        table::READABLE.set(usize::from(is_readable), [dictionary]);
        if !is_readable {
            table::DICTIONARY_BYTES.set_float(f64::NAN, [dictionary]);
            for gauge in gauges {
                gauge.set_float(f64::NAN, []);
            }
        }
    }

    /// The entries; `None` when the log is damaged, so that any of them may be wrong.
    fn look_at_files(&self) -> Outcome<Option<FileDictionary>> {
        let path = self.directory.join("file.dict");
        let recovered = read_file_dictionary(&path, Reading::Strict)?;
        let len = path.metadata().map_err(io(&path, "inspect"))?.len();
        table::record_files(&recovered, len);
        let is_whole = !matches!(recovered.verdict, Verdict::Corrupt { .. });
        Ok(is_whole.then_some(recovered.dictionary))
    }

    /// The data keys; `None` without a master key.
    fn look_at_keys(&self) -> Outcome<Option<KeyDictionary>> {
        let path = self.directory.join("key.dict");
        let mut master_keys = self.master_keys.borrow_mut();
        if master_keys.is_empty() {
            // That it is there can be told without a key.
            path.metadata().map_err(io(&path, "inspect"))?;
            return Ok(None);
        }
        let read = |master_keys: &[MasterKey]| {
            first_that_fits(master_keys, |master_key| {
                read_key_dictionary(&path, master_key)
            })
        };
        let keys = match read(&master_keys) {
            // The master key may have been changed, and its source with it.
            Err(Failure::Error(error)) if error.kind() == ErrorKind::WrongKey => {
                *master_keys = self.dictionaries.named_keys(self.ui)?;
                read(&master_keys)?
            }
            read => read?,
        };
        table::record_keys(&keys);
        Ok(Some(keys))
    }
}

/// What is known from each of the two dictionaries.
const FILES_GAUGES: [table::Metric; 4] = [
    table::FILES,
    table::LOG_RECORDS,
    table::LOG_TORN_BYTES,
    table::LOG_DAMAGED,
];
const KEY_GAUGES: [table::Metric; 3] = [table::DATA_KEYS, table::KEY_CREATED, table::KEY_EXPOSED];

fn is_absence(failure: &Failure) -> bool {
    failure.kind() == ErrorKind::NotFound
}

fn under_older_keys(files: &FileDictionary, keys: &KeyDictionary) -> usize {
    let current = keys.current_key_id();
    let older = files
        .unsorted()
        .filter(|(_, info)| info.key_id != current && !info.iv_bytes().is_empty());
    older.count()
}

fn readable_to_all(file: &std::fs::File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

/// For `map_err`: the system refused something that has no path.
fn system(action: &'static str) -> impl Fn(std::io::Error) -> Failure {
    move |error| Failure::Said(ErrorKind::Io, format!("cannot {action}: {error}"))
}
