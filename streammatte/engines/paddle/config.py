"""What is asked of Paddle Inference, as data first and as its ``Config`` then.

The calls are written down before they are made, so that what a GPU machine will be told can be read, and tested, where
there is none. Reviewed against the reference of ``paddle.inference.Config`` for 2.6 and 3.x:

- ``enable_use_gpu(memory_pool_init_size_mb, device_id, precision_mode)`` comes before ``enable_tensorrt_engine``.
- Half precision without TensorRT takes and gives float32 all the same: ``enable_low_precision_io`` stays off.
- TensorRT on a ``.pdmodel``: ``enable_tensorrt_engine`` with ``use_static`` keeps the built engine in the folder of
  ``set_optim_cache_dir``; the shapes of the inner tensors come from a run under ``collect_shape_range_info``.
- TensorRT on a ``.json`` of 3.x: the program is converted beforehand (``paddle.tensorrt.convert``); its ``Config`` only
  names the GPU.
- ``enable_memory_optim``, off by default, is told to 2.x only: under it 3.2 and 3.3 refuse every ``.json`` ("Not find
  ... memory_optimize_pass"). The run that records shapes goes without it, since it hides inner tensors.
- ``set_exec_stream`` exists only in builds with CUDA. The predictor keeps the bare handle: the stream must outlive it,
  and what reads the predictor's tensors has to wait for that very stream. The run that records shapes gets none, since
  it ends its predictor at once, nor does the one that asks for names, which is on the CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streammatte.errors import ConfigError, ModelError
from streammatte.models.graph import TRIMAP

__all__ = [
    "TRT_SMALLEST_SUBGRAPH",
    "TRT_WORKSPACE",
    "PaddleSettings",
    "check_inputs",
    "check_trt",
    "gpu_index",
    "input_shape",
    "make_config",
    "plan",
]

GPU_POOL_MB = 512
"""Size that the memory pool starts with, no bound: Paddle's default allocator (auto_growth) lets it grow. Holds weights
and activations of every network of the zoo at 512x512, batch 1."""
TRT_WORKSPACE = 1 << 30
"""Bytes of scratch memory TensorRT may use while it chooses kernels; Paddle's own default."""
TRT_SMALLEST_SUBGRAPH = 5
"""Operators a subgraph needs before it is handed to TensorRT: smaller ones cost more at the border than they gain."""
ONEDNN_SHAPES = 2
"""Input shapes whose oneDNN primitives are kept: whole batches and the last, smaller one."""

PRECISIONS = {"f32": "Float32", "f16": "Half"}


@dataclass(frozen=True, slots=True)
class PaddleSettings:
    """One predictor.

    Parameters
    ----------
    program, params : Path
        ``.pdmodel`` or ``.json``, and ``.pdiparams``.
    device : str
        ``cpu`` or ``gpu:N``.
    precision : str
        ``f32`` or ``f16`` (GPU).
    threads : int
        Of the CPU's mathematics, 1 or more.
    onednn : bool
        oneDNN kernels on the CPU.
    trt : bool
        TensorRT on the GPU.
    batch : int
        Most images a submission.
    shapes : Path, optional
        Where the shapes of inner tensors are kept for TensorRT.
    cache : Path, optional
        Folder for built TensorRT engines.
    major : int
        Paddle's major version.
    """

    program: Path
    params: Path
    device: str = "cpu"
    precision: str = "f32"
    threads: int = 1
    onednn: bool = False
    trt: bool = False
    batch: int = 1
    shapes: Path | None = None
    cache: Path | None = None
    major: int = 3

    def __post_init__(self) -> None:
        gpu = gpu_index(self.device) is not None
        if self.trt:
            check_trt(self.device)
        if self.precision not in PRECISIONS:
            raise ConfigError(f"Paddle runs {' or '.join(PRECISIONS)}; got --precision {self.precision}")
        if not gpu and self.precision != "f32":
            raise ConfigError(f"Paddle runs f32 on the CPU; got --precision {self.precision}, add --device gpu:0")

    @property
    def converted(self) -> bool:
        """True where TensorRT is put into the program beforehand, as 3.x does for its ``.json``."""
        return self.trt and self.program.suffix == ".json"


def gpu_index(device: str) -> int | None:
    """0 of ``gpu`` and ``gpu:0``, 1 of ``gpu:1``, ..., None of ``cpu``. Raises ConfigError for anything else."""
    if device == "cpu":
        return None
    kind, colon, index = device.partition(":")
    number = index if colon else "0"
    if kind != "gpu" or not (number.isascii() and number.isdecimal()):
        raise ConfigError(f"--device must be cpu, gpu or gpu:N, N a number; got {device!r}")
    return int(number)


