/** CRC-32 in the two forms that are met here. */

/** A checksum over bytes, by its reversed polynomial. */
function checksum(polynomial: number): (bytes: Uint8Array) => number {
  const table = Uint32Array.from({ length: 256 }, (_, byte) => {
    let value = byte;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ polynomial : value >>> 1;
    return value;
  });
  return (bytes) => {
    let value = 0xffff_ffff;
    for (const byte of bytes) value = (value >>> 8) ^ (table[(value ^ byte) & 0xff] ?? 0);
    return ~value >>> 0;
  };
}

/** CRC-32 as Ethernet and ZIP have it; of the records of a file.dict and of raft-engine. */
export const crc32 = checksum(0xedb8_8320);

/** CRC-32C (Castagnoli), as RocksDB has it. Source: RFC 3720, appendix B.4. */
export const crc32c = checksum(0x82f6_3b78);

/** RocksDB stores checksums turned and shifted, since it computes checksums over data that holds some. */
export function unmasked(stored: number): number {
  const turned = (stored - 0xa282_ead8) >>> 0;
  return ((turned >>> 17) | (turned << 15)) >>> 0;
}
