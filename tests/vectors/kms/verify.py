#!/usr/bin/env python3
"""A second implementation of the KMS's formats: it makes every vector of this directory again, and
opens what releases have written (state-*.json). It shares no code with the crate, and is written
from the same specification.

usage: verify.py [DIRECTORY]      needs Python 3.9 and `cryptography` (tried with 38 and 50)

Prints what it checked. Ends with 1 at the first difference.
"""

import base64
import json
import pathlib
import sys
import uuid

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

HEADER = 72
ALGORITHMS = {"RSAES_OAEP_SHA_1": 1, "RSAES_OAEP_SHA_256": 2, "RSAES_PKCS1_V1_5": 3}


class Refused(Exception):
    """A text that is no encryption context, or a blob that isn't authentic."""


def be32(number):
    return number.to_bytes(4, "big")


def hkdf(secret, salt, info):
    return HKDF(hashes.SHA256(), 32, salt, info).derive(secret)


def mac(key, *parts):
    code = hmac.HMAC(key, hashes.SHA256())
    for part in parts:
        code.update(part)
    return code.finalize()


# Encryption contexts


def context_of(text):
    """The pairs of a context in JSON."""
    if len(text) > 8192:
        raise Refused("more than 8192 characters")
    if text == "":
        return {}

    def unique(pairs):
        if len(dict(pairs)) != len(pairs):
            raise Refused("a name twice")
        return dict(pairs)

    try:
        pairs = json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise Refused(str(error)) from error
    if not isinstance(pairs, dict):
        raise Refused("not an object")
    for name, value in pairs.items():
        if not isinstance(value, str):
            raise Refused("a value that is no string")
        try:
            (name + value).encode()
        except UnicodeEncodeError as error:
            raise Refused("a lone surrogate") from error
    return pairs


def canonical(pairs):
    strings = [(name.encode(), value.encode()) for name, value in pairs.items()]
    result = be32(len(strings))
    for string in [string for pair in sorted(strings) for string in pair]:
        result += be32(len(string)) + string
    return result


# Ciphertext blobs


def message_key(suite, material, header):
    if suite == 3:
        return material
    return hkdf(material, header[40:56], b"lkms/v1/msg-key" + header[8:40])


def seal(suite, material, key, version, salt, nonce, context, plaintext):
    header = bytes([0x9A]) + b"LKM" + bytes([1, suite, 0, 0])
    header += key.bytes + version.bytes + salt + nonce + be32(len(plaintext))
    assert len(header) == HEADER
    aad = b"lkms/v1/aad" + header + canonical(context)
    return header + AESGCM(message_key(suite, material, header)).encrypt(nonce, plaintext, aad)


def open_blob(material, blob, context):
    header, sealed = blob[:HEADER], blob[HEADER:]
    if header[:5] != b"\x9aLKM\x01" or header[6:8] != bytes(2):
        raise Refused("no blob")
    if int.from_bytes(header[68:72], "big") != len(sealed) - 16:
        raise Refused("another length")
    aad = b"lkms/v1/aad" + header + canonical(context)
    key = message_key(header[5], material, header)
    try:
        return AESGCM(key).decrypt(header[56:68], sealed, aad)
    except InvalidTag as error:
        raise Refused("not authentic") from error


# Import and audit


def import_token(store_key, token_id, key, algorithm, expires):
    code = mac(
        store_key,
        b"stillkey/kms/v1/import-token",
        token_id,
        key.bytes,
        bytes([ALGORITHMS[algorithm]]),
        expires.to_bytes(8, "big"),
    )
    return token_id + code


def fingerprint(store_key, key, material):
    return mac(store_key, b"stillkey/kms/v1/material", key.bytes, material)


def chain_key(store_key):
    return hkdf(store_key, None, b"stillkey/kms/v1/audit-key")


def line_mac(key, before, line):
    line = line.encode()
    return mac(key, b"stillkey/kms/v1/audit", before, be32(len(line)), line)


def chain(store_key, instance, bodies):
    """The lines of a chain from its beginning, and the code of the last."""
    key, before, lines = chain_key(store_key), bytes(32), []
    for number, body in enumerate(bodies, 1):
        front = {"seq": number, "instance": instance, "prev": before.hex()}
        line = json.dumps({**front, **body}, separators=(",", ":"), ensure_ascii=False)
        before = line_mac(key, before, line)
        lines.append(f'{line[:-1]},"mac":"{before.hex()}"}}')
    return lines, before


