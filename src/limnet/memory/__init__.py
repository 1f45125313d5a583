"""Stage 2: a prompt mask is carried through the volume (paper: Memory Model)."""

from limnet.memory.bank import BankConfig, MemoryBank
from limnet.memory.propagate import SliceMask, Slices, sweep_one_way

__all__ = ["BankConfig", "MemoryBank", "SliceMask", "Slices", "sweep_one_way"]
