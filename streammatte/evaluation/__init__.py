"""Metrics of mattes against the truth, data sets with a known matte, and reports."""

from __future__ import annotations

from streammatte.evaluation.metrics import conn, dtssd, grad, mad, messddt, mse, sad

__all__ = ["conn", "dtssd", "grad", "mad", "messddt", "mse", "sad"]
