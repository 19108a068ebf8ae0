use std::sync::Arc;

use proptest::prelude::*;
use stillkey_core::SecretBytes;

use super::*;
use crate::error::ErrorKind;

fn config(encryption: &str) -> Result<TikvConfig, Error> {
    TikvConfig::parse(&format!(
        "[server]\naddr = \"x\"\n[security]\nca-path = \"\"\n[security.encryption]\n{encryption}"
    ))
}

fn warnings(config: &TikvConfig) -> Vec<String> {
    config.warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn an_absent_section_means_plaintext() {
    let config = TikvConfig::parse("log-level = \"info\"").unwrap();
    assert_eq!(config, TikvConfig::default());
    let plaintext = ConfiguredMasterKey::Source(MasterKeySource::Plaintext);
    assert_eq!(config.master_key, plaintext);
    assert_eq!(config.data_encryption_method, Method::Plaintext);
    assert_eq!(config.data_key_rotation_period.as_secs(), 7 * 86_400);
    assert_eq!(config.file_dictionary_version(), Version::V2);
    assert_eq!(config.file_names, Names::Relative);
    assert_eq!(config.untracked, Untracked::Refuse);
}

#[test]
fn every_key_is_read() {
    let config = config(
        "data-encryption-method = \"SM4-ctr\"\ndata-key-rotation-period = \"1d500ms\"\n\
         enable-file-dictionary-log = false\nfile-dictionary-rewrite-threshold = 2_000\n\
         [security.encryption.master-key]\ntype = \"file\"\npath = \"/k/new\"\n\
         [security.encryption.previous-master-key]\ntype = \"file\"\npath = \"/k/old\"\n\
         [stillkey]\nfile-names = \"absolute\"\nuntracked = \"plaintext\"\n\
         [storage]\ndata-dir = \"/data\"\n",
    )
    .unwrap();
    assert_eq!(warnings(&config), [""; 0]);
    assert_eq!(config.data_dir, Some("/data".into()));
    let policy = config.rotation_policy();
    // Ages are whole seconds, so half a second more is one more.
    assert_eq!((policy.method, policy.period), (Method::Sm4Ctr, 86_401));
    assert_eq!(config.file_dictionary_version(), Version::V1);
    assert_eq!(config.file_dictionary_rewrite_threshold, 2000);
    assert_eq!(config.file_names, Names::AsGiven);
    assert_eq!(config.untracked, Untracked::Plaintext);
    let file = |path: &str| MasterKeySource::File(path.into());
    assert_eq!(config.master_key.source().unwrap(), &file("/k/new"));
    let previous = config.previous_master_key.unwrap();
    assert_eq!(previous.source().unwrap(), &file("/k/old"));
}

fn secret(text: &str) -> Arc<SecretBytes> {
    Arc::new(SecretBytes::copied(text.as_bytes()))
}

fn service(tables: &str) -> (ConfiguredMasterKey, Vec<String>) {
    let config = config(&format!(
        "[security.encryption.master-key]\ntype = \"kms\"\nkey-id = \"the-key\"\n{tables}"
    ));
    let config = config.unwrap();
    let warnings = warnings(&config);
    (config.master_key, warnings)
}

#[test]
fn key_services_are_read_with_all_their_keys_and_reached_by_a_later_release() {
    const AWS: &str = "[security.encryption.master-key.aws]\n";
    const AZURE: &str = "vendor = \"azure\"\n[security.encryption.master-key.azure]\n\
        tenant-id = \"t\"\nclient-id = \"c\"\nkeyvault-url = \"k\"\nhsm-name = \"n\"\nhsm-url = \"h\"\n";
    const GCP: &str = "[security.encryption.master-key.gcp]\n";
    let azure = |credential| {
        KeyServiceVendor::Azure(Box::new(AzureConfig {
            tenant_id: "t".into(),
            client_id: "c".into(),
            keyvault_url: "k".into(),
            hsm_name: "n".into(),
            hsm_url: "h".into(),
            credential,
        }))
    };
    let gcp = |v2, path: Option<&str>| KeyServiceVendor::Gcp {
        v2,
        credential_file_path: path.map(PathBuf::from),
    };
    let rows = [
        (
            "vendor = \"\"\nregion = \"\"".to_owned(),
            KeyServiceVendor::Aws(None),
        ),
        ("vendor = \"aws\"".to_owned(), KeyServiceVendor::Aws(None)),
        (
            format!("{AWS}access-key = \"AKIA\"\nsecret-access-key = \"s3cr3t\""),
            KeyServiceVendor::Aws(Some(AwsAccessKey {
                access_key: secret("AKIA"),
                secret_access_key: secret("s3cr3t"),
            })),
        ),
        (
            format!("{AZURE}client-secret = \"s3cr3t\""),
            azure(AzureCredential::Secret(secret("s3cr3t"))),
        ),
        (
            format!(
                "{AZURE}client-secret = \"s\"\nclient-certificate-path = \"/p\"\nclient-certificate-password = \"s3cr3t\""
            ),
            azure(AzureCredential::CertificateFile {
                path: "/p".into(),
                password: Some(secret("s3cr3t")),
            }),
        ),
        (
            format!(
                "{AZURE}client-secret = \"s\"\nclient-certificate-path = \"/p\"\nclient-certificate = \"s3cr3t\""
            ),
            azure(AzureCredential::Certificate {
                base64: secret("s3cr3t"),
                password: None,
            }),
        ),
        (format!("vendor = \"gcp\"\n{GCP}"), gcp(false, None)),
        (
            format!("vendor = \"gcp_v2\"\n{GCP}credential-file-path = \"/g\""),
            gcp(true, Some("/g")),
        ),
    ];
    for (tables, vendor) in rows {
        let (key, warnings) = service(&tables);
        let name = vendor.name();
        let expected = KeyServiceConfig {
            key_id: "the-key".into(),
            region: None,
            endpoint: None,
            vendor,
        };
        assert_eq!(warnings, [""; 0], "{tables}");
        assert_eq!(
            key,
            ConfiguredMasterKey::KeyService(Box::new(expected)),
            "{tables}"
        );
        assert_eq!(key.to_string(), format!("kms {name}, key the-key"));
        let error = key.source().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(
            error.to_string().contains("this release can't reach"),
            "{error}"
        );
        let debug = format!("{key:?}");
        assert!(
            !debug.contains("s3cr3t") && !debug.contains("AKIA"),
            "{debug}"
        );
    }
    let (key, _) = service("region = \"eu\"\nendpoint = \"https://kms\"");
    let ConfiguredMasterKey::KeyService(service) = key else {
        panic!("{key:?}")
    };
    assert_eq!(
        (service.region, service.endpoint),
        (Some("eu".into()), Some("https://kms".into()))
    );
}

#[test]
fn what_is_missing_is_no_error_until_the_key_is_needed() {
    for (table, expected) in [
        (
            "type = \"file\"",
            "line 6: security.encryption.master-key: path missing; set it",
        ),
        (
            "type = \"kms\"",
            "line 6: security.encryption.master-key: key-id missing; set it",
        ),
        (
            "type = \"kms\"\nkey-id = \"k\"\nvendor = \"gcp\"",
            "line 6: security.encryption.master-key: gcp missing; set it",
        ),
        (
            "type = \"kms\"\nkey-id = \"k\"\nvendor = \"azure\"\nazure.tenant-id = \"t\"\nazure.client-id = \"c\"",
            "line 10: security.encryption.master-key.azure: keyvault-url, hsm-name, hsm-url, client-certificate, \
             client-certificate-path or client-secret missing; set it",
        ),
        (
            "type = \"kms\"\nkey-id = \"k\"\nvendor = \"AWS\"",
            "line 9: security.encryption.master-key.vendor: there is no such vendor; use \"aws\", \"azure\", \"gcp\" or \"gcp_v2\"",
        ),
    ] {
        let config = config(&format!("[security.encryption.master-key]\n{table}")).unwrap();
        let error = config.master_key.source().unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(config.master_key.to_string(), "incomplete");
    }
}

#[test]
fn errors_name_key_and_line_and_quote_nothing() {
    for (text, expected) in [
        (
            "master-key = \"s3cr3t\"",
            "line 6: security.encryption.master-key: this string isn't a table",
        ),
        (
            "data-encryption-method = \"s3cr3t\"",
            "line 6: security.encryption.data-encryption-method: this string isn't one of plaintext, aes128-ctr,",
        ),
        (
            "data-encryption-method = \"unknown\"",
            "this string isn't one of plaintext",
        ),
        (
            "\ndata-key-rotation-period = \"s3cr3t\"",
            "line 7: security.encryption.data-key-rotation-period: this string isn't a duration such as",
        ),
        (
            "data-key-rotation-period = 7",
            "this integer isn't a duration",
        ),
        (
            "enable-file-dictionary-log = \"s3cr3t\"",
            "this string isn't true or false",
        ),
        (
            "file-dictionary-rewrite-threshold = -1",
            "this integer isn't a whole number from 0 on",
        ),
        (
            "file-dictionary-rewrite-threshold = 1.5",
            "this float isn't a whole number from 0 on",
        ),
        (
            "[security.encryption.master-key]\npath = \"s3cr3t\"",
            "line 6: security.encryption.master-key.type: missing; set it to \"plaintext\", \"file\" or \"kms\"",
        ),
        (
            "[security.encryption.master-key]\ntype = \"s3cr3t\"",
            "line 7: security.encryption.master-key.type: this string isn't \"plaintext\", \"file\" or \"kms\"",
        ),
        (
            "[security.encryption.master-key]\ntype = \"kms\"\naws.access-key = [\"s3cr3t\"]",
            "line 8: security.encryption.master-key.aws.access-key: this array isn't a string",
        ),
        (
            "[stillkey]\nuntracked = \"s3cr3t\"",
            "line 7: stillkey.untracked: this string isn't \"refuse\" or \"plaintext\"",
        ),
        ("s3cr3t", "line 6 isn't TOML"),
        ("a = \"s3cr3t\na = 1", "line 6 isn't TOML"),
    ] {
        let error = config(text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        let message = error.to_string();
        assert!(message.contains(expected), "{message}");
        assert!(!message.contains("s3cr3t"), "{message}");
    }
}

#[test]
fn keys_that_mean_nothing_are_warned_of_with_what_was_probably_meant() {
    let config = config(
        "data_encryption_method = \"s3cr3t\"\nsomething-else = \"s3cr3t\"\n\"odd key\" = 1\ndata-key-rotation-period = \"0s\"\n\
         [security.encryption.master-key]\ntype = \"file\"\npaht = \"s3cr3t\"\nkey-id = \"s3cr3t\"\npath = \"/k\"\n\
         [security.encryption.previous-master-key]\ntype = \"kms\"\nkey-id = \"k\"\npath = \"s3cr3t\"\nazure.client-secret = \"s3cr3t\"\n\
         [security.encryption.previous-master-key.aws]\nsecret-acess-key = \"s3cr3t\"\naccess-key = \"s3cr3t\"\n\
         [stillkey]\nfile-name = \"s3cr3t\"\n\
         [security.encrpytion]\nx = 1\n[securty]\n",
    )
    .unwrap();
    let mut warnings = warnings(&config);
    warnings.sort_unstable_by_key(|warning| {
        let number = warning.strip_prefix("line ").unwrap().split(':').next();
        number.unwrap().parse::<u32>().unwrap()
    });
    assert_eq!(
        warnings,
        [
            "line 6: security.encryption.data_encryption_method: unknown key, ignored; did you mean 'data-encryption-method'?",
            "line 7: security.encryption.something-else: unknown key, ignored",
            "line 8: security.encryption.\"odd key\": unknown key, ignored",
            "line 9: security.encryption.data-key-rotation-period: no time at all: a new data key is made whenever one could be due",
            "line 12: security.encryption.master-key.paht: unknown key, ignored; did you mean 'path'?",
            "line 13: security.encryption.master-key.key-id: has no effect with type = \"file\"",
            "line 18: security.encryption.previous-master-key.path: has no effect with type = \"kms\"",
            "line 19: security.encryption.previous-master-key.azure: has no effect on vendor \"aws\"",
            "line 21: security.encryption.previous-master-key.aws.secret-acess-key: unknown key, ignored; did you mean 'secret-access-key'?",
            "line 22: security.encryption.previous-master-key.aws.access-key: has no effect without secret-access-key; the environment's credentials count",
            "line 24: stillkey.file-name: unknown key, ignored; did you mean 'file-names'?",
            "line 25: security.encrpytion: has no effect on encryption; did you mean 'encryption'?",
            "line 27: securty: has no effect on encryption; did you mean 'security'?",
        ]
    );
    assert!(!format!("{config:?}").contains("s3cr3t"));
}

#[test]
fn tiflashs_main_file_leads_to_that_of_its_proxy() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    let read = |name| TikvConfig::read(directory.path().join(name));
    write(
        "tiflash.toml",
        "tcp_port = 9000\n[storage.main]\ndir = [\"/ssd0\"]\n[flash.proxy]\nconfig = \"learner.toml\"\ndata-dir = \"/flash\"\n\
         [security.encryption]\ndata-encryption-method = \"aes128-ctr\"\n",
    );
    assert_eq!(
        read("tiflash.toml").unwrap_err().kind(),
        ErrorKind::NotFound
    );
    write(
        "learner.toml",
        "[storage]\ndata-dir = \"/overridden\"\n[security.encryption]\ndata-encryption-method = \"sm4-ctr\"\nx = 1\n",
    );
    let config = read("tiflash.toml").unwrap();
    assert_eq!(config.data_dir, Some("/flash".into()));
    assert_eq!(
        config.proxy_config,
        Some(directory.path().join("learner.toml"))
    );
    assert_eq!(config.data_encryption_method, Method::Sm4Ctr);
    assert_eq!(
        warnings(&config),
        [
            format!(
                "{}: line 7: security.encryption: has no effect in TiFlash's main file; put it in the file that flash.proxy.config names",
                directory.path().join("tiflash.toml").display()
            ),
            format!(
                "{}: line 5: security.encryption.x: unknown key, ignored",
                directory.path().join("learner.toml").display()
            ),
        ]
    );
    let alone = read("learner.toml").unwrap();
    assert_eq!(
        (alone.data_dir, alone.proxy_config),
        (Some("/overridden".into()), None)
    );
    write("learner.toml", "[security]\nencryption = 1");
    let message = read("tiflash.toml").unwrap_err().to_string();
    let place = directory
        .path()
        .join("learner.toml: line 2: security.encryption");
    assert!(message.starts_with(place.to_str().unwrap()), "{message}");
}

#[test]
fn a_start_by_configuration_falls_back_to_the_previous_master_key() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name| directory.path().join(name);
    let start = |master: &str, previous: &str| {
        let text = format!(
            "[storage]\ndata-dir = '{}'\n[security.encryption]\ndata-encryption-method = 'aes256-ctr'\n\
             enable-file-dictionary-log = false\n[security.encryption.master-key]\n{master}\n{previous}",
            path("data").display()
        );
        TikvConfig::parse(&text)
            .unwrap()
            .startup()?
            .start(1_700_000_000)
    };
    let key = |name| {
        crate::create_master_key_file(path(name)).unwrap();
        format!("type = 'file'\npath = '{}'", path(name).display())
    };
    let (old, new) = (key("old"), key("new"));
    let none = start("type = 'plaintext'", "").unwrap_err();
    assert_eq!(none.kind(), ErrorKind::Usage);
    let first = start(&old, "").unwrap().unwrap();
    assert_eq!(first.entries.version(), Version::V1);
    drop(first);
    let error = start(&new, "").unwrap_err();
    assert!(
        error.to_string().contains("previous (plaintext)"),
        "{error}"
    );
    let previous = format!("[security.encryption.previous-master-key]\n{old}");
    assert!(start(&new, &previous).unwrap().unwrap().fell_back);
    let gone = "[security.encryption.previous-master-key]\ntype = 'file'\npath = '/gone'";
    assert!(!start(&new, gone).unwrap().unwrap().fell_back);
    let nowhere = TikvConfig::default().startup().unwrap_err();
    assert!(
        nowhere.to_string().contains("storage.data-dir"),
        "{nowhere}"
    );
}

