"""What goes over the wire under /api/v1: JSON in snake_case, voxel indices (i, j, k), mm, affines RAS+."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Colour = Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$", examples=["#e6194b"])]
Name = Annotated[str, Field(min_length=1, max_length=100)]
Index = Annotated[int, Field(ge=0, lt=2**31)]
VoxelIn = tuple[Index, Index, Index]
AxisIn = Annotated[Literal[0, 1, 2], Field(description="the axis the slice is cut along")]


class In(BaseModel):
    """A request's body: an unknown member is an error."""

    model_config = ConfigDict(extra="forbid")


class Limits(BaseModel):
    """What the server takes."""

    max_upload_mib: int
    max_voxels: int
    max_volumes: int
    max_objects: int


class About(BaseModel):
    """The server."""

    version: str
    licence: str
    weights: str = Field(description="version and checksum of the networks")
    server_id: str = Field(description="new at every start of the server")
    user: str
    limits: Limits


class FileEntry(BaseModel):
    """A folder or a file that may be a volume."""

    name: str
    path: str
    kind: Literal["folder", "volume"]
    bytes: int | None = Field(description="size of a file")


class Folder(BaseModel):
    """What lies in a folder; without a folder, the roots that may be opened."""

    folder: str | None
    parent: str | None
    entries: list[FileEntry]


class Intensity(BaseModel):
    """Which numbers the voxels hold: all, and a window that shows most of them."""

    minimum: float
    maximum: float
    low: float
    high: float


class PromptOut(BaseModel):
    """A prompt, in the form in which it was given."""

    kind: Literal["click", "box", "scribble", "lasso", "painted"]
    positive: bool
    axis: int
    slice: int = Field(description="index of its slice along the axis")
    index: tuple[int, int, int] | None = Field(default=None, description="of a click")
    low: tuple[int, int, int] | None = Field(default=None, description="of a box")
    high: tuple[int, int, int] | None = Field(default=None, description="of a box, inclusive")
    points: list[tuple[int, int, int]] | None = Field(default=None, description="of a scribble or lasso")


class ObjectOut(BaseModel):
    """One object of a volume."""

    id: int
    name: str
    colour: str
    locked: bool
    visible: bool
    num_rounds: int
    num_prompts: int
    pending: list[PromptOut]
    can_undo: bool
    can_redo: bool
    sweeping: bool
    voxels: int
    ml: float
    diameters_mm: tuple[float, float, float] = Field(
        description="extent along i, j and k of the box that holds the object"
    )


class VolumeOut(BaseModel):
    """A volume and its objects."""

    id: str
    name: str
    state: Literal["open", "closed"]
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    affine: list[list[float]]
    dtype: str
    is_rgb: bool
    sweep_axis: int
    intensity: Intensity
    path: str | None = Field(description="of the file it was opened from; null when it was uploaded")
    opened: str = Field(description="when it was last opened, UTC, ISO 8601")
    formats: list[str] = Field(description="what it may be exported as; DICOM when it came from a series")
    objects: list[ObjectOut] | None = Field(description="null in the list of volumes while not in memory")


class OpenIn(In):
    """Which volume to open: exactly one of these."""

    path: str | None = Field(None, max_length=4096)
    sample: bool = False
    id: str | None = Field(None, max_length=64, description="of a volume that was closed")


class DeleteIn(In):
    """The volume's name, so that nobody deletes work by mistake."""

    confirm: str


class ObjectIn(In):
    """A new object; what is left out is chosen."""

    name: Name | None = None
    colour: Colour | None = None


class ObjectChange(In):
    """What to change of an object."""

    name: Name | None = None
    colour: Colour | None = None
    locked: bool | None = None
    visible: bool | None = None


class ClickIn(In):
    """A click on a voxel."""

    index: VoxelIn
    positive: bool = True
    axis: AxisIn | None = None


class BoxIn(In):
    """A box on one slice, inclusive corners."""

    low: VoxelIn
    high: VoxelIn
    positive: bool = True
    axis: AxisIn | None = None


class PointsIn(In):
    """Voxels of one slice in drawing order: a scribble's line, a lasso's corners."""

    points: Annotated[list[VoxelIn], Field(min_length=1, max_length=20_000)]
    positive: bool = True
    axis: AxisIn | None = None


class StrokeIn(In):
    """A stroke of the brush or the eraser on one slice."""

    points: Annotated[list[VoxelIn], Field(min_length=1, max_length=20_000)]
    radius_mm: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]
    erase: bool = False
    axis: AxisIn


class SliceOut(BaseModel):
    """The mask of one slice as runs over the slice flattened in C order."""

    axis: int
    index: int
    shape: tuple[int, int]
    runs: list[int] = Field(description="start, length, start, length, ...")


class SweepSlice(SliceOut):
    """A slice of a sweep, and how far the sweep is."""

    done: int = Field(description="slices so far; one may come more than once")
    expected: int = Field(description="how many are likely to come in all")


class Answer(BaseModel):
    """What a prompt did."""

    object: ObjectOut
    slice: SliceOut


class Sweeping(BaseModel):
    """A sweep that was started or is being cancelled."""

    num_pending: int


class RoundOut(BaseModel):
    """One round."""

    number: int
    axis: int
    prompts: list[PromptOut]
    num_slices: int
    num_kept: int
    seconds: float | None
    mean_quality: float | None
    box: tuple[tuple[int, int], tuple[int, int], tuple[int, int]] | None
    provenance_counts: dict[int, int] = Field(
        description="how many slices each round's masks are on; -1: none"
    )
    is_undone: bool


class SweepDone(BaseModel):
    """A sweep has become a round."""

    object: ObjectOut
    round: RoundOut


class SweepCancelled(BaseModel):
    """A sweep was cancelled; nothing has changed."""

    object: ObjectOut


class QualityOut(BaseModel):
    """The Dice that the network expects of each slice."""

    axis: int
    quality: list[float | None]
    suggested: int | None
    prompted: list[int]


class ExportIn(In):
    """Which file to make.

    The last four formats hold each object under its name and colour, with "mask" all of them as one.
    """

    format: Literal["nii.gz", "nrrd", "mha", "seg.nrrd", "seg.dcm", "labelmap.dcm", "rtstruct.dcm"] = "nii.gz"
    kind: Literal["labels", "mask"] = "labels"
    objects: list[Annotated[int, Field(ge=1, le=65535)]] | None = None
