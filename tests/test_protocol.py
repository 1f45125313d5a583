"""Protocols: those that are shipped, those of one's own, and the sets they find."""

from __future__ import annotations

from pathlib import Path

import pytest

from fill_session import write_case
from limnet.errors import CaseError, ConfigError
from limnet.evaluation import (
    EfficiencySettings,
    Protocol,
    SetSettings,
    data_folder,
    entries_for,
    find_sets,
    protocol_label,
    protocol_names,
    read_protocol,
)
from limnet.evaluation.entry import known_methods

NAMES = ("btcv", "cvpr25", "efficiency", "endovis18", "panel", "rounds", "table1")


def shipped(name: str) -> Protocol:
    found = read_protocol(name)
    assert isinstance(found, Protocol)
    return found


def test_these_protocols_are_shipped() -> None:
    assert protocol_names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_shipped_protocol_names_methods_that_there_are(name: str) -> None:
    found = read_protocol(name)
    assert found.title
    if isinstance(found, Protocol):
        assert set(found.methods) <= set(known_methods())
        assert found.sets


def test_the_panel_is_six_rounds_with_and_without_fusion_beside_three_baselines() -> None:
    panel = shipped("panel")
    assert (panel.rounds, panel.cap, panel.fusion) == (6, 15, (True, False))
    assert panel.methods == ("limnet", "random-walker", "geodesic", "grow")


def test_table_1_is_six_rounds_on_organ_tumour_lung_and_colon() -> None:
    table1 = shipped("table1")
    assert table1.rounds == 6
    assert [(item.name, item.layout, item.ids) for item in table1.sets] == [
        ("KiTS19 organ", "kits", (1,)),
        ("KiTS19 tumour", "kits", (2,)),
        ("MSD lung", "msd", (1,)),
        ("MSD colon", "msd", (1,)),
    ]


def test_the_rounds_are_fifteen_on_the_sets_of_table_1() -> None:
    rounds = shipped("rounds")
    assert (rounds.rounds, rounds.fusion) == (15, (True, False))
    assert rounds.sets == shipped("table1").sets


def test_video_is_prompted_where_an_object_appears() -> None:
    assert shipped("endovis18").first == "first-slice"


def test_the_challenge_is_five_clicks_of_its_own_user() -> None:
    assert (shipped("cvpr25").rounds, shipped("cvpr25").user) == (5, "cvpr25")


