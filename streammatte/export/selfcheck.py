"""Checks that a network's files are unchanged since they were fetched, and that they run."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from streammatte.child_process import in_child
from streammatte.errors import StreammatteError
from streammatte.export.convert import graph_of
from streammatte.frames import U8
from streammatte.models.cards import Card
from streammatte.models.files import ModelFiles
from streammatte.models.graph import TRIMAP
from streammatte.models.resolve import resolve
from streammatte.models.store import verify
from streammatte.networks import create
from streammatte.networks.checkpoints import read_state
from streammatte.optional_imports import import_openvino, import_paddle, message

__all__ = ["Verdict", "check"]

TRIED = (2, 3)
"""Height and width of the trial run in a network's multiples: 64x96 for most, the smallest that every pyramid has cells
for, and not a square."""
INT8_AGREEMENT = 0.2
"""Largest mean difference between the 8-bit and the float graph on noise, far outside what either was made for."""
SLACK = 1e-3
"""How far outside 0 to 1 alpha may be by rounding alone."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The faults of a network, empty where there is none, and what could not be tested here, if anything."""

    faults: tuple[str, ...] = ()
    untried: str = ""

    def __str__(self) -> str:
        """One line."""
        if self.faults:
            return "; ".join(self.faults)
        return f"ok (files only: {self.untried})" if self.untried else "ok"


def check(card: Card) -> Verdict:
    """Check one network: its files against their record, then one run of each graph."""
    try:
        faults = [] if card.embedded else verify(card.name)
        return Verdict(tuple(faults)) if faults else _run(resolve(card.name))
    except (StreammatteError, OSError) as error:
        return Verdict((str(error),))
    except (RuntimeError, ValueError, LookupError, MemoryError) as error:  # what OpenVINO raises over a refusal
        return Verdict((f"it does not run: {message(error)}; fetch or export it again",))


def _run(files: ModelFiles) -> Verdict:
    size = files.rule.fixed or (TRIED[0] * files.multiple, TRIED[1] * files.multiple)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (1, *size, 3), np.uint8)
    # attention over unknown pixels needs some of every kind
    trimap = rng.choice(np.array([0, 128, 255], np.uint8), (1, *size, 1))
    results = {kind: _openvino(files, kind, image, trimap) for kind in files.graphs}
    if not results:
        if files.weights is not None:
            read_state(files.weights)
        if find_spec("paddle") is None:
            return Verdict(untried="it needs Paddle to run, which is not installed")
        results = {"paddle": in_child(_paddle, files, image, trimap)}
    for kind, alpha in results.items():
        if not np.isfinite(alpha).all() or alpha.min() < -SLACK or alpha.max() > 1 + SLACK:
            return Verdict((f"the {kind} graph gives alpha from {alpha.min():.3g} to {alpha.max():.3g}, not 0 to 1",))
    if len(results) == 2:
        apart = float(np.abs(results["int8"] - results["float"]).mean())
        if apart > INT8_AGREEMENT:
            return Verdict((f"the int8 graph is {apart:.2f} from the float one; install streammatte again",))
    return Verdict()


def _openvino(files: ModelFiles, kind: str, image: U8, trimap: U8) -> npt.NDArray[Any]:
    ov = import_openvino()

    height, width = image.shape[1:3]
    graph = graph_of(files, (height, width), kind)
    inputs = [trimap if TRIMAP in port.names else image for port in graph.inputs]
    compiled = ov.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.asarray(compiled(inputs)[0])


def _paddle(files: ModelFiles, image: U8, trimap: U8) -> npt.NDArray[Any]:
    """Run what OpenVINO does not read: weights of a network, or a program of Paddle 3."""
    paddle = import_paddle("running a network")
    normal = (image / 255 - np.asarray(files.rule.mean)) / np.asarray(files.rule.std)
    planes, levels = (np.ascontiguousarray(array.transpose(0, 3, 1, 2), np.float32) for array in (normal, trimap))
    if files.program is None:
        network = create(files.architecture or files.name, files.weights)
        network.eval()
        with paddle.no_grad():
            inputs = (planes, levels) if files.rule.trimap else (planes,)
            return np.asarray(network(*map(paddle.to_tensor, inputs)))
    from paddle import inference

    config = inference.Config(str(files.program), str(files.params))
    config.disable_glog_info()
    config.disable_gpu()
    config.disable_mkldnn()  # plain kernels run every network
    predictor = inference.create_predictor(config)
    for name in predictor.get_input_names():
        predictor.get_input_handle(name).copy_from_cpu(levels if name == TRIMAP else planes)
    predictor.run()
    return np.asarray(predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu())
