#!/usr/bin/env python3
"""Makes v1.json, v1-cases.json and the .sealed files of this folder with reference.py. They are frozen: this is how they came about."""
import hashlib, json, pathlib, struct, zlib
import reference as r

HERE = pathlib.Path(__file__).resolve().parent
RULE = "byte i is (7 * i + i / 251) mod 256, division rounding down"
KEYS = [bytes(range(32)), bytes(range(0x80, 0xA0)), b"\x2a" * 32]
CONTEXTS = [{}, {"tenant": "7", "purpose": "backup", "Ünïcode": ""}]
LENGTHS = [(12, n) for n in (0, 1, 17, 4096, 4097, 10000)] + [(16, 70000)]
STORED = {"aes256-gcm-12-8192", "aes256-gcm-12-10000", "sm4-gcm-12-10000"}


def plaintext(length):
    return bytes((7 * i + i // 251) % 256 for i in range(length))


def counter():
    """Random bytes that count up: 0, 1, 2, …"""
    at = 0

    def draw(n):
        nonlocal at
        at += n
        return bytes(b % 256 for b in range(at - n, at))

    return draw


def vector(suite, exponent, length, keys, context):
    obj = r.write(plaintext(length), suite, exponent, keys, context, counter())
    for key in keys:
        assert r.read(obj, [key], context) == plaintext(length)
    name = f"{suite}-{exponent}-{length}"
    out = {
        "name": name,
        "suite": suite,
        "chunk_exponent": exponent,
        "master_keys": [key.hex() for key in keys],
        "context": context,
        "plaintext": {"rule": RULE, "length": length},
        "sha256": hashlib.sha256(obj).hexdigest(),
    }
    if length < 100:
        out["object"] = obj.hex()
    elif name in STORED:
        out["file"] = f"{name}.sealed"
        (HERE / out["file"]).write_bytes(obj)
    return out, obj


def vectors():
    out, objects = [], {}
    lengths = LENGTHS + [(12, 8192)]
    for s, suite in enumerate(r.NUMBERS):
        for n, (exponent, length) in enumerate(lengths):
            if length == 8192 and suite != "aes256-gcm":
                continue
            v, obj = vector(suite, exponent, length, KEYS[: 1 + (s + n) % 2], CONTEXTS[(s + n) // 2 % 2])
            out.append(v)
            objects[v["name"]] = obj
    return out, objects


# Objects that a reader must refuse, and three that it must open although it can't make them.

IV, SALT, DATA_KEY, KEK, WRAP_SALT, NONCE = bytes(range(16)), b"\x51" * 32, b"\x52" * 32, b"\x53" * 32, b"\x54" * 32, b"\x55" * 12
CONTEXT = {"tenant": "7"}
TEXT = b"sixteen bytes.\r\n"
KEY, OTHER = KEYS[:2]


def forged(suite="aes256-gcm", exponent=12, flags=0, reserved=0, recipients=None, count=1, commitment=None, body=None):
    """An object in which everything fits but what the arguments say."""
    preamble = r.make_preamble(suite, exponent, IV, SALT, CONTEXT, flags, reserved)
    made = recipients(preamble) if recipients else recipient(preamble)
    _, algorithm, key_length, chunked = r.SUITES.get(r.NUMBERS.get(suite), r.SUITES[0x14])
    body_key = r.derive(DATA_KEY, preamble, b"body", key_length)
    make = body or (lambda key: (r.make_chunks if chunked else r.stream)(algorithm, key, IV, TEXT, exponent))
    commitment = commitment and commitment(preamble)
    return r.make_header(preamble, made, DATA_KEY, count, commitment) + make(body_key)


def recipient(preamble, key=KEY, data_key=DATA_KEY):
    return r.make_recipient(preamble, key, CONTEXT, data_key, KEK, WRAP_SALT, NONCE)


def unknown_provider(preamble, provider=250):
    return bytes([provider]) + struct.pack(">H3sHH2s", 3, b"xyz", 0, 2, b"??") + bytes(60)


def flipped(obj, at, checksum=False, bit=1):
    obj = bytearray(obj)
    obj[at] ^= bit
    if checksum:
        end = 100 + int.from_bytes(obj[96:100]) + 32
        obj[end : end + 4] = struct.pack(">I", zlib.crc32(obj[:end]))
    return bytes(obj)


def empty_last(key):
    return b"".join(
        r.gcm_seal(r.AES, key, r.chunk_nonce(IV, i, last), b"", text) for i, last, text in ((0, 0, bytes(4096)), (1, 1, b""))
    )


def small_cases():
    good = forged()
    end = 168 + int.from_bytes(good[96:100])
    damaged, cut = "damaged", "damaged: cut off"
    small = [  # name, what, object, verdict, master keys, context
        ("good", "the object that the others start from", good, "opens"),
        ("unknown-provider-first", "a recipient of provider 250, then the master key", forged(recipients=lambda p: unknown_provider(p) + recipient(p), count=2), "opens"),
        ("damaged-recipient-first", "two recipients of one master key: the first one's wrapped KEK is damaged, the second is good", forged(recipients=lambda p: flipped(recipient(p), 40) + recipient(p), count=2), "opens"),
        ("wrong-key", "another master key", good, "wrong master key", [OTHER]),
        ("unknown-provider-alone", "the only recipient is of provider 250", forged(recipients=unknown_provider), "wrong master key"),
        ("wrong-context", "another value", good, "wrong context", [KEY], {"tenant": "8"}),
        ("no-context", "no context", good, "wrong context", [KEY], {}),
        ("wrong-key-and-context", "the context is looked at first", good, "wrong context", [OTHER], {}),
        ("context-digest-changed", "one bit of the digest, checksum made right again", flipped(good, 64, True), "wrong context"),
        ("not-sealed", "text mode: the magic's line feeds became CR LF", good.replace(b"\n", b"\r\n", 1), "not a sealed object"),
        ("empty", "no byte at all", b"", damaged),
        ("magic-alone", "the first 8 bytes", good[:8], damaged),
        ("header-cut", "the header less its last byte", good[: end - 1], damaged),
        ("header-damaged", "one bit of the salt", flipped(good, 40), damaged),
        ("iv-changed", "one bit of the IV, checksum made right again", flipped(good, 20, True), damaged),
        ("suite-damaged", "an unknown suite by damage: the checksum is looked at first", flipped(good, 9, False, 0x80), damaged),
        ("newer-version", "version 2; nothing behind it counts", good[:8] + b"\x02" + good[9:40], "unsupported"),
        ("unknown-suite", "suite 0x16, everything else fits", forged(suite=0x16), "unsupported"),
        ("flags-set", "flag 1, everything else fits", forged(flags=1), "unsupported"),
        ("reserved-set", "reserved bytes 00 00 00 01, everything else fits", forged(reserved=1), damaged),
        ("chunks-too-small", "chunk exponent 11, everything else fits", forged(exponent=11), damaged),
        ("chunks-too-large", "chunk exponent 25, everything else fits", forged(exponent=25), damaged),
        ("stream-with-chunks", "aes256-ctr with chunk exponent 12, everything else fits", forged(suite="aes256-ctr"), damaged),
        ("no-recipients", "0 recipients", forged(recipients=lambda p: b"", count=0), damaged),
        ("too-many-recipients", "65 recipients, the first of them good", forged(recipients=lambda p: recipient(p) + 64 * unknown_provider(p), count=65), damaged),
        ("recipients-cut", "2 recipients announced, 1 there", forged(count=2), damaged),
        ("recipients-followed", "a byte behind the only recipient", forged(recipients=lambda p: recipient(p) + b"\0"), damaged),
        ("recipients-too-long", "their length is 2^20 + 1", good[:96] + b"\x00\x10\x00\x01" + good[100:], damaged),
        ("reference-not-utf8", "the reference of an unknown provider is FF 79 7A", forged(recipients=lambda p: unknown_provider(p).replace(b"xyz", b"\xffyz") + recipient(p), count=2), damaged),
        ("wrapped-kek-changed", "one bit of it, checksum made right again", flipped(good, 102 + 40, True), damaged),
        ("sealed-data-key-changed", "one bit of it, checksum made right again", flipped(good, 102 + 110, True), damaged),
        ("commitment-to-another-key", "the commitment of another data key, everything else fits", forged(commitment=lambda p: r.derive(b"\x56" * 32, p, b"commitment", 32)), damaged),
        ("recipient-of-another-data-key", "the second recipient's data key isn't the first one's: no two recipients may get two plaintexts", forged(recipients=lambda p: recipient(p) + recipient(p, OTHER, b"\x56" * 32), count=2), damaged, [OTHER]),
        ("mac-changed", "one bit of the authentication code", flipped(good, end - 1), damaged),
        ("body-missing", "the header alone", good[:end], cut),
        ("chunk-changed", "one bit of the ciphertext", flipped(good, len(good) - 20), damaged),
        ("tag-changed", "one bit of the tag", flipped(good, len(good) - 1), damaged),
        ("chunk-shorter-than-its-tag", "15 bytes of body", good[:-17], cut),
        ("empty-last-chunk", "a whole chunk, then an empty last chunk, sealed by one who has the data key", forged(body=empty_last), cut),
    ]
    for name, what, obj, verdict, *given in small:
        keys, context = given + [[KEY], CONTEXT][len(given) :]
        yield check({"name": name, "what": what, "verdict": verdict, "object": obj.hex()}, obj, keys, context)


def spliced_cases(vectors, objects):
    """Pieces of a stored object: each is [start, end]."""
    cut, extended = "damaged: cut off", "damaged: extended"
    cases = [  # name, what, base, pieces by chunk: 0 is the header; a pair is a chunk and how much of it
        ("cut-at-a-chunk", "the last chunk is missing", "8192", [0, 1], cut),
        ("cut-inside-a-chunk", "the last 100 bytes are missing", "8192", [0, 1, (2, 4012)], "damaged"),
        ("cut-to-a-tag", "16 bytes are left of the last chunk", "8192", [0, 1, (2, 16)], cut),
        ("cut-below-a-tag", "5 bytes are left of the last chunk", "8192", [0, 1, (2, 5)], cut),
        ("extended", "the last chunk, then itself", "8192", [0, 1, 2, 2], extended),
        ("extended-by-a-byte", "one byte behind a full last chunk", "8192", [0, 1, 2, (1, 1)], extended),
        ("reordered", "the first two chunks have changed places", "10000", [0, 2, 1, 3], "damaged"),
        ("repeated", "the first chunk twice", "10000", [0, 1, 1, 3], "damaged"),
        ("left-out", "the middle chunk is missing", "10000", [0, 1, 3], "damaged"),
        ("extended-short-chunk", "one byte behind a short last chunk", "10000", [0, 1, 2, 3, (1, 1)], "damaged"),
    ]
    for name, what, length, chunks, verdict in cases:
        base = f"aes256-gcm-12-{length}"
        obj, v = objects[base], next(v for v in vectors if v["name"] == base)
        starts = [0, *range(168 + int.from_bytes(obj[96:100]), len(obj), 4112), len(obj)]
        spans = [(c, 4112) if isinstance(c, int) else c for c in chunks]
        pieces = [[starts[c], starts[1] if c == 0 else min(starts[c] + n, starts[c + 1])] for c, n in spans]
        spliced = b"".join(obj[a:b] for a, b in pieces)
        case = {"name": name, "what": what, "verdict": verdict, "file": v["file"], "pieces": pieces}
        keys = [bytes.fromhex(key) for key in v["master_keys"]]
        yield check(case, spliced, keys, v["context"])


def check(case, obj, keys, context):
    try:
        assert r.read(obj, keys, context) == TEXT
        verdict = "opens"
    except r.Refused as refused:
        verdict, *why = refused.args
        verdict += f": {why[0]}" if why in (["cut off"], ["extended"]) else ""
    assert verdict == case["verdict"], (case["name"], verdict)
    return case | {"master_keys": [key.hex() for key in keys], "context": context}


def save(name, items):
    text = ",\n".join(json.dumps(item, ensure_ascii=False) for item in items)
    (HERE / name).write_text(f"[\n{text}\n]\n", "utf-8")


made, objects = vectors()
save("v1.json", made)
save("v1-cases.json", [*small_cases(), *spliced_cases(made, objects)])
