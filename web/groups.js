// What the page knows of its recordings of frames: their names and sizes, and how much of a file is whole, since a crash tears
// the last group. The format is cwts.recorder's.

/** How large a file becomes, and all of them together: then the oldest goes. @typedef {{fileBytes: number, keptBytes: number}} Limits */
/** A file; `at`: when it was last written, ms; `writing`: by this page. @typedef {{name: string, bytes: number, at: number, writing: boolean}} Kept */
/** What is being written, as the page hears of it. @typedef {{name: string, bytes: number, frames: number}} Current */

const MAGIC = 0x184d2a57; // of a skippable frame
const MARK = 0x53545743; // "CWTS"
const HEADER = 56; // bytes, 8 of them the skippable frame's own
const LARGEST = 256 << 20; // a header that says more is damaged
const FRAMES = 2; // the kind of a group of frames

const CRC = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = (value >>> 1) ^ (value & 1 ? 0xedb88320 : 0);
  return value;
});

/** @param {Uint8Array} bytes @returns {number} CRC-32, as in zlib */
function crc32(bytes) {
  let crc = ~0;
  for (let at = 0; at < bytes.length; at++) crc = (crc >>> 8) ^ CRC[(crc ^ bytes[at]) & 255];
  return ~crc >>> 0;
}

/**
 * The whole groups at the beginning of a file: the lengths of all are looked at, and from the last one back the bytes, until
 * a group is sound.
 * @param {(at: number, bytes: number) => Uint8Array} read so many bytes of the file, or fewer at its end
 * @param {number} size of the file
 * @returns {{groups: number, frames: number, bytes: number}}
 */
export function wholeGroups(read, size) {
  const found = [];
  for (let at = 0; at + HEADER <= size; ) {
    const head = read(at, HEADER);
    if (head.length < HEADER) break;
    const view = new DataView(head.buffer, head.byteOffset, HEADER);
    const number = (/** @type {number} */ place) => view.getUint32(place, true);
    const [count, raw, packed, crc] = [24, 28, 32, 36].map(number);
    const ours = number(0) === MAGIC && number(4) === HEADER - 8 && number(8) === MARK;
    const end = at + HEADER + packed;
    if (!ours || raw > LARGEST || packed > LARGEST || end > size) break;
    found.push({ from: at + HEADER, packed, crc, end, frames: number(12) === FRAMES ? count : 0 });
    at = end;
  }
  for (let last = found.at(-1); last && crc32(read(last.from, last.packed)) !== last.crc; last = found.at(-1)) found.pop();
  return { groups: found.length, frames: found.reduce((sum, { frames }) => sum + frames, 0), bytes: found.at(-1)?.end ?? 0 };
}
