// Frames as they come over the WebSocket; triptych/dashboard/wire.py describes the bytes.

const MAGIC = 0x31505254; // "TRP1", little endian
const text = new TextDecoder();

/** Take a message apart: the header, and the blobs by name. */
export function unpack(buffer) {
  const numbers = new DataView(buffer);
  if (buffer.byteLength < 8 || numbers.getUint32(0, true) !== MAGIC) {
    throw new Error("not a frame");
  }
  let at = 8 + numbers.getUint32(4, true);
  const header = JSON.parse(text.decode(new Uint8Array(buffer, 8, at - 8)));
  const blobs = {};
  for (const [name, kind, size] of header.blobs) {
    blobs[name] =
      kind === "runs"
        ? expand(new Uint16Array(buffer, at, size / 2), header.width * header.height)
        : new Blob([new Uint8Array(buffer, at, size)], { type: "image/jpeg" });
    at += size + ((4 - (size % 4)) % 4);
  }
  return { header, blobs };
}

/** Pairs of value and length, as the map of numbers that they stand for. */
export function expand(pairs, size) {
  const map = new Uint16Array(size);
  let at = 0;
  for (let i = 0; i < pairs.length; i += 2) {
    const end = at + pairs[i + 1];
    if (pairs[i]) map.fill(pairs[i], at, end);
    at = end;
  }
  if (at !== size) throw new Error(`a map of ${at} numbers, expected ${size}`);
  return map;
}
