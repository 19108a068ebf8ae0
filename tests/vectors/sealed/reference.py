#!/usr/bin/env python3
"""Sealed objects, version 1, read and written from core/FORMAT.md alone (master keys of provider 1 only).

Written from the specification before its author had seen the library's code; only the order of the random draws and that of the
verdicts were settled after. It is here to be read next to the specification; it keeps everything in memory, compares in variable
time and wipes nothing: not for real keys.

    python3 reference.py OBJECT MASTER_KEY_HEX [KEY=VALUE ...]      writes the plaintext to standard output
"""
import hashlib, hmac, struct, sys, zlib
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

MAGIC = bytes.fromhex("8953544b0d0a1a0a")
AES, SM4 = algorithms.AES, algorithms.SM4
SUITES = {  # number: name, cipher, body key length, chunked
    0x02: ("aes128-ctr", AES, 16, False),
    0x03: ("aes192-ctr", AES, 24, False),
    0x04: ("aes256-ctr", AES, 32, False),
    0x05: ("sm4-ctr", SM4, 16, False),
    0x14: ("aes256-gcm", AES, 32, True),
    0x15: ("sm4-gcm", SM4, 16, True),
}
NUMBERS = {name: number for number, (name, *_) in SUITES.items()}

class Refused(Exception):
    """A verdict of section 5, as its first argument."""

def hkdf(ikm, salt, info, length):
    prk = hmac.digest(salt or bytes(32), ikm, "sha256")
    out, block, i = b"", b"", 1
    while len(out) < length:
        block = hmac.digest(prk, block + info + bytes([i]), "sha256")
        out, i = out + block, i + 1
    return out[:length]

def gcm_seal(algorithm, key, nonce, aad, plaintext):
    e = Cipher(algorithm(key), modes.GCM(nonce)).encryptor()
    e.authenticate_additional_data(aad)
    return e.update(plaintext) + e.finalize() + e.tag

def gcm_open(algorithm, key, nonce, aad, sealed):
    """The plaintext, or None."""
    if len(sealed) < 16:
        return None
    d = Cipher(algorithm(key), modes.GCM(nonce, sealed[-16:])).decryptor()
    d.authenticate_additional_data(aad)
    try:
        return d.update(sealed[:-16]) + d.finalize()
    except InvalidTag:
        return None

def canonical(context):
    """Section 2."""
    pairs = sorted((k.encode(), v.encode()) for k, v in context.items())
    return struct.pack(">I", len(pairs)) + b"".join(struct.pack(">I", len(x)) + x for pair in pairs for x in pair)

def context_digest(salt, context):
    return hashlib.sha256(b"stillkey/v1/context" + salt + canonical(context)).digest()

def reference(master_key):
    return hkdf(master_key, b"", b"stillkey/v1/master-key-reference", 8).hex()

def derive(data_key, preamble, what, length):
    """Section 3, the last three."""
    return hkdf(data_key, preamble[32:64], b"stillkey/v1/" + what + preamble, length)

def chunk_nonce(iv, i, last):
    return iv[:7] + struct.pack(">IB", i, last)

def split_recipients(block):
    """Section 1.3."""
    (count,) = struct.unpack_from(">H", block.ljust(2, b"\0"))
    if not 1 <= count <= 64:
        raise Refused("damaged", "number of recipients")
    out, at = [], 2
    for _ in range(count):
        start, fields = at, []
        at += 1
        for _ in range(3):
            n = int.from_bytes(block[at : at + 2])
            fields.append(block[at + 2 : at + 2 + n])
            at += 2 + n
        head, sealed, at = block[start:at], block[at : at + 60], at + 60
        if at > len(block):
            raise Refused("damaged", "recipients are cut off")
        try:
            out.append((head[0], fields[0].decode(), fields[1].decode(), fields[2], head, sealed))
        except UnicodeDecodeError:
            raise Refused("damaged", "a recipient's name is not UTF-8")
    if at != len(block):
        raise Refused("damaged", "something follows the recipients")
    return out

def open_data_key(recipients, preamble, master_keys, context):
    """The first that opens; a reader passes over other recipients, and remembers those that should have opened."""
    names, damaged = {reference(k): k for k in master_keys}, False
    for provider, name, _, wrapped, head, sealed in recipients:
        if provider != 1 or name not in names:
            continue
        wrapping_key = hkdf(names[name], wrapped[:32], b"stillkey/v1/raw-master-key-wrap", 32)
        kek = gcm_open(AES, wrapping_key, bytes(12), canonical(context), wrapped[32:])
        aad = b"stillkey/v1/data-key" + preamble + head + canonical(context)
        data_key = gcm_open(AES, kek, sealed[:12], aad, sealed[12:]) if kek and len(kek) == 32 else None
        if data_key is not None:
            return data_key
        damaged = True
    raise Refused("damaged", "sealed keys") if damaged else Refused("wrong master key", [r[1] for r in recipients])

