"""What this machine has, asked without loading anything heavy."""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache


def available_cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def has_cuda() -> bool:
    """Whether PyTorch can compute on a CUDA device; it is loaded, in a second, only if there is a driver."""
    if not cuda_driver():
        return False
    import torch

    return torch.cuda.is_available()


def cuda_driver() -> bool:
    """Whether NVIDIA's driver is here and has a device."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
        count = ctypes.c_int(0)
        found = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    except (OSError, AttributeError):
        return False
    return found and count.value > 0


@cache
def has_bf16() -> bool:
    """Whether OpenVINO computes in bf16 on this processor, rather than imitating it."""
    import openvino

    capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "BF16" in capabilities
