"""Settings of Paddle Inference.

Run on the CPU with Paddle 2.6.2, 3.2.2 and 3.3.1. What a GPU needs follows the reference of ``paddle.inference.Config``
and has not been run.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from streammatte.cache import file_sha256, trim, user_cache_dir
from streammatte.errors import ConfigError, EngineUnavailableError
from streammatte.optional_imports import import_paddle

__all__ = ["check_device", "make_config"]

GPU_POOL_MB = 512
"""Size that the memory pool starts with; Paddle lets it grow. Holds weights and activations of every network at
512x512, batch 1."""
TRT_WORKSPACE = 1 << 30
"""Bytes of scratch memory TensorRT may use while it chooses kernels; Paddle's own default."""
TRT_SMALLEST_SUBGRAPH = 5
"""Operators a subgraph needs before TensorRT gets it: smaller ones cost more at the border than they gain."""


def check_device(device: str, trt: bool, program: Path) -> int | None:
    """The number of the GPU to use, None for the CPU.

    Parameters
    ----------
    device : str
        ``auto``, ``cpu``, ``gpu`` or ``gpu:N``.
    trt : bool
        TensorRT is wanted: ``auto`` is a GPU then.
    program : Path

    Raises
    ------
    ConfigError
        There is no such device, or TensorRT cannot run the program or is not on that device.
    EngineUnavailableError
        The installed Paddle is built for the CPU.
    """
    paddle = import_paddle("the paddle engine")
    count = paddle.device.cuda.device_count() if paddle.device.is_compiled_with_cuda() else 0
    if device == "auto":
        device = "gpu" if count or trt else "cpu"
    kind, colon, number = device.partition(":")
    index = number if colon else "0"
    if device != "cpu" and (kind != "gpu" or not (index.isascii() and index.isdecimal())):
        raise ConfigError(f"--device must be cpu, gpu or gpu:N, N a number; got {device!r}")
    if trt and (device == "cpu" or program.suffix != ".pdmodel"):
        raise ConfigError(
            f"TensorRT needs a GPU and a .pdmodel program; got --device {device} and {program.name}: "
            "give --device gpu:0 and an official model, or leave --trt out"
        )
    if device == "cpu":
        return None
    if not paddle.device.is_compiled_with_cuda():
        raise EngineUnavailableError(
            f"Paddle {paddle.__version__} is built for the CPU, no GPU can be used; install streammatte[gpu]"
        )
    if int(index) >= count:
        raise ConfigError(
            f"there is no gpu:{index}; CUDA shows {count} (see nvidia-smi and CUDA_VISIBLE_DEVICES); "
            "give another number, or --device cpu"
        )
    return int(index)


def make_config(
    program: Path, params: Path, gpu: int | None, precision: str, threads: int, batch: int, trt: bool
) -> Any:
    """The ``paddle.inference.Config`` of an engine.

    Parameters
    ----------
    program, params : Path
        ``.pdmodel`` or ``.json``, and ``.pdiparams``.
    gpu : int, optional
        Its number; None is the CPU.
    precision : {"f32", "f16"}
    threads : int
        Of the CPU's mathematics.
    batch : int
        Most images a submission.
    trt : bool
        TensorRT.
    """
    import paddle
    from paddle import inference

    config = inference.Config(str(program), str(params))
    config.disable_glog_info()
    if gpu is None:
        config.disable_gpu()
        config.set_cpu_math_library_num_threads(threads)
        config.disable_mkldnn()  # oneDNN in 3.3 refuses most programs of the new format
        return config
    types = {"f32": inference.PrecisionType.Float32, "f16": inference.PrecisionType.Half}
    own = types["f32" if trt else precision]  # what TensorRT leaves over stays exact
    config.enable_use_gpu(GPU_POOL_MB, gpu, own)
    if trt:
        config.enable_tensorrt_engine(TRT_WORKSPACE, batch, TRT_SMALLEST_SUBGRAPH, types[precision], True, False)
        # the programs leave batch and sides open, which TensorRT refuses without shapes; Paddle takes those of the runs
        config.enable_tuned_tensorrt_dynamic_shape()
        # without a folder every start builds the engines again, which takes minutes
        content = file_sha256(program), file_sha256(params)
        machine = paddle.__version__, paddle.device.cuda.get_device_name(gpu), inference.get_trt_runtime_version()
        config.set_optim_cache_dir(str(_engine_cache(content, machine, batch, precision)))
    return config


def _engine_cache(*circumstances: object) -> Path:
    """A folder for each model, batch, precision, GPU and version: an engine made for another does not load."""
    folder = user_cache_dir("tensorrt", hashlib.sha256(repr(circumstances).encode()).hexdigest()[:24])
    trim("tensorrt", keep=folder)
    return folder
