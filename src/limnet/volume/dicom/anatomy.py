"""What a structure is, in the codes DICOM asks for: SNOMED CT, with a category, a type and a side.

The codes are those of DICOM's context groups (PS3.16, CID 7150 ff.); a test compares them with pydicom's
dictionary. Names are what `--anatomy` takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

from limnet.errors import ConfigError


@dataclass(frozen=True)
class Code:
    """A coded concept."""

    value: str
    meaning: str
    scheme: str = "SCT"


@dataclass(frozen=True)
class Anatomy:
    """What a segment shows."""

    category: Code
    kind: Code
    side: Code | None = None


STRUCTURE = Code("123037004", "Anatomical Structure")
ABNORMAL = Code("49755003", "Morphologically Abnormal Structure")
TISSUE = Code("85756007", "Tissue")
LEFT = Code("7771000", "Left")
RIGHT = Code("24028007", "Right")

SINGLE = {
    "tissue": (TISSUE, "85756007", "Tissue"),
    "lesion": (ABNORMAL, "52988006", "Lesion"),
    "neoplasm": (ABNORMAL, "108369006", "Neoplasm"),
    "tumour": (ABNORMAL, "108369006", "Neoplasm"),
    "cyst": (ABNORMAL, "367643001", "Cyst"),
    "nodule": (ABNORMAL, "27925004", "Nodule"),
    "oedema": (ABNORMAL, "79654002", "Edema"),
    "haematoma": (ABNORMAL, "35566002", "Hematoma"),
    "liver": (STRUCTURE, "10200004", "Liver"),
    "spleen": (STRUCTURE, "78961009", "Spleen"),
    "pancreas": (STRUCTURE, "15776009", "Pancreas"),
    "gallbladder": (STRUCTURE, "28231008", "Gallbladder"),
    "stomach": (STRUCTURE, "69695003", "Stomach"),
    "duodenum": (STRUCTURE, "38848004", "Duodenum"),
    "colon": (STRUCTURE, "71854001", "Colon"),
    "rectum": (STRUCTURE, "34402009", "Rectum"),
    "oesophagus": (STRUCTURE, "32849002", "Esophagus"),
    "trachea": (STRUCTURE, "44567001", "Trachea"),
    "heart": (STRUCTURE, "80891009", "Heart"),
    "aorta": (STRUCTURE, "15825003", "Aorta"),
    "left-atrium": (STRUCTURE, "82471001", "Left atrium"),
    "right-atrium": (STRUCTURE, "73829009", "Right atrium"),
    "left-ventricle": (STRUCTURE, "87878005", "Left ventricle"),
    "right-ventricle": (STRUCTURE, "53085002", "Right ventricle"),
    "bladder": (STRUCTURE, "89837001", "Bladder"),
    "prostate": (STRUCTURE, "41216001", "Prostate"),
    "uterus": (STRUCTURE, "35039007", "Uterus"),
    "brain": (STRUCTURE, "12738006", "Brain"),
    "brainstem": (STRUCTURE, "119238007", "Brain stem"),
    "cerebellum": (STRUCTURE, "113305005", "Cerebellum"),
    "spinal-cord": (STRUCTURE, "2748008", "Spinal cord"),
    "thyroid": (STRUCTURE, "69748006", "Thyroid"),
    "mandible": (STRUCTURE, "91609006", "Mandible"),
    "sacrum": (STRUCTURE, "54735007", "Sacrum"),
}
PAIRED = {
    "kidney": ("64033007", "Kidney"),
    "lung": ("39607008", "Lung"),
    "adrenal-gland": ("23451007", "Adrenal gland"),
    "femur": ("71341001", "Femur"),
    "hippocampus": ("5366008", "Hippocampus"),
    "parotid-gland": ("45289007", "Parotid gland"),
    "breast": ("76752008", "Breast"),
    "eye": ("81745001", "Eye"),
}


def _table() -> dict[str, Anatomy]:
    table = {name: Anatomy(group, Code(value, word)) for name, (group, value, word) in SINGLE.items()}
    for name, (value, word) in PAIRED.items():
        kind = Code(value, word)
        table[name] = Anatomy(STRUCTURE, kind)
        table[f"{name}-left"] = Anatomy(STRUCTURE, kind, LEFT)
        table[f"{name}-right"] = Anatomy(STRUCTURE, kind, RIGHT)
    return table


ANATOMY = _table()


def name_of_codes(kind: str, side: str | None) -> str:
    """The name in our table of a type's and a side's code values (SCT); "" when it is none, or tissue."""
    for name, anatomy in ANATOMY.items():
        if (anatomy.kind.value, anatomy.side.value if anatomy.side else None) == (kind, side):
            return "" if name == "tissue" else name
    return ""


def known_anatomy(name: str) -> str:
    """The name in our table that a word of a user's stands for; "" when it is none.

    >>> known_anatomy("Kidney left"), known_anatomy("Object 1")
    ('kidney-left', '')
    """
    word = name.strip().lower().replace(" ", "-").replace("_", "-")
    return word if word in ANATOMY else ""


def anatomy_of(name: str) -> Anatomy:
    """What a name such as `liver` or `kidney-left` stands for; ConfigError with the nearest names otherwise.

    >>> anatomy_of("kidney-left").side.meaning
    'Left'
    """
    found = ANATOMY.get(known_anatomy(name))
    if found is None:
        near = get_close_matches(name.lower(), ANATOMY, n=3, cutoff=0.4) or sorted(ANATOMY)[:8]
        raise ConfigError(
            f"anatomy {name!r} is not known; did you mean {', '.join(near)}? (all: docs/dicom.md)"
        )
    return found
