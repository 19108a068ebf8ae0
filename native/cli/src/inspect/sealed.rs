//! A sealed object: what its header says. The header's checksum has been verified; its authenticity needs a master key.

use std::path::Path;

use serde_json::json;
use stillkey::Error;
use stillkey::core::sealed::Header;

use super::{Findings, Json};
use crate::failure::{Outcome, io};
use crate::text::base64;

/// What the format calls a master key that no key service has.
const RAW_PROVIDER: u8 = 1;

pub(super) fn inspect(path: &Path, bytes: &[u8], findings: &mut Findings) -> Outcome {
    let header = Header::parse(bytes).map_err(|source| Error::Data {
        path: path.to_owned(),
        source,
    })?;
    let header_len = header.as_bytes().len();
    let len = path.metadata().map_err(io(path, "read the size of"))?.len();
    let body_len = len.saturating_sub(header_len as u64);
    let (form, integrity) = match header.chunk_size() {
        Some(size) => (format!("chunks of {size} bytes"), "authenticated"),
        None => ("a stream".into(), "not authenticated"),
    };
    let mut human = format!(
        "{}: sealed object, version 1, {}, {form} ({integrity}), header {header_len} bytes, body {body_len} bytes",
        path.display(),
        header.suite(),
    );
    let recipients: Vec<_> = header
        .recipients()
        .iter()
        .map(|recipient| {
            human += &format!("\n  opened by {}", recipient.describe());
            let wrapped = base64(&recipient.wrapped.blob);
            if recipient.provider != RAW_PROVIDER {
                human += &format!("\n    wrapped key in Base64: {wrapped}");
            }
            json!({
                "provider": recipient.provider,
                "reference": recipient.wrapped.reference,
                "version": recipient.wrapped.version,
                "wrapped_key": wrapped,
            })
        })
        .collect();
    let json = json!({
        "version": 1,
        "method": header.suite().name(),
        "body": if header.chunk_size().is_some() { "chunked" } else { "stream" },
        "chunk_size": header.chunk_size(),
        "iv": header.iv().to_string(),
        "recipients": recipients,
        "header_len": header_len,
        "body_len": body_len,
    });
    findings.add("sealed", Json::Tree(json), human);
    Ok(())
}
