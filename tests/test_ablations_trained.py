"""Trainings without one part: each differs from the one it is compared with in that part alone."""
# torch is optional: the imports below come after the check for it

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("torch")

from limnet.model import load_model


@pytest.fixture
def ablations(benchmark_script: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_script("ablations")


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("without-shapes", {"data"}),
        ("without-label-maps", {"clip"}),
        ("without-real-images", {"clip"}),
        ("without-supervoxels", {"data"}),
        ("without-imagenet", {"start"}),
        ("width-0.5", {"start", "width"}),
        ("memory-without-early-fusion", {"memory"}),
    ],
)
def test_a_variant_changes_its_part_alone(ablations: ModuleType, name: str, changed: set[str]) -> None:
    variant = ablations.VARIANTS[name]
    base = ablations.VARIANTS["all" if variant.network == "interaction" else "memory"]
    one, other = (ablations.recipe_of(v, Path("runs")) for v in (base, variant))
    assert {f.name for f in fields(one) if getattr(one, f.name) != getattr(other, f.name)} == changed
    assert one.steps > 0


def test_the_installed_weights_can_read_another_number_of_elements(
    ablations: ModuleType, tmp_path: Path
) -> None:
    ablations.read_top("top-5", tmp_path)
    weights = tmp_path / "top-5" / "weights"
    assert load_model(weights).manifest.version.endswith("-top-5")
    assert ablations.exported_networks(str(weights), Path()).memory.config.top_k == 5
