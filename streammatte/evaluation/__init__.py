"""Metrics of mattes against the truth, data sets that carry one, and reports."""

from __future__ import annotations

from streammatte.evaluation.metrics import conn, dtssd, grad, mad, messddt, mse, sad

__all__ = ["conn", "dtssd", "grad", "mad", "messddt", "mse", "sad"]
