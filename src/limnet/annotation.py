"""An annotation: one volume with its several objects, each a session, and the label map they make together.

Whatever changes it is a value, an `Entry`, shown to the journal first; the annotation is a fold over its
entries. No HTTP and no disk here. It is for one thread at a time; whoever has several takes turns.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from limnet.errors import PromptError
from limnet.fusion import Round
from limnet.history import Deed, Prompted
from limnet.labels import LabelMap, Layer
from limnet.model import LimNet, load_model
from limnet.session import Session
from limnet.volume import Volume
from limnet.volume.structure import colour_of

Overlap = Literal["newest", "first"]
MAX_NAME = 200  # characters of an object's name


@dataclass(frozen=True, eq=False)
class Object:
    """One structure of the volume: how it is called and shown, and its session. A change makes a new one."""

    id: int  # 1, 2, ... in the order of making; never given twice
    name: str
    colour: str  # "#rrggbb"
    session: Session
    locked: bool = False  # takes no prompts, and wins where objects overlap
    visible: bool = True


@dataclass(frozen=True)
class Added:
    """A new object."""

    object_id: int
    name: str
    colour: str


@dataclass(frozen=True)
class Changed:
    """An object's looks or lock, all of them as they are now."""

    object_id: int
    name: str
    colour: str
    locked: bool
    visible: bool


@dataclass(frozen=True)
class Removed:
    """An object is gone, with its work."""

    object_id: int


@dataclass(frozen=True)
class Overlapping:
    """Which object wins where two claim a voxel."""

    overlap: Overlap


@dataclass(frozen=True)
class Done:
    """A change in an object's session."""

    object_id: int
    deed: Deed


@dataclass(frozen=True)
class Opened:
    """What the entries after this one are made with."""

    version: str  # of limnet
    weights: str  # version and checksum of the networks


Entry = Added | Changed | Removed | Overlapping | Done | Opened


class EntryRecorder(Protocol):
    """Who must know of every entry before it counts, such as a journal; an error raised here prevents it."""

    def ready(self) -> None:
        """Asked before the work of a change begins."""

    def record(self, entry: Entry) -> None:
        """Told of a change that is about to be made."""