def test_efficiency_is_a_protocol_of_its_own_kind() -> None:
    assert isinstance(read_protocol("efficiency"), EfficiencySettings)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tabel1", "no protocol is called 'tabel1'; did you mean 'table1'?"),
        ("x", "known: btcv, cvpr25, efficiency, endovis18, panel, rounds, table1"),
        ("nowhere.toml", "nowhere.toml: no such recipe"),
    ],
)
def test_a_protocol_that_is_not_there_names_those_that_are(name: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_protocol(name)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rounds = 0", "rounds must be at least 1"),
        ("rounds = 3\ncap = 2", "cap must be at least rounds"),
        ("round = 3", "did you mean 'rounds'?"),
        ('user = "center"', "no simulated user is called 'center'"),
        ('first = "last"', "first 'last' is not known"),
        ("methods = []", "must name at least one each"),
        ('[[sets]]\nname = "a"\nlayout = "dicom"', "no layout is called 'dicom'; known: "),
        ('[[sets]]\nname = "a"\nids = [0]', "ids must be 1 or more"),
        ('[[sets]]\nname = "a"\nmin_ml = -1', "min_ml must not be negative"),
        ('[[sets]]\nname = "a"\n[[sets]]\nname = "a"', "named twice"),
        ('kind = "efficiency"\nthreads = [0]', "threads must be one or more numbers from 1 on"),
        ('kind = "efficiency"\nrepeats = 0', "repeats must be at least 1"),
    ],
)
def test_a_malformed_protocol_is_told_in_one_line(text: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_protocol(str(tmp_path / "own.toml"))
    assert expected in str(caught.value)
    assert "own.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rows_bear_the_name_of_the_file() -> None:
    assert [protocol_label(name) for name in ("panel", "some/folder/mine.toml")] == ["panel", "mine"]


def test_the_panel_lies_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNET_PANEL", str(tmp_path))
    assert data_folder(shipped("panel"), None) == tmp_path
    assert data_folder(shipped("panel"), Path("given")) == Path("given")


def test_data_that_nobody_named_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIMNET_PANEL", raising=False)
    with pytest.raises(ConfigError, match="give --data DIR or set LIMNET_PANEL"):
        data_folder(shipped("panel"), None)
    with pytest.raises(ConfigError, match="a folder that holds kits19, Task06_Lung, Task10_Colon"):
        data_folder(shipped("table1"), None)


# ── sets ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Sets one and two of two cases each."""
    for set_name in ("two", "one"):
        for case in ("a", "b"):
            write_case(tmp_path / "data", case, set_name)
    return tmp_path / "data"


def test_a_set_that_is_absent_is_named_and_the_others_are_found(root: Path) -> None:
    protocol = Protocol(sets=(SetSettings(name="one", ids=(2,)), SetSettings(name="gone")))
    found, absent = find_sets(protocol, root, limit=1)
    assert [(item.name, item.ids, [case.name for case in item.cases]) for item in found] == [
        ("one", (2,), ["a"])
    ]
    assert [item.set_name for item in absent] == ["gone"]
    assert str(root / "gone") in absent[0].reason


def test_other_sets_are_taken_whole_in_order_of_names(root: Path) -> None:
    protocol = Protocol(sets=(SetSettings(name="two", min_ml=5.0),), other_sets=True)
    found, _ = find_sets(protocol, root)
    assert [(item.name, item.min_ml) for item in found] == [("one", 0.0), ("two", 5.0)]


def test_a_set_may_bear_another_name_than_its_folder(root: Path) -> None:
    (found,), _ = find_sets(Protocol(sets=(SetSettings(name="Blocks", folder="one"),)), root)
    assert found.name == "Blocks"


def test_a_set_whose_labels_are_lost_is_a_failure_not_an_absence(root: Path) -> None:
    for path in (root / "one" / "labels").iterdir():
        path.unlink()
    found, absent = find_sets(Protocol(sets=(SetSettings(name="one"), SetSettings(name="two"))), root)
    assert absent == []
    assert [(item.name, len(item.cases), len(item.failures)) for item in found] == [
        ("one", 0, 1),
        ("two", 2, 0),
    ]


def test_no_set_at_all_says_where_each_belongs(tmp_path: Path) -> None:
    with pytest.raises(CaseError) as caught:
        find_sets(shipped("table1"), tmp_path)
    for words in ("kits19", "Task06_Lung", "Task10_Colon"):
        assert str(tmp_path / words) in str(caught.value)
    assert "\n" not in str(caught.value)


# ── entries ──────────────────────────────────────────────────────────────────────────────────────────────


def test_limnet_enters_with_and_without_fusion_and_others_once() -> None:
    found = entries_for(("limnet", "grow"), Protocol().settings("own"), fusion=(True, False), identity="1.0")
    assert [(entry.settings.method, entry.settings.fusion) for entry in found] == [
        ("limnet 1.0", True),
        ("limnet 1.0", False),
        ("grow", False),
    ]


def test_a_method_that_is_none_names_those_that_are() -> None:
    with pytest.raises(ConfigError, match="no method is called 'snake'; known: limnet, "):
        entries_for(("snake",), Protocol().settings("own"))


def test_nninteractive_asks_for_its_weights() -> None:
    with pytest.raises(ConfigError, match="give --nninteractive DIR"):
        entries_for(("nninteractive",), Protocol().settings("own"))
