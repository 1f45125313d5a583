"""A volume: a 3D array and the place of its voxels in the patient."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limnet.errors import GeometryError, VolumeError
from limnet.volume.geometry import Affine, Shape, checked_affine, orientation_of, spacing_of, sweep_axis_of


@dataclass(frozen=True, eq=False)
class Volume:
    """A 3D array and its affine; never half valid.

    `array` is (I, J, K), bool, integer or float, in the index order of NIfTI and ITK, or (I, J, K, 3) uint8
    for RGB. VolumeError when it is not, GeometryError when the affine is not 4 x 4, finite and invertible.
    Two volumes are equal only when they are the same object.
    """

    array: NDArray[Any]  # (I, J, K) or (I, J, K, 3)
    affine: Affine  # (4, 4) float64, voxel index -> world, mm, RAS+; read-only
    source: str = "volume"  # names it in messages: the path it was read from
    nifti_header: bytes = field(default=b"", repr=False)  # as it was read: its masks copy sform and qform
    frame_of_reference: str = field(default="", repr=False)  # of DICOM: masks drawn in another do not fit

    def __post_init__(self) -> None:
        array, rgb = self.array, self.array.ndim == 4
        if array.ndim not in (3, 4) or (rgb and (array.shape[3] != 3 or array.dtype != np.uint8)):
            raise VolumeError(
                f"{self.source}: array of shape {array.shape} and type {array.dtype},"
                f" must be (I, J, K) or, for RGB, (I, J, K, 3) uint8"
            )
        if array.dtype.kind not in "biuf":
            raise VolumeError(f"{self.source}: voxels of type {array.dtype}, must be integers or floats")
        if array.size == 0:
            raise VolumeError(f"{self.source}: shape {array.shape} holds no voxel; every length must be >= 1")
        object.__setattr__(self, "affine", checked_affine(self.affine, self.source))

    @property
    def shape(self) -> Shape:
        """(I, J, K): the three spatial lengths, for RGB too."""
        i, j, k = self.array.shape[:3]
        return i, j, k

    @property
    def is_rgb(self) -> bool:
        """True when every voxel holds red, green and blue."""
        return self.array.ndim == 4

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Edge lengths of a voxel in mm, order (i, j, k)."""
        return spacing_of(self.affine)

    @property
    def orientation(self) -> tuple[str, str, str]:
        """Anatomical axis codes, e.g. ('R', 'A', 'S'): where i, j and k grow to."""
        return orientation_of(self.affine)

    @property
    def sweep_axis(self) -> int:
        """The axis slices are cut along by default: see `geometry.sweep_axis_of`."""
        return sweep_axis_of(self.shape, self.spacing)

    def in_plane_spacing(self, axis: int) -> tuple[float, float]:
        """Pixel edge lengths in mm of a slice cut along `axis`, in the order of its (H, W)."""
        height, width = (edge for n, edge in enumerate(self.spacing) if n != self._checked(axis))
        return height, width

    def slice_at(self, axis: int, index: int) -> NDArray[Any]:
        """The slice `index` along `axis`, a view: (H, W), or (H, W, 3) for RGB.

        The two other axes keep their order: (J, K), (I, K) or (I, J). GeometryError when it does not exist.
        """
        length = self.shape[self._checked(axis)]
        if not 0 <= index < length:
            raise GeometryError(f"{self.source}: slice {index} along axis {axis} must be 0 to {length - 1}")
        view: NDArray[Any] = self.array[(slice(None),) * axis + (index,)]
        return view

    def with_array(self, array: NDArray[Any]) -> Volume:
        """The same place in space around another array: how a mask gets its affine.

        `array` is (I, J, K) of this volume's shape, or (I, J, K, 3) uint8; GeometryError otherwise.
        """
        if array.shape not in (self.shape, (*self.shape, 3)):
            raise GeometryError(
                f"array of shape {array.shape} cannot take the geometry of {self.source},"
                f" whose shape is {self.shape}; resample it to that grid first"
            )
        return replace(self, array=array)

    def _checked(self, axis: int) -> int:
        if axis not in (0, 1, 2):
            raise GeometryError(f"axis {axis!r} must be 0, 1 or 2: the position in (i, j, k)")
        return axis