class Annotation:
    """Several objects of one volume."""

    def __init__(
        self,
        volume: Volume,
        model: LimNet | None = None,
        *,
        threads: int | None = None,
        journal: EntryRecorder | None = None,
        entries: Iterable[Entry] = (),
    ) -> None:
        """`entries` are made again first, without being recorded: how a journal brings its work back."""
        self.volume = volume
        self.model = model or load_model(threads=threads)
        self._objects: dict[int, Object] = {}
        self._overlap: Overlap = "newest"
        self._num_entries = 0
        self._num_added = 0
        self._ages: dict[Deed, int] = {}  # number of the entry that brought a prompt or round
        self._labels = LabelMap(volume.shape)
        self._journal: EntryRecorder | None = None
        self._opened: Opened | None = None
        self._restore(entries)
        self._journal = journal

    @property
    def objects(self) -> tuple[Object, ...]:
        """All objects, oldest first."""
        return tuple(self._objects.values())

    def object(self, object_id: int) -> Object:
        """The object of that id; PromptError when there is none."""
        if object_id not in self._objects:
            known = ", ".join(map(str, self._objects)) or "none"
            raise PromptError(f"object {object_id} does not exist; known: {known}")
        return self._objects[object_id]

    def add(self, name: str | None = None, colour: str | None = None) -> Object:
        """A new object; by default "Object 1" and so on, in the next colour of the palette."""
        number = self._num_added + 1
        colour = colour_of(number - 1) if colour is None else _checked_colour(colour)
        self._do(Added(number, f"Object {number}" if name is None else _checked_name(name), colour))
        return self._objects[number]

    def change(
        self,
        object_id: int,
        *,
        name: str | None = None,
        colour: str | None = None,
        locked: bool | None = None,
        visible: bool | None = None,
    ) -> Object:
        """Change what is given of an object, and leave the rest."""
        old = self.object(object_id)
        entry = Changed(
            object_id,
            name=old.name if name is None else _checked_name(name),
            colour=old.colour if colour is None else _checked_colour(colour),
            locked=old.locked if locked is None else bool(locked),
            visible=old.visible if visible is None else bool(visible),
        )
        if entry != Changed(object_id, old.name, old.colour, old.locked, old.visible):
            self._do(entry)
        return self._objects[object_id]

    def remove(self, object_id: int) -> None:
        """Remove an object and its work; its id is not given again. PromptError when it is locked."""
        self._check_lock(object_id)
        self._do(Removed(object_id))

    @property
    def overlap(self) -> Overlap:
        """Whose a voxel is that several unlocked objects claim: whose claim is "newest", or was "first"."""
        return self._overlap

    @overlap.setter
    def overlap(self, overlap: Overlap) -> None:
        if overlap not in get_args(Overlap):
            raise PromptError(f'overlap {overlap!r}: expected "newest" or "first"')
        if overlap != self._overlap:
            self._do(Overlapping(overlap))

    def labels(self) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """Every voxel's object id, 0 for none: (I, J, K), uint8, or uint16 once an id exceeds 255; a copy.

        Where objects overlap, locked ones win, of several the one whose prompt or round claimed the voxel
        last, or with `overlap` "first" first. Hidden objects count like others. Only what changed since
        the last call is looked at.
        """
        return self._labels.update([self._layer(item) for item in self.objects], self._overlap == "newest")

    def _layer(self, item: Object) -> Layer:
        return Layer(item.id, item.locked, item.session.history, self._ages.__getitem__)

    def _check_lock(self, object_id: int) -> None:
        item = self.object(object_id)
        if item.locked:
            raise PromptError(f"object {object_id} ({item.name}) is locked; unlock it first")

    def _do(self, entry: Entry) -> None:
        """Make one change: recorded first, so that what could not be recorded has not happened."""
        self._record(entry)
        self._apply(entry)

    def _record(self, entry: Entry) -> None:
        """Tell the journal, once also what its entries are made with from now on."""
        if self._journal is not None:
            opened = Opened(_version(), self.model.identity)
            if opened != self._opened:
                self._journal.record(opened)
                self._count(opened)
                self._opened = opened
            self._journal.record(entry)
        self._count(entry)

    def _count(self, entry: Entry) -> None:
        self._num_entries += 1
        if isinstance(entry, Done) and isinstance(entry.deed, Prompted | Round):
            self._ages[entry.deed] = self._num_entries

    def _restore(self, entries: Iterable[Entry]) -> None:
        """Make entries again; each object's mask only once, after all of them."""
        deeds: defaultdict[int, list[Deed]] = defaultdict(list)
        for entry in entries:
            self._count(entry)
            if isinstance(entry, Done):
                deeds[entry.object_id].append(entry.deed)
            else:
                self._apply(entry)
        for item in self.objects:
            item.session.history.apply(*deeds[item.id])

    def _apply(self, entry: Entry) -> None:
        if isinstance(entry, Done):
            self._objects[entry.object_id].session.history.apply(entry.deed)
        elif isinstance(entry, Added):
            session = Session(self.volume, self.model, recorder=_ObjectRecorder(self, entry.object_id))
            self._objects[entry.object_id] = Object(entry.object_id, entry.name, entry.colour, session)
            self._num_added = entry.object_id
        elif isinstance(entry, Changed):
            self._objects[entry.object_id] = replace(
                self._objects[entry.object_id],
                name=entry.name,
                colour=entry.colour,
                locked=entry.locked,
                visible=entry.visible,
            )
        elif isinstance(entry, Removed):
            del self._objects[entry.object_id]
        elif isinstance(entry, Overlapping):
            self._overlap = entry.overlap
        else:
            self._opened = entry


class _ObjectRecorder:
    """Tells an annotation what happens in one of its sessions, and refuses what a lock forbids."""

    def __init__(self, annotation: Annotation, object_id: int) -> None:
        self._annotation = annotation
        self._object_id = object_id

    def ready(self) -> None:
        self._annotation._check_lock(self._object_id)
        for item in self._annotation.objects:
            if item.id != self._object_id:
                item.session.forget_slices()  # one object at a time keeps them
        if self._annotation._journal is not None:
            self._annotation._journal.ready()

    def record(self, deed: Deed) -> None:
        self._annotation._check_lock(self._object_id)
        self._annotation._record(Done(self._object_id, deed))


def _version() -> str:
    from importlib.metadata import version

    return version("limnet")


def _checked_name(name: str) -> str:
    stripped = " ".join(name.split())
    if not 1 <= len(stripped) <= MAX_NAME:
        raise PromptError(f"object name {name!r}: expected 1 to {MAX_NAME} characters")
    return stripped


def _checked_colour(colour: str) -> str:
    if not re.fullmatch("#[0-9a-fA-F]{6}", colour):
        raise PromptError(f'colour {colour!r}: expected "#rrggbb"')
    return colour.lower()
