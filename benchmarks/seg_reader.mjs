/** What dcmjs, which OHIF reads DICOM-SEG with, finds in a segmentation and its series, as JSON on stdout.
 *
 *    node seg_reader.mjs SEG.dcm SERIES_FOLDER
 */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import dcmjs from "dcmjs";

const { BitArray, Colors, DicomMessage, DicomMetaDictionary } = dcmjs.data;

function read(path) {
  const bytes = readFileSync(path);
  const message = DicomMessage.readFile(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
  return DicomMetaDictionary.naturalizeDataset(message.dict);
}

const all = (value) => (value === undefined ? [] : Array.isArray(value) ? value : [value]);
const first = (value) => all(value)[0];
const base64 = (buffer) => Buffer.from(buffer).toString("base64");

const [path, folder] = process.argv.slice(2);
const images = readdirSync(folder)
  .map((name) => read(join(folder, name)))
  .map((image) => ({
    uid: image.SOPInstanceUID,
    rows: image.Rows,
    columns: image.Columns,
    place: image.ImagePositionPatient,
    pixels: base64(first(image.PixelData)),
  }));
const seg = read(path);
const bits = BitArray.unpack(first(seg.PixelData)); // one byte per pixel, frame after frame
const size = seg.Rows * seg.Columns;
const segments = all(seg.SegmentSequence).map((segment) => ({
  number: segment.SegmentNumber,
  label: segment.SegmentLabel,
  type: first(segment.SegmentedPropertyTypeCodeSequence).CodeMeaning,
  rgb: Colors.dicomlab2RGB(segment.RecommendedDisplayCIELabValue),
}));
const frames = all(seg.PerFrameFunctionalGroupsSequence).map((frame, n) => ({
  segment: first(frame.SegmentIdentificationSequence).ReferencedSegmentNumber,
  uid: first(first(first(frame.DerivationImageSequence).SourceImageSequence)).ReferencedSOPInstanceUID,
  place: first(frame.PlanePositionSequence).ImagePositionPatient,
  pixels: base64(bits.slice(n * size, (n + 1) * size)),
}));
process.stdout.write(JSON.stringify({ images, segments, frames }));
