"""What ONNX Runtime runs networks on, beside the CPU."""

from __future__ import annotations

from streammatte.optional_imports import need

__all__ = ["ACCELERATORS", "accelerator"]

ACCELERATORS = {
    "cuda": "CUDAExecutionProvider",
    "rocm": "MIGraphXExecutionProvider",
    "dml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
}
"""``--device`` -> the provider that serves it; ``gpu`` is the first that the installed build has."""


def accelerator() -> str | None:
    """The accelerator that the installed build of ONNX Runtime serves, if there is one."""
    try:
        available = need("onnxruntime").get_available_providers()
    except Exception:  # not installed, or not for this machine
        return None
    return next((device for device, provider in ACCELERATORS.items() if provider in available), None)