def check_trt(device: str) -> None:
    """Raises ConfigError where TensorRT cannot be on this device."""
    if gpu_index(device) is None:
        raise ConfigError(f"TensorRT needs a GPU; got --device {device}, give --device gpu:0 with --trt")


def check_inputs(names: Sequence[str], program: Path) -> None:
    """Raises ModelError unless a program takes one picture and, besides that, at most a trimap."""
    if len([name for name in names if name != TRIMAP]) != 1:
        raise ModelError(
            f"{program} has the inputs {', '.join(names) or 'none'}; a matting network has one picture and may have "
            f"{TRIMAP!r}; give another model"
        )


def input_shape(name: str, size: tuple[int, int], batch: int = 1) -> tuple[int, int, int, int]:
    """Shape of the input of this name for pictures of this height and width."""
    return (batch, 1 if name == TRIMAP else 3, *size)


def plan(settings: PaddleSettings, *, collect: bool = False) -> list[tuple[str, dict[str, Any]]]:
    """Methods of ``paddle.inference.Config`` with their arguments, in order.

    Precisions stand as names of ``paddle.inference.PrecisionType``. ``collect`` asks for the run that writes down the
    shapes of inner tensors instead of the one that uses them.
    """
    calls: list[tuple[str, dict[str, Any]]] = [("disable_glog_info", {}), ("switch_ir_optim", {"x": True})]
    index = gpu_index(settings.device)
    if index is None:
        calls += [("disable_gpu", {}), ("set_cpu_math_library_num_threads", {"x": settings.threads})]
        if settings.onednn:
            calls += [("enable_mkldnn", {}), ("set_mkldnn_cache_capacity", {"capacity": ONEDNN_SHAPES})]
        else:
            calls.append(("disable_mkldnn", {}))
    else:
        calls += _gpu_calls(settings, index, collect)
    if collect:
        calls.append(("collect_shape_range_info", {"path": str(settings.shapes)}))
    elif settings.major < 3:
        calls.append(("enable_memory_optim", {}))
    return calls


def _gpu_calls(settings: PaddleSettings, index: int, collect: bool) -> list[tuple[str, dict[str, Any]]]:
    plain = collect or settings.trt
    own_precision = "Float32" if plain else PRECISIONS[settings.precision]
    pool = {"memory_pool_init_size_mb": GPU_POOL_MB, "device_id": index, "precision_mode": own_precision}
    calls: list[tuple[str, dict[str, Any]]] = [("enable_use_gpu", pool)]
    if own_precision == "Half":
        calls.append(("enable_low_precision_io", {"x": False}))
    if settings.trt and not settings.converted and not collect:
        engine = {
            "workspace_size": TRT_WORKSPACE,
            "max_batch_size": settings.batch,
            "min_subgraph_size": TRT_SMALLEST_SUBGRAPH,
            "precision_mode": PRECISIONS[settings.precision],
            "use_static": True,
            "use_calib_mode": False,
        }
        tuned = {"shape_range_info_path": str(settings.shapes), "allow_build_at_runtime": True}
        calls += [("enable_tensorrt_engine", engine), ("enable_tuned_tensorrt_dynamic_shape", tuned)]
        calls.append(("set_optim_cache_dir", {"path": str(settings.cache)}))
    return calls


_BY_PLACE = frozenset(
    {
        "set_cpu_math_library_num_threads",
        "collect_shape_range_info",
        "set_optim_cache_dir",
    }
)
"""Methods whose arguments have no names in Paddle's binding."""


def make_config(settings: PaddleSettings, *, collect: bool = False) -> tuple[Any, Any]:
    """The ``paddle.inference.Config`` for these settings and, on a GPU, the CUDA stream it names (else None).

    Keep the stream until the predictor is gone: both hold the same handle, and only the stream's end frees it.
    """
    import paddle
    from paddle import inference

    config = inference.Config(str(settings.program), str(settings.params))
    for method, arguments in plan(settings, collect=collect):
        values = {
            name: getattr(inference.PrecisionType, value) if name == "precision_mode" else value
            for name, value in arguments.items()
        }
        call = getattr(config, method)
        if method in _BY_PLACE:
            call(*values.values())
        else:
            call(**values)
    index = gpu_index(settings.device)
    if index is None or collect:
        return config, None
    stream = paddle.device.cuda.Stream(paddle.CUDAPlace(index))
    config.set_exec_stream(stream)
    return config, stream