def read(obj, master_keys, context):
    """The plaintext of an object. The order of the checks is that of section 5."""
    if not obj.startswith(MAGIC[: len(obj)]):
        raise Refused("not a sealed object")
    if len(obj) > 8 and obj[8] != 1:
        raise Refused("unsupported", "version")
    end = 100 + int.from_bytes(obj[96:100])
    if len(obj) < 100 or end > 100 + (1 << 20) or len(obj) < end + 68:
        raise Refused("damaged", "header is cut off, or its length is wrong")
    if zlib.crc32(obj[: end + 32]) != int.from_bytes(obj[end + 32 : end + 36]):
        raise Refused("damaged", "checksum")
    number, exponent, flags = obj[9:12]
    if number not in SUITES or flags:
        raise Refused("unsupported", "suite or flags")
    _, algorithm, key_length, chunked = SUITES[number]
    if obj[12:16] != bytes(4) or exponent not in (range(12, 25) if chunked else [0]):
        raise Refused("damaged", "reserved bytes or chunk exponent")
    preamble, iv, salt, digest = obj[:96], obj[16:32], obj[32:64], obj[64:96]
    recipients = split_recipients(obj[100:end])
    if context_digest(salt, context) != digest:
        raise Refused("wrong context")
    data_key = open_data_key(recipients, preamble, master_keys, context)
    if derive(data_key, preamble, b"commitment", 32) != obj[end : end + 32]:
        raise Refused("damaged", "commitment")
    mac_key = derive(data_key, preamble, b"header-mac", 32)
    if hmac.digest(mac_key, obj[: end + 36], "sha256") != obj[end + 36 : end + 68]:
        raise Refused("damaged", "authentication code")
    body_key, body = derive(data_key, preamble, b"body", key_length), obj[end + 68 :]
    return (read_chunks if chunked else stream)(algorithm, body_key, iv, body, exponent)

def stream(algorithm, body_key, iv, data, _):
    """Section 4.1, in either direction."""
    return Cipher(algorithm(body_key), modes.CTR(iv)).encryptor().update(data)

def read_chunks(algorithm, body_key, iv, body, exponent):
    """Section 4.2."""
    plain, step = b"", (1 << exponent) + 16
    chunks = [body[i : i + step] for i in range(0, len(body), step)] or [b""]
    for i, chunk in enumerate(chunks):
        last = i == len(chunks) - 1
        if len(chunk) < 16 or (len(chunk) == 16 and i):
            raise Refused("damaged", "cut off")
        got = gcm_open(algorithm, body_key, chunk_nonce(iv, i, last), b"", chunk)
        if got is None:
            other = gcm_open(algorithm, body_key, chunk_nonce(iv, i, not last), b"", chunk)
            raise Refused("damaged", "chunk" if other is None else "cut off" if last else "extended")
        plain += got
    return plain

def make_preamble(suite, exponent, iv, salt, context, flags=0, reserved=0):
    fixed = struct.pack(">BBBBI", 1, NUMBERS.get(suite, suite), exponent, flags, reserved)
    return MAGIC + fixed + iv + salt + context_digest(salt, context)

def make_recipient(preamble, master_key, context, data_key, kek, wrap_salt, nonce):
    wrapping_key = hkdf(master_key, wrap_salt, b"stillkey/v1/raw-master-key-wrap", 32)
    wrapped = wrap_salt + gcm_seal(AES, wrapping_key, bytes(12), canonical(context), kek)
    fields = reference(master_key).encode(), b"", wrapped
    head = b"\x01" + b"".join(struct.pack(">H", len(f)) + f for f in fields)
    aad = b"stillkey/v1/data-key" + preamble + head + canonical(context)
    return head + nonce + gcm_seal(AES, kek, nonce, aad, data_key)

def make_header(preamble, recipients, data_key, count, commitment=None):
    """`commitment` is given by forgeries only."""
    block = struct.pack(">H", count) + recipients
    header = preamble + struct.pack(">I", len(block)) + block
    header += commitment or derive(data_key, preamble, b"commitment", 32)
    header += struct.pack(">I", zlib.crc32(header))
    return header + hmac.digest(derive(data_key, preamble, b"header-mac", 32), header, "sha256")

def make_chunks(algorithm, body_key, iv, plaintext, exponent):
    pieces = [plaintext[at : at + (1 << exponent)] for at in range(0, len(plaintext), 1 << exponent)] or [b""]
    return b"".join(
        gcm_seal(algorithm, body_key, chunk_nonce(iv, i, i == len(pieces) - 1), b"", piece) for i, piece in enumerate(pieces)
    )

def write(plaintext, suite, exponent, master_keys, context, draw):
    """An object, with `draw(n)` for n random bytes. The order of the draws is the library's; no reader depends on it."""
    _, algorithm, key_length, chunked = SUITES[NUMBERS[suite]]
    iv, salt, data_key = draw(16), draw(32), draw(32)
    preamble = make_preamble(suite, exponent if chunked else 0, iv, salt, context)
    recipients = b""
    for master_key in master_keys:
        recipients += make_recipient(preamble, master_key, context, data_key, draw(32), draw(32), draw(12))
    body_key = derive(data_key, preamble, b"body", key_length)
    body = (make_chunks if chunked else stream)(algorithm, body_key, iv, plaintext, exponent)
    return make_header(preamble, recipients, data_key, len(master_keys)) + body

if __name__ == "__main__":
    with open(sys.argv[1], "rb") as f:
        sys.stdout.buffer.write(read(f.read(), [bytes.fromhex(sys.argv[2])], dict(a.split("=", 1) for a in sys.argv[3:])))
