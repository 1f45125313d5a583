"""EndoVis 2018, robotic scene segmentation: RGB videos of kidney surgery, 12 classes by colour.

```
miccai_challenge_2018_release_1/labels.json         [{"name": …, "color": [r, g, b], "classid": n}, …]
                               /seq_1/left_frames/frame000.png, labels/frame000.png
repairs/seq_1_frame042.png                          corrected labels of release 1
test_data/seq_1/…                                   with a labels.json of its own
```
A sequence is one volume whose last axis is time. Archives unpack into a folder in a folder of the same name;
sequences are found up to four folders below the root. Classes are objects 1 to 11 by their classid; 0 is
background. Each sequence goes by the labels.json nearest to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from limnet.errors import CaseError
from limnet.evaluation.cases import CaseFailure, CaseFiles, EvaluationSet
from limnet.evaluation.colour_frames import Colour, ColourFrames
from limnet.evaluation.datasets.layout import Layout, files, folders, objects_named, read_json, set_of

DEPTH = 4  # folders below the root in which sequences are looked for
SEQUENCE = re.compile(r"seq_\d+")
TEST = re.compile(r"test(ing)?(_data)?(-.*)?")  # a folder of test sequences, as archives call it
REPAIR = re.compile(r"(seq_\d+)_(.+)")  # sequence, frame

Classes = dict[int, tuple[str, Colour]]  # classid -> name, colour


def _inside(place: Path, depth: int = DEPTH) -> Iterator[Path]:
    """`place` and the folders below it, without the shadows that macOS leaves in archives."""
    yield place
    if depth > 0:
        for folder in folders(place, "*"):
            if folder.name != "__MACOSX" and folder.name not in ("left_frames", "right_frames", "labels"):
                yield from _inside(folder, depth - 1)


def _sequences(root: Path) -> list[Path]:
    return [
        place
        for place in _inside(root)
        if SEQUENCE.fullmatch(place.name) and (place / "left_frames").is_dir() and (place / "labels").is_dir()
    ]


def _find(root: Path) -> list[EvaluationSet]:
    repairs = _repairs(root)
    by_set: dict[str, list[Path]] = {}
    for sequence in _sequences(root):
        parts = (root.resolve().name, *sequence.relative_to(root).parts)
        is_test = any(TEST.fullmatch(part.lower()) for part in parts)
        by_set.setdefault(f"endovis18_{'test' if is_test else 'training'}", []).append(sequence)
    return [_set(name, places, root, repairs) for name, places in sorted(by_set.items(), reverse=True)]


def _set(
    name: str, places: list[Path], root: Path, repairs: Mapping[str, tuple[tuple[str, Path], ...]]
) -> EvaluationSet:
    names: dict[int, str] = {}
    found: dict[str, CaseFiles] = {}
    failures = []
    for place in sorted(places, key=lambda place: int(place.name.removeprefix("seq_"))):
        if place.name in found:
            message = f"{place}: {place.name} is there twice (see {found[place.name].image.parent}); keep one"
            failures.append(CaseFailure(name, place.name, message))
            continue
        try:
            classes = _classes(_labels_json(place, root))
        except CaseError as error:
            failures.append(CaseFailure(name, place.name, str(error)))
            continue
        colours = tuple((colour, label) for label, (_, colour) in classes.items())
        repaired = repairs.get(place.name, ()) if name.endswith("training") else ()
        truth = ColourFrames(place / "labels", colours, repaired)
        declared = {label: title for label, (title, _) in sorted(classes.items()) if label != 0}
        names = declared | names  # a class goes by the name it has first
        found[place.name] = CaseFiles(place.name, place / "left_frames", truth, objects_named(declared))
    return set_of(name, found.values(), objects_named(dict(sorted(names.items()))), failures)


def _labels_json(sequence: Path, root: Path) -> Path:
    """The labels.json nearest to a sequence: beside it, or in a folder around it up to the root."""
    for place in sequence.parents:
        if (place / "labels.json").is_file():
            return place / "labels.json"
        if place == root:
            break
    raise CaseError(f"{sequence}: no labels.json beside it or above; unpack it from the release's archive")


def _classes(path: Path) -> Classes:
    """What labels.json says: a list of classes, or a table with it under "classes"; alpha is ignored."""
    content = read_json(path)
    entries: Any = content.get("classes") if isinstance(content, Mapping) else content
    try:
        found = {}
        for entry in entries:
            red, green, blue = (int(n) for n in entry["color"][:3])
            found[int(entry["classid"])] = (str(entry["name"]), (red, green, blue))
        return found
    except (KeyError, TypeError, ValueError):
        raise CaseError(f"{path}: not a list of classes with 'name', 'color' and 'classid'") from None


def _repairs(root: Path) -> dict[str, tuple[tuple[str, Path], ...]]:
    """Sequence -> corrected label frames by their names."""
    found: dict[str, dict[str, Path]] = {}
    for place in _inside(root):
        for path in files(place, "seq_*_*.png") if place.name == "repairs" else ():
            named = REPAIR.fullmatch(path.stem)
            if named:
                found.setdefault(named[1], {})[named[2]] = path
    return {sequence: tuple(frames.items()) for sequence, frames in found.items()}


ENDOVIS = Layout(
    title="EndoVis 2018 robotic scene segmentation",
    source="the releases of endovissub2018-roboticscenesegmentation.grand-challenge.org, unpacked",
    expects="folders such as seq_1 with left_frames and labels, and a labels.json beside or above them",
    recognises=lambda root: bool(_sequences(root)),
    find=_find,
)
