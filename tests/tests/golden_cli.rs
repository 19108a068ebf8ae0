//! The command on directories and vectors that TiKV's own code wrote: it shows and decrypts exactly what the manifest says.

use serde::Deserialize;
use serde_json::{Value, json};
use stillkey_tests::cli::Sandbox;
use stillkey_tests::golden::{self, Case, Manifest};
use stillkey_tests::{hex, json, sha256, vector, vector_path};

/// `--master-key` for a case: what opens it, written to a file that only its owner can read.
fn master_key(sandbox: &Sandbox, case: &Case) -> String {
    match case.master_key_digits() {
        None => "plaintext".into(),
        Some(digits) => {
            sandbox.write("master.key", format!("{digits}\n"));
            sandbox.shell("chmod 600 master.key").expect_status(0);
            "file:master.key".into()
        }
    }
}

#[test]
fn inspect_shows_what_the_manifest_says() {
    let manifest: Value = json("tikv/manifest.json");
    let cases = Manifest::load().cases;
    assert!(cases.len() >= 14);
    for (case, raw) in cases.iter().zip(manifest["cases"].as_array().unwrap()) {
        let sandbox = Sandbox::new();
        let key = master_key(&sandbox, case);
        let shown = sandbox.run(["inspect", "--json", "--master-key", &key, &case.path("")]);
        let file_dict = &raw["file_dict"]["ok"];
        assert!(file_dict.is_object(), "{}", case.case);
        shown.expect_status(0);
        let shown = shown.json();
        assert_eq!(shown["file_dict"]["files"], *file_dict, "{}", case.case);
        assert_eq!(shown["file_dict"]["version"], case.file_dict_version());
        assert_eq!(shown["file_dict"]["log"]["verdict"], "complete");

        let mut keys = raw["key_dict"].clone();
        for key in keys["keys"].as_object_mut().unwrap().values_mut() {
            key.as_object_mut().unwrap().remove("key").unwrap();
        }
        assert_eq!(shown["key_dict"]["keys"], keys["keys"], "{}", case.case);
        assert_eq!(shown["key_dict"]["current_key_id"], keys["current_key_id"]);

        let closed = sandbox.run(["inspect", "--json", &case.path("")]);
        closed.expect_status(0);
        let closed = closed.json();
        assert_eq!(closed["file_dict"], shown["file_dict"]);
        // What is sealed with nothing needs no key.
        let is_plaintext = closed["key_dict"]["sealing"]["method"] == "plaintext";
        let expected = match is_plaintext {
            true => shown["key_dict"].clone(),
            false => json!({ "sealing": shown["key_dict"]["sealing"] }),
        };
        assert_eq!(closed["key_dict"], expected, "{}", case.case);
    }
}

#[test]
fn decrypt_file_and_store_cat_give_every_plaintext_with_a_key_and_with_tikvs_configuration() {
    let mut decrypted = 0;
    for case in Manifest::load().cases {
        let sandbox = Sandbox::new();
        let key = master_key(&sandbox, &case);
        let master_key_table = match key.strip_prefix("file:") {
            Some(file) => format!("type = \"file\"\npath = {:?}\n", sandbox.path(file)),
            None => "type = \"plaintext\"\n".into(),
        };
        let config = format!(
            "[storage]\ndata-dir = {:?}\n[security.encryption.master-key]\n{master_key_table}",
            case.path("")
        );
        sandbox.write("tikv.toml", config);
        for file in &case.files {
            let (name, stored) = (file.logical.as_str(), case.path(&file.stored));
            let run = |more: &[&str]| {
                let words = ["decrypt-file", "--name", name, "--in", &stored];
                let ran = sandbox.run([&words, more].concat());
                ran.expect_status(0);
                assert_eq!(ran.stderr, "");
                ran.stdout
            };
            let directory = case.path("");
            let with_key = ["--dict-dir", &directory, "--master-key", &key];
            let whole = run(&with_key);
            assert_eq!(whole.len(), file.size, "{name}");
            assert_eq!(sha256(&whole), file.plain_sha256, "{name}");
            assert!(run(&["--config", "tikv.toml"]) == whole, "{name}");
            let place = format!("{name}={stored}");
            let cat =
                sandbox.run([&["store", "cat", name, "--map", &place], &with_key[..]].concat());
            cat.expect_status(0);
            assert!(cat.stdout == whole, "{name}");
            let (offset, length) = (file.size / 3, file.size / 2 + 1);
            let part = run(&[
                &with_key[..],
                &[
                    "--offset",
                    &offset.to_string(),
                    "--length",
                    &length.to_string(),
                ],
            ]
            .concat());
            assert!(
                part == whole[offset..file.size.min(offset + length)],
                "{name}"
            );
            decrypted += 1;
        }
    }
    assert!(decrypted >= 40, "{decrypted}");
}

