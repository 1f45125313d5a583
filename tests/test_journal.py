"""The journal: what was acknowledged is on disk, and comes back bit for bit or with a clear refusal."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from doubles import WilfulLimNet, box_volume, volume_of
from limnet.annotation import Annotation, Done
from limnet.errors import JournalError
from limnet.fusion import Change, Round
from limnet.history import Prompted
from limnet.journal import Journal, recompute, voxels_sha256
from limnet.journal.store import FORMAT, Row, Store
from limnet.lens import lens_at, plane_of
from limnet.prompt import Click
from limnet.session import Session
from limnet.view import whole_view
from limnet.volume import Volume
from test_session_prompts import SHAPE, moves, play


def noise() -> Volume:
    return volume_of(np.random.default_rng(0).integers(0, 100, SHAPE).astype(np.int16), (1, 1, 2))


def started(path: Path, volume: Volume) -> Annotation:
    return Annotation(volume, WilfulLimNet(), journal=Journal.create(path, volume))


def restored(path: Path, volume: Volume) -> Annotation:
    """The work in a journal; the file is let go of."""
    with Journal.open(path) as journal:
        return journal.restore(volume, WilfulLimNet())


def facts(work: Annotation) -> list[Any]:
    """All that a user can see of an annotation."""
    found: list[Any] = [work.overlap, work.labels().tobytes()]
    for item in work.objects:
        session = item.session
        done = (*session.rounds, *session.undone_rounds)
        found += [item.id, item.name, item.colour, item.locked, item.visible]
        found += [session.mask.tobytes(), session.prompts, session.pending, session.axis, session.can_redo]
        found += [len(session.rounds), session.quality.tobytes(), session.suggest_slice()]
        found += [[getattr(r, name).tobytes() for r in done] for name in ("provenance", "carried", "swept")]
        found += [[(r.prompts, r.axis, r.change, r.lens.view, r.lens.tone.table.tobytes()) for r in done]]
    return [[str(part)] if isinstance(part, list) else part for part in found]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "work.limnet"


@pytest.fixture
def clicked(path: Path) -> Iterator[Annotation]:
    """An annotation of box_volume() with one round and one pending click, still open."""
    work = started(path, box_volume())
    session = work.add("box").session
    session.click((12, 12, 8))
    session.propagate()
    session.click((12, 12, 4))
    yield work
    work._journal.close()  # type: ignore[union-attr]


def close(work: Annotation) -> Annotation:
    work._journal.close()  # type: ignore[union-attr]
    return work


programs = st.lists(st.tuples(st.integers(1, 3), moves), min_size=1, max_size=10)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program=programs, seed=st.integers(0, 10**9))
def test_everything_comes_back_bit_for_bit(
    tmp_path: Path, program: list[tuple[int, tuple[str, Any]]], seed: int
) -> None:
    path = tmp_path / f"{seed}-{time.monotonic_ns()}.limnet"
    work = started(path, noise())
    for _ in range(3):
        work.add()
    for number, move in program:
        play(work.object(number).session, move)
    work.change(2, name="liver", locked=True, visible=False)
    work.overlap = "first"
    work.remove(3)
    close(work)
    assert facts(restored(path, noise())) == facts(work)


def test_what_is_restored_goes_on_as_if_nothing_had_been(path: Path, clicked: Annotation) -> None:
    again = restored(path, box_volume()) if close(clicked) else None
    assert again is not None
    for work in (clicked, again):
        work.object(1).session.history.apply(work.object(1).session.history.pending[-1])
    masks = [
        Session.click(recompute(work.object(1).session), (10, 10, 6)).tobytes() for work in (clicked, again)
    ]
    assert masks[0] == masks[1]


def test_what_is_done_after_a_restart_comes_back_too(path: Path, clicked: Annotation) -> None:
    close(clicked)
    with Journal.open(path) as journal:
        work = journal.restore(box_volume(), WilfulLimNet())
        work.object(1).session.undo()
        work.object(1).session.undo()
        work.object(1).session.redo()
        work.add("second")
    assert facts(restored(path, box_volume())) == facts(work)


def test_restoring_runs_no_network(path: Path, clicked: Annotation) -> None:
    class Dead(WilfulLimNet):
        def __getattribute__(self, name: str) -> Any:
            assert name in ("identity", "manifest", "__class__"), name
            return super().__getattribute__(name)

    close(clicked)
    with Journal.open(path) as journal:
        assert journal.restore(box_volume(), Dead()).object(1).session.mask.any()


def test_slices_encoded_through_one_lens_share_it_after_a_restart(path: Path, clicked: Annotation) -> None:
    close(clicked)
    history = restored(path, box_volume()).object(1).session.history
    before = clicked.object(1).session.history
    assert before.rounds[0].lens is before.pending[0].lens
    assert history.rounds[0].lens is history.pending[0].lens


# Refusals


def test_a_second_one_to_open_a_journal_is_refused(path: Path, clicked: Annotation) -> None:
    with pytest.raises(JournalError, match="is open elsewhere; close it there first"):
        Journal.open(path)


def test_another_process_is_refused_while_it_is_open(path: Path, clicked: Annotation) -> None:
    code = f"from limnet.journal import Journal; Journal.open({str(path)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "is open elsewhere" in done.stderr.splitlines()[-1]


def test_a_path_that_is_taken_is_refused(path: Path, clicked: Annotation) -> None:
    with pytest.raises(JournalError, match="exists already"):
        Journal.create(path, box_volume())


def test_a_journal_that_is_not_there_is_named(path: Path) -> None:
    with pytest.raises(JournalError, match=r"work\.limnet: no such journal"):
        Journal.open(path)


@pytest.mark.parametrize(
    ("volume", "expected"),
    [
        (box_volume(low=(7, 8, 4)), "has other voxels"),
        (box_volume(spacing=(1, 1, 3)), "has another affine"),
        (box_volume(shape=(25, 24, 16)), r"has shape \(25, 24, 16\) instead of \(24, 24, 16\)"),
        (Volume(box_volume().array.astype(np.int32), box_volume().affine), "type int32 instead of int16"),
    ],
    ids=["voxels", "affine", "shape", "type"],
)
def test_another_volume_is_refused(path: Path, clicked: Annotation, volume: Volume, expected: str) -> None:
    close(clicked)
    with pytest.raises(JournalError, match=expected):
        restored(path, volume)


def test_a_newer_format_is_refused(path: Path, clicked: Annotation) -> None:
    close(clicked)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {FORMAT + 1}")
    with pytest.raises(JournalError, match=f"journal format {FORMAT + 1}, this version knows up to {FORMAT}"):
        Journal.open(path)


def test_another_database_is_no_journal(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE entry (number, digest)")
    with pytest.raises(JournalError, match="not a journal of limnet"):
        Journal.open(path)


@pytest.mark.parametrize("content", [b"", b"not a database at all" * 400])
def test_what_is_no_database_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(JournalError, match=str(path)):
        Journal.open(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_journal_is_refused_and_left_alone(path: Path, clicked: Annotation, share: float) -> None:
    close(clicked)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    before = path.read_bytes()
    with pytest.raises(JournalError, match=r"is damaged|is not a journal"):
        restored(path, box_volume())
    assert path.read_bytes() == before


def test_whatever_bit_is_flipped_nothing_wrong_comes_back(path: Path, clicked: Annotation) -> None:
    """Refused, or right all the same where the bit meant nothing."""
    expected = facts(close(clicked))
    whole = path.read_bytes()
    num_refused = 0
    for place in np.random.default_rng(0).integers(0, len(whole), 60):
        damaged = bytearray(whole)
        damaged[place] ^= 0x10
        path.write_bytes(damaged)
        try:
            assert facts(restored(path, box_volume())) == expected
        except JournalError:
            num_refused += 1
    assert num_refused >= 10


def test_rows_can_be_neither_changed_nor_removed(path: Path, clicked: Annotation) -> None:
    close(clicked)
    with closing(sqlite3.connect(path)) as connection:
        for change in ("UPDATE entry SET kind = 'x'", "DELETE FROM entry"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(change)


def test_a_closed_journal_refuses_and_nothing_changes(clicked: Annotation) -> None:
    close(clicked)
    session = clicked.object(1).session
    before = facts(clicked)
    for ask in (lambda: session.click((12, 12, 5)), session.propagate, session.undo, clicked.add):
        with pytest.raises(JournalError, match="is closed"):
            ask()
    assert facts(clicked) == before


# A full disk


def limit(work: Annotation, pages: int | None) -> None:
    """Let the file grow by so many pages and no more."""
    connection = work._journal._store._connection  # type: ignore[union-attr]
    (now,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {2**30 if pages is None else now + pages}")


def test_on_a_full_disk_a_change_is_refused_and_memory_equals_disk(path: Path, clicked: Annotation) -> None:
    session = clicked.object(1).session
    limit(clicked, 0)
    painted = np.random.default_rng(0).random((24, 24)) > 0.5
    with pytest.raises(JournalError, match="full"):
        for _ in range(100):
            session.paint(painted, 6)
    before = facts(clicked)
    copied = path.with_name("copy.limnet")
    for ending in ("", "-wal"):
        shutil.copy(f"{path}{ending}", f"{copied}{ending}")
    assert facts(restored(copied, box_volume())) == before


def test_once_there_is_room_again_work_goes_on(path: Path, clicked: Annotation) -> None:
    session = clicked.object(1).session
    limit(clicked, 0)
    with pytest.raises(JournalError):
        for _ in range(100):
            session.paint(np.random.default_rng(0).random((24, 24)) > 0.5, 6)
    limit(clicked, None)
    session.click((12, 12, 6))
    session.propagate()
    close(clicked)
    assert facts(restored(path, box_volume())) == facts(clicked)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match=r"file/work\.limnet"):
        Journal.create(tmp_path / "file" / "work.limnet", box_volume())
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_rows_written_together_are_there_together_or_not_at_all(path: Path) -> None:
    store = Store.create(path, [Row(0, "first", "{}")])
    with pytest.raises(OverflowError):  # what SQLite cannot hold
        store.append([Row(1, "second", "{}"), Row(2**70, "third", "{}")])
    assert [stored.row.kind for stored in store.rows()] == ["first"]
    store.append([Row(1, "third", "{}")])
    assert [stored.number for stored in store.rows()] == [1, 2]
    store.close()


# The volume


def test_the_checksum_of_a_volume_is_that_of_its_bytes_as_nifti_stores_them() -> None:
    import hashlib

    volume = noise()
    expected = hashlib.sha256(volume.array.astype("<i2").tobytes(order="F")).hexdigest()
    assert voxels_sha256(volume) == expected
    swapped = Volume(np.asfortranarray(volume.array.astype(">i2")), volume.affine)
    assert voxels_sha256(swapped) == expected


# Speed


@pytest.mark.slow
def test_a_thousand_entries_of_a_large_volume_are_back_in_two_seconds(path: Path) -> None:
    """512 x 512 x 300 voxels, 500 clicks and 500 rounds between two balls of radius 50 that overlap.

    Counted is the processor's time: other work on the machine does not make the test fail.
    """
    volume = volume_of(np.zeros((512, 512, 300), np.uint8), (0.8, 0.8, 1.5))
    lens = lens_at(volume, 2, 150, whole_view(plane_of(volume, 2), 32))
    balls = [
        ((np.indices((120, 110, 110)).T - (middle, 55, 55)) ** 2).sum(-1).T <= 50**2 for middle in (55, 63)
    ]
    changes = [Change.of((200, 200, 100), flipped) for flipped in (balls[0], balls[0] ^ balls[1])]
    known, unknown = np.zeros(300, np.int16), np.full(300, np.nan, np.float32)
    slice_mask = np.zeros((512, 512), bool)
    slice_mask[200:300, 200:300] = True
    with Journal.create(path, volume) as journal:
        Annotation(volume, WilfulLimNet(), journal=journal).add()
        for number in range(500):
            click = Click((250, 250, 110 + number % 80))
            journal.record(Done(1, Prompted(2, click, slice_mask, lens)))
            change = changes[min(number, 1)]
            journal.record(Done(1, Round(2, (click,), change, known, known, unknown, known == 0, lens)))
    before = time.process_time()
    history = restored(path, volume).object(1).session.history
    assert time.process_time() - before < 2
    assert len(history.rounds) == 500
    assert np.array_equal(history.part((200, 200, 100), (320, 310, 210)) > 0, balls[1])  # after an odd number


def test_a_lens_is_stored_once(path: Path, clicked: Annotation) -> None:
    session = clicked.object(1).session
    for k in (5, 6, 7):
        session.click((12, 12, k))
    lenses = {id(item.lens) for item in (*session.history.pending, *session.rounds)}
    close(clicked)
    with closing(sqlite3.connect(path)) as connection:
        (stored,) = connection.execute("SELECT count(*) FROM entry WHERE kind = 'lens'").fetchone()
    assert stored == len(lenses) < 4


def test_seconds_of_a_round_are_kept(path: Path, clicked: Annotation) -> None:
    seconds = clicked.object(1).session.rounds[0].seconds
    close(clicked)
    assert restored(path, box_volume()).object(1).session.rounds[0].seconds == pytest.approx(
        seconds, abs=1e-6
    )
    assert replace(clicked.object(1).session.rounds[0], seconds=1.0).seconds == 1.0


def test_a_journal_tells_which_networks_and_version_made_what(path: Path, clicked: Annotation) -> None:
    class Newer(WilfulLimNet):
        identity = "9.9.9-newer"

    close(clicked)
    with Journal.open(path) as journal:
        work = journal.restore(box_volume(), Newer())
        work.add()
        work.add()
    with closing(sqlite3.connect(path)) as connection:
        kinds = [kind for (kind,) in connection.execute("SELECT kind FROM entry ORDER BY number")]
        told = connection.execute("SELECT json_extract(body, '$.weights') FROM entry WHERE kind = 'opened'")
        assert [weights for (weights,) in told] == ["0.0.0-fake", "9.9.9-newer"]
    assert kinds[-3:] == ["opened", "added", "added"]