/// Lines of a configuration up to a value, table headers among them.
const KEYS: [&str; 16] = [
    "[security.encryption.master-key]\nunknown = ",
    "[security.encryption.previous-master-key]\nunknown = ",
    "[security.encryption.master-key.aws]\nunknown = ",
    "[security.encryption.master-key.azure]\nunknown = ",
    "[stillkey]\nuntracked = ",
    "type = \"kms\"\nvendor = \"azure\"\nunknown = ",
    "type = \"kms\"\nclient-certificate = ",
    "data-encryption-method = ",
    "data-key-rotation-period = ",
    "file-dictionary-rewrite-threshold = ",
    "enable-file-dictionary-log = ",
    "master-key = ",
    "client-certificate-password = ",
    "client-secret = ",
    "access-key = ",
    "secret-access-key = ",
];
const VALUES: [&str; 7] = [
    "\"s3cr3t\"",
    "'''\ns3cr3t\n'''",
    "[\"s3cr3t\", 1]",
    "{ type = \"kms\", aws = { access-key = \"s3cr3t\" } }",
    "0x7fffffffffffffff",
    "1979-05-27",
    "\"s3\\u0063r3t",
];

proptest! {
    #![proptest_config(crate::testing::cases(300))]

    #[test]
    fn no_text_makes_reading_panic_and_no_value_is_shown(
        keys in prop::collection::vec((0..KEYS.len(), 0..VALUES.len()), 0..12),
        cut in 0..2000usize,
    ) {
        let mut text = String::from("[security.encryption]\n");
        for (key, value) in keys {
            text += &format!("{}{}\n", KEYS[key], VALUES[value]);
        }
        text.truncate(cut);
        let shown = match TikvConfig::parse(&text) {
            Ok(config) => format!("{config:?} {:?} {:?}", config.master_key.source(), config.startup()),
            Err(error) => error.to_string(),
        };
        prop_assert!(!shown.contains("s3cr3t"), "{text}: {shown}");
    }

    #[test]
    fn no_duration_makes_reading_panic(text in "[0-9dhmsun.e +-]{0,12}") {
        let _ = duration::parse(&text);
    }
}