def check_chain(store_key, lines):
    key, before = chain_key(store_key), bytes(32)
    for number, line in enumerate(lines, 1):
        record = json.loads(line)
        same(f"number of line {number}", record["seq"], number)
        same(f"prev of line {number}", record["prev"], before.hex())
        front, code = line.rsplit(',"mac":"', 1)
        before = line_mac(key, before, front + "}")
        same(f"code of line {number}", code, before.hex() + '"}')
    return before


# Snapshots


def fields(message):
    """The fields of a protobuf message: lists of numbers and byte strings, by number."""
    found, at = {}, 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        tag = varint()
        if tag & 7 == 0:
            value = varint()
        elif tag & 7 == 2:
            length = varint()
            value = message[at : at + length]
            if len(value) != length:
                raise ValueError("a message that is cut off")
            at += length
        else:
            raise ValueError(f"wire type {tag & 7}")
        found.setdefault(tag >> 3, []).append(value)
    return found


def unseal(keeper_key, key, version, sealed):
    return AESGCM(keeper_key).decrypt(sealed[:12], sealed[12:], key.bytes + version.bytes)


def materials(keeper_key, state):
    """The material of every version, by key and version."""
    result = {}
    for key in map(fields, state[6]):
        key_id = uuid.UUID(bytes=key[1][0])
        for version in map(fields, key.get(8, [])):
            version_id = uuid.UUID(bytes=version[1][0])
            if 3 in version:
                material = unseal(keeper_key, key_id, version_id, version[3][0])
                result[key_id, version_id] = material
    return result


# The checks

checked = {}


def same(what, found, expected):
    if found != expected:
        sys.exit(f"{what}: found {found!r}, expected {expected!r}")
    kind = what.split(" ")[0]
    checked[kind] = checked.get(kind, 0) + 1


def refused(what, action):
    try:
        action()
    except Refused:
        same(what, "refused", "refused")
    else:
        sys.exit(f"{what}: accepted, expected a refusal")


def check_contexts(vectors):
    def text(case):
        return case["json"] if "json" in case else "".join(p * n for p, n in case["pieces"])

    for case in vectors["valid"]:
        pairs = context_of(text(case))
        if "pairs" in case:
            same(f"context pairs: {case['name']}", pairs, case["pairs"])
        if "canonical" in case:
            same(f"context bytes: {case['name']}", canonical(pairs).hex(), case["canonical"])
    for group in vectors["equal"]:
        forms = {canonical(context_of(text)) for text in group}
        same(f"context equality: {group[0]}", len(forms), 1)
    distinct = {canonical(context_of(text)) for text in vectors["distinct"]}
    same("context distinctness", len(distinct), len(vectors["distinct"]))
    for case in vectors["invalid"]:
        refused(f"context refusal: {case['name']}", lambda: context_of(text(case)))


def check_blobs(vectors):
    for case in vectors:
        name, blob = case["name"], bytes.fromhex(case["blob"])
        material = bytes.fromhex(case["material"])
        plaintext = bytes.fromhex(case["plaintext"])
        made = seal(
            case["suite"],
            material,
            uuid.UUID(case["key"]),
            uuid.UUID(case["version"]),
            bytes.fromhex(case["salt"]),
            bytes.fromhex(case["nonce"]),
            case["context"],
            plaintext,
        )
        same(f"blob made: {name}", made.hex(), blob.hex())
        same(f"blob opened: {name}", open_blob(material, blob, case["context"]), plaintext)
        other = {**case["context"], "another": ""}
        refused(f"blob with another context: {name}", lambda: open_blob(material, blob, other))


def check_imports(vectors):
    for case in vectors["tokens"]:
        token = import_token(
            bytes.fromhex(case["store_key"]),
            bytes.fromhex(case["id"]),
            uuid.UUID(case["key"]),
            case["algorithm"],
            case["expires"],
        )
        same(f"token: {case['name']}", base64.b64encode(token).decode(), case["token"])
    for case in vectors["fingerprints"]:
        found = fingerprint(
            bytes.fromhex(case["store_key"]),
            uuid.UUID(case["key"]),
            bytes.fromhex(case["material"]),
        )
        same(f"fingerprint: {case['name']}", found.hex(), case["fingerprint"])


