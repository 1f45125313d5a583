"""limnet export: results in the formats of others: DICOM-SEG, RTSTRUCT, label maps with names and colours."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import UseAppendAction, arg

import limnet
from limnet.cli.options import File, Folder, SeriesName, VolumePath
from limnet.errors import ConfigError
from limnet.volume.dicom.anatomy import anatomy_of
from limnet.volume.dicom.source import Source, read_source
from limnet.volume.exchange import read_structures, write_structures
from limnet.volume.placing import moved
from limnet.volume.structure import Structure, colour_of

Masks = Annotated[UseAppendAction[tuple[Path, ...]], arg(metavar="FILE", help_behavior_hint="")]
Words = Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="NAME", help_behavior_hint="")]
Kind = Annotated[
    Literal["seg", "labelmap-seg", "rtstruct", "labels"] | None,
    arg(metavar="seg|labelmap-seg|rtstruct|labels", help_behavior_hint=""),
]


@dataclass(frozen=True)
class Export:
    """Write masks or a journal's objects as DICOM-SEG, RTSTRUCT or a label map with names and colours."""

    volume: VolumePath  # the scan that was segmented
    output: Annotated[
        Path, arg(aliases=["-o"], metavar="FILE")
    ]  # .dcm .seg.nrrd .nii.gz .nii .nrrd .mha .mhd
    mask: Masks = ()  # mask, label map, DICOM-SEG or RTSTRUCT, of one or more objects; repeat for more
    journal: File = None  # a journal whose objects are exported
    kind: Kind = None  # default: a .dcm becomes a DICOM-SEG, everything else a label map
    anatomy: Words = ()  # what the objects are, in order: liver, kidney-left ..., - for none
    name: Words = ()  # what they are called, in order; default: as their file says, else their anatomy
    dicom: Folder = None  # the series a DICOM result refers to, when VOLUME is a conversion of it
    series: SeriesName = None  # of a folder with several DICOM series; limnet info lists them
    allow_gaps: bool = False  # take a DICOM series with missing slices

    def run(self) -> int:
        """Read, name, write."""
        if bool(self.mask) == (self.journal is not None):
            raise ConfigError(
                "nothing to export, or too much: give --mask FILE (repeatable) or --journal FILE"
            )
        for word in self.anatomy:
            if word != "-":
                anatomy_of(word)
        is_dicom = self.output.suffix.lower() == ".dcm"
        if self.kind is not None and is_dicom == (self.kind == "labels"):
            raise ConfigError(
                f"{self.output}: --kind {self.kind} goes with {'other names' if is_dicom else '.dcm'}"
            )
        volume = self._read(self.volume)
        structures = self._structures(volume)
        source, like = self._source(volume) if is_dicom else (None, volume)
        if like is not volume:
            structures = [moved(structure, volume, like) for structure in structures]
        write_structures(self.output, self._named(structures), like, kind=self.kind, source=source)
        for structure in self._named(structures):
            ml = structure.block.sum() * abs(float(_determinant(like))) / 1000
            print(f"{structure.name}  {ml:.2f} ml")
        print(f"file    {self.output}")
        return 0

    def _read(self, path: Path) -> limnet.Volume:
        return limnet.read_volume(path, series=self.series, allow_gaps=self.allow_gaps)

    def _source(self, volume: limnet.Volume) -> tuple[Source, limnet.Volume]:
        """The series to refer to, and the volume on its grid."""
        path = self.dicom or self.volume
        source = read_source(path, series=self.series, allow_gaps=self.allow_gaps)
        return source, volume if self.dicom is None else self._read(path)

    def _structures(self, volume: limnet.Volume) -> list[Structure]:
        """The objects of the masks or of the journal, on the grid of the volume."""
        if self.journal is None:
            found = [structure for path in self.mask for structure in read_structures(path, volume)]
            several = len(self.mask) > 1
            return [replace(s, colour=colour_of(n)) if several else s for n, s in enumerate(found)]
        from limnet.journal import Journal

        with Journal.open(self.journal) as journal:
            annotation = journal.restore(volume)
            return [Structure.of(o.name, o.session.mask, o.colour) for o in annotation.objects]

    def _named(self, structures: list[Structure]) -> list[Structure]:
        """With the names and meanings given."""
        for what, words in (("--anatomy", self.anatomy), ("--name", self.name)):
            if len(words) > len(structures):
                raise ConfigError(
                    f"{len(words)} {what} for {len(structures)} objects; give one each, in order"
                )
        named = []
        for n, structure in enumerate(structures):
            meaning = (
                self.anatomy[n] if n < len(self.anatomy) and self.anatomy[n] != "-" else structure.anatomy
            )
            given = n < len(self.anatomy) and self.anatomy[n] != "-" and structure.name.startswith("label ")
            name = self.name[n] if n < len(self.name) else meaning if given else structure.name
            named.append(replace(structure, name=name, anatomy=meaning))
        return named


def _determinant(volume: limnet.Volume) -> float:
    import numpy as np

    return float(np.linalg.det(volume.affine[:3, :3]))
