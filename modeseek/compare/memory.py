"""The largest memory while something runs."""

from __future__ import annotations

from pathlib import Path

import torch

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Peak:
    """Counts from its making: on CUDA what torch has allocated, else the process's resident memory (Linux only).

    Linux forgets the older peak when 5 is written to ``clear_refs``; elsewhere the peak of one method cannot be told
    from that of the methods before it, and 0 is returned.

    Args:
        device: that the work is on.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.known = device, True
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            return
        try:
            CLEAR.write_text("5")
        except OSError:
            self.known = False

    def mib(self) -> float:
        """Since then, in MiB; 0 where the system does not tell."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 2**20
        if not self.known:
            return 0.0
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return float(line.split()[1]) / 2**10