def check_audit(vectors):
    for case in vectors["lines"]:
        found = line_mac(
            bytes.fromhex(case["chain_key"]), bytes.fromhex(case["before"]), case["line"]
        )
        same(f"line: {case['name']}", found.hex(), case["mac"])
    for case in vectors["chains"]:
        store_key = bytes.fromhex(case["store_key"])
        same(f"chain key: {case['name']}", chain_key(store_key).hex(), case["chain_key"])
        lines, last = chain(store_key, case["instance"], case["bodies"])
        same(f"chain lines: {case['name']}", lines, case["lines"])
        same(f"chain end: {case['name']}", check_chain(store_key, lines), last)


def check_release(directory, written):
    keeper_key = bytes.fromhex(written["keeper_key"])
    store_key = bytes.fromhex(written["store_key"])
    state = fields((directory / written["state"]).read_bytes())
    same("state key", state[3][0].hex(), store_key.hex())
    same("state region", state[1][0].decode(), written["region"])
    same("state account", state[2][0].decode(), written["account"])
    material = materials(keeper_key, state)
    ids = sorted(str(uuid.UUID(bytes=fields(key)[1][0])) for key in state[6])
    same("state keys", ids, sorted(key["id"] for key in written["keys"]))
    external = written["import"]
    for case in written["blobs"]:
        name, blob = case["name"], bytes.fromhex(case["blob"])
        key, version = uuid.UUID(bytes=blob[8:24]), uuid.UUID(bytes=blob[24:40])
        known = material.get((key, version))
        if known is None:
            # Erased since, and the same as what is to be imported.
            same(f"release blob's key: {name}", str(key), external["key"])
            known = bytes.fromhex(external["material"])
        plaintext = open_blob(known, blob, case["context"])
        same(f"release blob: {name}", plaintext.hex(), case["plaintext"])
    check_release_import(keeper_key, store_key, state, external)
    lines = (directory / written["audit"]).read_text(encoding="utf-8").splitlines()
    end = written["audit_end"]
    same("release audit: lines", len(lines), end["seq"])
    same("release audit: end", check_chain(store_key, lines).hex(), end["mac"])


def check_release_import(keeper_key, store_key, state, external):
    """The token is one of the state's, and its private key decrypts the material."""
    key_id = uuid.UUID(external["key"])
    token, material = bytes.fromhex(external["token"]), bytes.fromhex(external["material"])
    key = next(key for key in map(fields, state[6]) if key[1][0] == key_id.bytes)
    same("release fingerprint", fingerprint(store_key, key_id, material).hex(), key[12][0].hex())
    kept = next(kept for kept in map(fields, key[15]) if kept[1][0] == token[:16])
    algorithm = next(name for name, number in ALGORITHMS.items() if number == kept[4][0])
    made = import_token(store_key, token[:16], key_id, algorithm, kept[2][0])
    same("release token", made.hex(), token.hex())
    private = unseal(keeper_key, key_id, uuid.UUID(bytes=token[:16]), kept[3][0])
    private = serialization.load_der_private_key(private, password=None)
    sha256 = hashes.SHA256()
    oaep = padding.OAEP(mgf=padding.MGF1(sha256), algorithm=sha256, label=None)
    found = private.decrypt(bytes.fromhex(external["wrapped"]), oaep)
    same("release import", found.hex(), material.hex())


def main():
    directory = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else __file__)
    directory = directory if directory.is_dir() else directory.parent

    def vectors(name):
        return json.loads((directory / name).read_text(encoding="utf-8"))

    check_contexts(vectors("context.json"))
    check_blobs(vectors("blob.json"))
    check_imports(vectors("import.json"))
    check_audit(vectors("audit.json"))
    releases = sorted(directory.glob("state-*.json"))
    if not releases:
        sys.exit("no state-*.json: nothing that a release has written")
    for release in releases:
        check_release(directory, vectors(release.name))
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(checked.items()))
    print(f"kms vectors: {sum(checked.values())} checks, no difference ({counts})")


if __name__ == "__main__":
    try:
        main()
    except Refused as refusal:
        sys.exit(f"refused: {refusal}")
