"""What an annotation may be exported as. The DICOM formats refer to the series that it came from."""

from __future__ import annotations

from limnet.server.slots import Slot
from limnet.volume.exchange import Kind

PLAIN = ("nii.gz", "nrrd", "mha")  # maps of object ids
STRUCTURED: dict[str, Kind] = {  # each object under its name and colour
    "seg.nrrd": "labels",
    "seg.dcm": "seg",
    "labelmap.dcm": "labelmap-seg",
    "rtstruct.dcm": "rtstruct",
}


def formats_of(slot: Slot) -> list[str]:
    """The formats of an annotation: those of DICOM when it came from a series with a place in the patient."""
    annotation = slot.annotation  # older records do not say
    is_dicom = slot.record.facts.is_dicom or bool(annotation and annotation.volume.frame_of_reference)
    return [name for name in (*PLAIN, *STRUCTURED) if is_dicom or not name.endswith(".dcm")]
