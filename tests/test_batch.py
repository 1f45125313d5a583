"""limnet batch: every case becomes a mask and a row of the summary, whatever happens to the others."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

import limnet
from batches import CORNER, LoadFakes, planned, run, script, status, summary, table, write_folders
from conftest import Ball
from doubles import FakeLimNet
from limnet.annotation import Annotation
from limnet.batch import read_table
from limnet.cli import main
from limnet.errors import WeightsError
from limnet.journal import Journal
from limnet.pool import Processes, RayCluster
from limnet.sample import sample_volume_path
from limnet.volume.exchange import read_structures

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def folders(ball: Ball, tmp_path: Path) -> Path:
    """Three volumes with a script each; and room for what comes of them."""
    return write_folders(ball, tmp_path)


def test_a_batch_writes_the_masks_that_segment_writes(
    folders: Path, ball: Ball, fake_networks: FakeLimNet
) -> None:
    words = [
        "batch",
        "--volumes",
        f"{folders}/scans",
        "--prompts",
        f"{folders}/prompts",
        "-o",
        f"{folders}/out",
    ]
    assert main(words) == 0
    single = folders / "single.nii.gz"
    assert (
        main(["segment", str(ball.volume), "-o", str(single), "--prompts", f"{folders}/prompts/a.json"]) == 0
    )
    expected = limnet.read_mask(single)
    assert expected.any()
    for name in "abc":
        made = limnet.read_volume(folders / "out" / f"{name}.nii.gz")
        assert np.array_equal(made.array, expected)
        assert np.allclose(made.affine, ball.affine)


def test_the_summary_tells_objects_rounds_and_millilitres(folders: Path) -> None:
    script(
        folders / "prompts" / "a.json",
        {"clicks": [{"index": [20, 16, 6]}, {"index": [2, 2, 2], "positive": False}]},
    )
    run(planned(folders), folders / "out")
    rows = summary(folders / "out")
    assert [row["case"] for row in rows] == ["a", "b", "c"]
    voxels = int(limnet.read_mask(folders / "out" / "a.nii.gz").sum())
    first = rows[0]
    assert (first["objects"], first["rounds"], first["status"], first["file"]) == (
        "1",
        "2",
        "done",
        "a.nii.gz",
    )
    assert float(first["ml"]) == pytest.approx(voxels * 3 / 1000, abs=1e-3)  # voxels of 1 x 1 x 3 mm
    assert float(first["seconds"]) > 0
    (item, *_) = summary(folders / "out", "objects.csv")
    assert (item["case"], item["rounds"], item["prompts"], int(item["voxels"])) == ("a", "2", "2", voxels)


def test_several_scripts_of_a_case_are_its_objects_under_their_names(folders: Path) -> None:
    (folders / "prompts" / "a.json").unlink()
    script(folders / "prompts" / "a.big.json")
    script(folders / "prompts" / "a.small.json", CORNER)
    assert run(planned(folders, "seg.nrrd"), folders / "out")["a"].status == "done"
    volume = limnet.read_volume(folders / "scans" / "a.nii.gz")
    found = read_structures(folders / "out" / "a.seg.nrrd", volume)
    assert [item.name for item in found] == ["big", "small"]
    assert found[0].colour != found[1].colour
    assert "belong to several" in summary(folders / "out")[0]["message"]  # the label map's own warning


def test_the_longest_name_that_fits_owns_a_script(folders: Path) -> None:
    shutil.copy(folders / "scans" / "a.nii.gz", folders / "scans" / "a.1.nii.gz")
    script(folders / "prompts" / "a.1.json")
    plan = planned(folders)
    assert [(case.name, case.names) for case in plan.cases][:2] == [("a", ("",)), ("a.1", ("",))]


def test_a_table_names_everything_itself(folders: Path) -> None:
    start = folders / "start.nii.gz"
    volume = limnet.read_volume(folders / "scans" / "b.nii.gz")
    mask = np.zeros(volume.shape, np.uint8)
    mask[0:3, 0:3, 0:3] = 1
    limnet.write_mask(start, mask, like=volume)
    path = table(
        folders,
        "volume,prompts,out,case,name,start\n"
        "scans/a.nii.gz,prompts/a.json;prompts/b.json,first.nrrd,one,left;right,\n"
        "\n"
        "scans/b.nii.gz,prompts/b.json,,,lesion,start.nii.gz\n",
    )
    assert status(run(read_table(path, "mha"), folders / "out")) == {"b": "done", "one": "done"}
    named = read_structures(
        folders / "out" / "first.nrrd", limnet.read_volume(folders / "scans" / "a.nii.gz")
    )
    assert [item.name for item in named] == ["left", "right"]
    (lesion,) = read_structures(folders / "out" / "b.mha", volume)
    assert lesion.name == "lesion"
    assert lesion.mask[1, 1, 1], "what it started from is part of it"
    assert lesion.mask[20, 16, 6]


def test_a_journal_is_prompted_again_or_taken_as_it_is(ball: Ball, tmp_path: Path) -> None:
    journal, volume = tmp_path / "ball.limnet", limnet.read_volume(ball.volume)
    with Journal.create(journal, volume) as opened:
        work = Annotation(volume, LoadFakes()(1), journal=opened)
        session = work.add("ball", "#123456").session
        session.click((20, 16, 6))
        session.propagate()
        drawn = np.zeros(volume.shape, bool)
        drawn[:4, :4, :4] = True
        work.add("drawn").session.start_from(drawn)
        expected = session.mask.copy()
    path = table(tmp_path, "volume,prompts,out\nball.nii.gz,ball.limnet,ball.seg.nrrd\n")
    for how in (False, True):
        out = tmp_path / f"out-{how}"
        assert status(run(read_table(path), out, restore=how)) == {"ball": "done"}
        ball_now, drawn_now = read_structures(out / "ball.seg.nrrd", volume)
        assert (ball_now.name, ball_now.colour) == ("ball", "#123456")
        assert np.array_equal(ball_now.mask, expected != 0)
        assert np.array_equal(drawn_now.mask, drawn)
        assert status(run(read_table(path), out, restore=how)) == {"ball": "kept"}, "opening changed nothing"


def test_a_case_that_fails_stops_no_other_and_is_a_row(
    folders: Path, capsys: Capture, fake_networks: FakeLimNet
) -> None:
    script(folders / "prompts" / "a.json", {"clicks": [{"index": [900, 0, 0]}]})
    (folders / "scans" / "b.nii.gz").write_bytes(b"\x1f\x8b truncated")
    script(folders / "prompts" / "lonely.json")
    shutil.copy(folders / "scans" / "c.nii.gz", folders / "scans" / "unclicked.nii.gz")
    words = [
        "batch",
        "--volumes",
        f"{folders}/scans",
        "--prompts",
        f"{folders}/prompts",
        "-o",
        f"{folders}/out",
    ]
    assert main(words) == 1
    told = {row["case"]: row for row in summary(folders / "out")}
    assert {name: row["status"] for name, row in told.items()} == {
        "a": "failed",
        "b": "failed",
        "c": "done",
        "lonely": "failed",
        "unclicked": "failed",
    }
    assert "outside the volume" in told["a"]["message"]
    assert "no volume of that name" in told["lonely"]["message"]
    assert "no prompts of that name" in told["unclicked"]["message"]
    printed = capsys.readouterr()
    assert printed.err.count("limnet: failed: ") == 4
    assert "done 1, kept 0, failed 4, not run 0" in printed.out
    assert not list((folders / "out").glob("[ab].*")), "nothing half-written"


def test_a_case_that_fails_again_says_that_its_old_result_is_still_there(folders: Path) -> None:
    run(planned(folders), folders / "out")
    script(folders / "prompts" / "a.json", {"clicks": [{"index": [900, 0, 0]}]})
    row = run(planned(folders), folders / "out")["a"]
    assert row.status == "failed"
    assert row.message.endswith("the result of an earlier run is still there")


def test_an_empty_mask_is_done_but_told(folders: Path) -> None:
    volume = limnet.read_volume(folders / "scans" / "a.nii.gz")
    dark = np.zeros(volume.shape, np.uint8)
    dark[0, 0, 0] = 1
    limnet.write_mask(folders / "scans" / "a.nii.gz", dark, like=volume)
    clicks = [{"index": [20, 16, 6]}, {"index": [20, 16, 6], "positive": False}]
    script(folders / "prompts" / "a.json", {"clicks": clicks})
    for form in ("nii.gz", "seg.nrrd"):
        row = run(planned(folders, form), folders / form)["a"]
        assert (row.status, row.objects[0].voxels) == ("done", 0)
        assert "Object 1 is empty" in row.message
        assert not limnet.read_mask(folders / form / f"a.{form}").any()


def test_a_worker_that_dies_fails_its_case_alone(folders: Path) -> None:
    mark = folders / "die"
    mark.touch()
    rows = run(planned(folders), folders / "out", pool=Processes(LoadFakes(mark), workers=1))
    assert status(rows) == {"a": "failed", "b": "done", "c": "done"}
    assert rows["a"].message == "its worker process ended with exit code 3"
    assert [row["status"] for row in summary(folders / "out")] == ["failed", "done", "done"]
    again = run(planned(folders), folders / "out", pool=Processes(LoadFakes(mark), workers=2))
    assert status(again) == {"a": "done", "b": "kept", "c": "kept"}


def test_two_workers_write_what_one_process_writes(folders: Path) -> None:
    run(planned(folders), folders / "one")
    run(planned(folders), folders / "two", pool=Processes(LoadFakes(), workers=2))
    for name in "abc":
        one, two = (limnet.read_volume(folders / of / f"{name}.nii.gz") for of in ("one", "two"))
        assert np.array_equal(one.array, two.array)
    rows = [[{**row, "seconds": ""} for row in summary(folders / of)] for of in ("one", "two")]
    assert rows[0] == rows[1]


def test_without_networks_nothing_runs(folders: Path) -> None:
    with pytest.raises(WeightsError, match="no weights here"):
        run(planned(folders), folders / "out", pool=Processes(LoadFakes(fatal=True), workers=1))
    assert [row["status"] for row in summary(folders / "out")] == ["not run"] * 3


@pytest.mark.parametrize("form", ["seg.dcm", "labelmap.dcm", "rtstruct.dcm"])
def test_dicom_in_gives_dicom_out(ball: Ball, tmp_path: Path, form: str) -> None:
    pytest.importorskip("highdicom")
    from dicom_files import write_series

    volume = limnet.read_volume(ball.volume)
    write_series(tmp_path / "scans" / "P1", volume.array, volume.affine)
    scan = limnet.read_volume(tmp_path / "scans" / "P1")
    script(
        tmp_path / "prompts" / "P1.json", {"clicks": [{"index": np.argwhere(scan.array > 900)[0].tolist()}]}
    )
    path = table(tmp_path, "volume,prompts,anatomy\nscans/P1,prompts/P1.json,liver\n")
    rows = run(read_table(path, form), tmp_path / "out")
    assert rows["P1"].status == "done", rows["P1"].message
    (liver,) = read_structures(tmp_path / "out" / f"P1.{form}", scan)
    assert liver.name == "liver"
    assert int(liver.block.sum()) == rows["P1"].objects[0].voxels
    assert status(run(read_table(path, form), tmp_path / "out")) == {"P1": "kept"}


def test_dicom_out_of_a_conversion_refers_to_the_series_that_is_named(ball: Ball, tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    from dicom_files import write_series

    volume = limnet.read_volume(ball.volume)
    write_series(tmp_path / "series", volume.array, volume.affine)
    script(tmp_path / "a.json")
    rows = run(
        read_table(table(tmp_path, "volume,prompts\nball.nii.gz,a.json\n"), "seg.dcm"), tmp_path / "no"
    )
    assert rows["ball"].status == "failed"
    path = table(tmp_path, "volume,prompts,dicom\nball.nii.gz,a.json,series\n")
    rows = run(read_table(path, "seg.dcm"), tmp_path / "out")
    assert rows["ball"].status == "done", rows["ball"].message
    scan = limnet.read_volume(tmp_path / "series")
    (found,) = read_structures(tmp_path / "out" / "ball.seg.dcm", scan)
    assert int(found.block.sum()) == rows["ball"].objects[0].voxels


def test_a_series_of_several_is_chosen_by_its_column(ball: Ball, tmp_path: Path) -> None:
    from dicom_files import write_series

    volume = limnet.read_volume(ball.volume)
    for uid in ("1.2.3", "1.2.4"):
        write_series(tmp_path / "study" / uid, volume.array, volume.affine, series=uid, study="1.2")
    script(tmp_path / "a.json")
    text = "case,volume,prompts,series\none,study,a.json,1.2.4\nnone,study,a.json,\n"
    rows = run(read_table(table(tmp_path, text)), tmp_path / "out")
    assert status(rows) == {"none": "failed", "one": "done"}
    assert "series" in rows["none"].message


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_a_ray_instance_writes_what_one_process_writes(folders: Path) -> None:
    ray = pytest.importorskip("ray")
    environment = {"env_vars": {"PYTHONPATH": str(Path(__file__).parent)}}
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=environment)
    mark = folders / "die"
    mark.touch()
    try:
        first = run(planned(folders), folders / "ray", pool=RayCluster(LoadFakes(mark), workers=1))
        again = run(planned(folders), folders / "ray", pool=RayCluster(LoadFakes(), workers=2))
    finally:
        ray.shutdown()
    assert status(first) == {"a": "failed", "b": "done", "c": "done"}
    assert first["a"].message.startswith("its Ray worker died")
    assert status(again) == {"a": "done", "b": "kept", "c": "kept"}
    run(planned(folders), folders / "one")
    for name in "abc":
        one, two = (limnet.read_volume(folders / of / f"{name}.nii.gz") for of in ("one", "ray"))
        assert np.array_equal(one.array, two.array)


def test_the_example_of_the_document_runs_and_prints_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """On the shipped networks; seconds and millilitres are this machine's and these networks'."""
    text = (Path(__file__).parents[1] / "docs" / "batch.md").read_text(encoding="utf-8")

    def blocks(language: str) -> list[str]:
        return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)

    monkeypatch.chdir(tmp_path)
    (tmp_path / "table.csv").write_text(blocks("csv")[0], encoding="utf-8")
    first, second = blocks("json")
    for name, content in (("P1", first), ("P2", first), ("P2b", second)):
        (tmp_path / "prompts").mkdir(exist_ok=True)
        (tmp_path / "prompts" / f"{name}.json").write_text(content, encoding="utf-8")
    (tmp_path / "scans").mkdir()
    for name in ("P1", "P2"):
        shutil.copy(sample_volume_path(), tmp_path / "scans" / f"{name}.nrrd")
    command = blocks("console")[0].splitlines()[0].removeprefix("$ limnet ")
    assert main(shlex.split(command)) == 0
    (said,) = blocks("text")

    def told(words: str) -> list[list[str]]:
        lines = [line.split() for line in words.splitlines()]
        return [[*line[:3], *line[5:]] if line[0] in ("P1", "P2") else line for line in lines]

    assert told(capsys.readouterr().out) == told(said)
    assert [row["name"] for row in summary(tmp_path / "masks", "objects.csv")] == [
        "tumour",
        "tumour",
        "ventricle",
    ]