#[derive(Deserialize)]
struct FileDictVector {
    name: String,
    file: String,
    tikv: golden::Verdict,
}

/// Name, verdict of the log, and exit status; `None` where not even the header can be read.
const VERDICTS: [(&str, Option<&str>, i32); 18] = [
    ("empty-v2", Some("complete"), 0),
    ("v2-full", Some("complete"), 0),
    ("torn-hdr1", Some("torn-tail"), 0),
    ("torn-name", Some("torn-tail"), 0),
    ("tail-crc-bad", Some("torn-tail"), 0),
    ("middle-crc-bad", Some("corrupt"), 4),
    ("middle-namelen-huge", Some("corrupt"), 4),
    ("tail-type-unknown", Some("corrupt"), 4),
    ("type-remove-to-insert", Some("corrupt"), 4),
    ("insert-twice", Some("complete"), 0),
    ("trailing-zeros-8", Some("torn-tail"), 0),
    ("trailing-zeros-4096", Some("corrupt"), 4),
    ("reserved-nonzero", Some("complete"), 0),
    ("version-3", None, 4),
    ("version-2-on-v1", None, 4),
    ("v1-short", None, 4),
    ("zero-bytes", None, 4),
    ("size-huge", None, 4),
];

#[test]
fn inspect_gives_each_file_dictionary_its_verdict() {
    let sandbox = Sandbox::new();
    let vectors: Vec<FileDictVector> = json("tikv/file-dict-vectors.json");
    let names: Vec<_> = vectors.iter().map(|vector| vector.name.as_str()).collect();
    assert_eq!(names, VERDICTS.map(|(name, ..)| name));
    for (vector, (name, verdict, status)) in vectors.iter().zip(VERDICTS) {
        let path = vector_path(&format!("tikv/{}", vector.file));
        let shown = sandbox.run(["inspect".as_ref(), "--json".as_ref(), path.as_os_str()]);
        shown.expect_status(status);
        let shown = shown.json();
        assert_eq!(
            shown["file_dict"]["log"]["verdict"].as_str(),
            verdict,
            "{name}"
        );
        assert_eq!(shown["error"].is_object(), verdict.is_none(), "{name}");
        if let (golden::Verdict::Ok(expected), 0) = (&vector.tikv, status) {
            let files: golden::Entries =
                serde_json::from_value(shown["file_dict"]["files"].clone()).unwrap();
            assert_eq!(files, *expected, "{name}");
        }
    }
}

#[derive(Deserialize)]
struct Tiflash {
    vectors: Vec<TiflashVector>,
}

#[derive(Deserialize)]
struct TiflashVector {
    method: String,
    key: String,
    file_info_iv: String,
    file_name: String,
    segments: Vec<Segment>,
}

#[derive(Deserialize)]
struct Segment {
    offset: usize,
    cipher_of_plain_stream_first_100: String,
}

/// The vectors bring their own data keys, so dictionaries are made around them.
#[test]
fn tiflash_files_are_decrypted_by_their_name_within_the_group() {
    use stillkey_core::{
        FileDictionary, FileInfo, Iv, KeyDictionary, KeyEntry, MasterKey, Method, SecretBytes,
        Version,
    };
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("d")).unwrap();
    let tiflash: Tiflash = json("tikv/tiflash-iv-vectors.json");
    assert!(tiflash.vectors.len() >= 12);
    let plain = vector("tikv/plain/5000.bin");
    for vector in tiflash.vectors {
        let method: Method = vector.method.parse().unwrap();
        let mut keys = KeyDictionary::new();
        keys.insert(
            7,
            KeyEntry::new(SecretBytes::new(hex::decode(&vector.key)), method, 1),
        );
        let sealed = keys
            .seal(&MasterKey::Plaintext, &mut stillkey_tests::random::SysRng)
            .unwrap();
        sandbox.write("d/key.dict", sealed);
        let mut files = FileDictionary::new();
        let iv = Iv::new(hex::array(&vector.file_info_iv));
        files.insert("group", FileInfo::encrypted(7, iv, method));
        sandbox.write("d/file.dict", files.to_bytes(Version::V2));
        for segment in vector.segments {
            let cipher = hex::decode(&segment.cipher_of_plain_stream_first_100);
            let mut page = vec![0; segment.offset];
            page.extend(&cipher);
            sandbox.write("page", &page);
            let offset = segment.offset.to_string();
            let ran = sandbox.run([
                "decrypt-file",
                "-d",
                "d",
                "-k",
                "plaintext",
                "--name",
                "group",
                "--in",
                "page",
                "--tiflash-file-name",
                &vector.file_name,
                "--offset",
                &offset,
            ]);
            ran.expect_status(0);
            assert!(
                ran.stdout == plain[..100],
                "{} {:?}",
                vector.method,
                vector.file_name
            );
        }
    }
}
