/** The numbers of a label map in a NIfTI-1 file, gzipped or not. */
export async function readLabels(buffer: ArrayBuffer): Promise<Uint8Array | Uint16Array> {
  const start = new Uint8Array(buffer, 0, 2);
  if (start[0] === 0x1f && start[1] === 0x8b) {
    const stream = new Blob([buffer]).stream().pipeThrough(new DecompressionStream("gzip"));
    buffer = await new Response(stream).arrayBuffer();
  }
  const header = new DataView(buffer);
  if (header.getInt32(0, true) !== 348) throw new Error("the label map is no little-endian NIfTI-1 file; report this");
  const offset = header.getFloat32(108, true);
  const datatype = header.getInt16(70, true);
  const count = [42, 44, 46].reduce((product, at) => product * header.getInt16(at, true), 1);
  if (datatype === 2) return new Uint8Array(buffer, offset, count);
  if (datatype === 512) return new Uint16Array(buffer.slice(offset, offset + 2 * count));
  throw new Error(`the label map has NIfTI datatype ${datatype}, not uint8 or uint16; report this`);
}
