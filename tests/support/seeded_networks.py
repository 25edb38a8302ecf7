"""What the tests of the published networks share: golden cases, deterministic weights, images."""

import functools
import gzip
import json
import zlib
from pathlib import Path

import numpy as np

from streammatte import networks

GOLDEN = Path(__file__).parents[1] / "golden" / "zoo"
PUBLISHED = tuple(name for name in networks.names() if name != "ppmattingv2-lite")
TRIMAP = ("dim-vgg16", "gca-resguidedcxtatten")


@functools.cache
def specifications():
    with gzip.open(GOLDEN / "networks.json.gz") as file:
        return json.load(file)


def parameter(key, shape, bn_gain, conv_gain):
    """The value that the golden cases assume for an entry of the state dict."""
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    if key.endswith("_variance"):
        value = rng.uniform(0.5, 1.5, shape)
    elif key.endswith("_mean"):
        value = rng.normal(0, 0.1, shape)
    elif len(shape) >= 2:
        fan_in = int(np.prod(shape[1:])) if len(shape) == 4 else shape[0]
        value = conv_gain * rng.normal(0, np.sqrt(2.0 / fan_in), shape)
    elif key.endswith("weight"):
        value = bn_gain * rng.uniform(0.5, 1.5, shape)
    else:
        value = rng.normal(0, 0.05, shape)
    return value.astype("float32")


def spectral_vectors(weight, u, transposed):
    """First singular vectors of a convolution's weights: what training would have left there."""
    matrix = (weight.transpose(1, 0, 2, 3) if transposed else weight).reshape(u.size, -1)
    for _ in range(10):
        v = matrix.T @ u
        v /= np.linalg.norm(v)
        u = matrix @ v
        u /= np.linalg.norm(u)
    return u, v


def seeded(name):
    """A published network in evaluation mode with deterministic weights."""
    network = networks.create(name)
    network.eval()
    spec = specifications()[name]
    state = {
        key: parameter(key, shape, spec["bn_gain"], spec["conv_gain"]) for key, shape in spec["state_dict"] if shape
    }
    for key in [key for key in state if key.endswith("weight_u")]:
        stem = key.removesuffix("u")
        weight = state[stem + "orig"]
        state[key], state[stem + "v"] = spectral_vectors(weight, state[key], transposed=weight.shape[2] == 4)
    network.set_state_dict(state)
    return network


def golden_case(name, case):
    """Inputs and expected alpha of a golden case."""
    with np.load(GOLDEN / "images.npz") as images:
        inputs = [(images[f"image_{case}"] / 1000).astype(np.float32)]
        if name in TRIMAP:
            inputs.append(images[f"trimap_{case}"].astype(np.float32))
    with np.load(GOLDEN / f"{name.replace('_1024', '_512')}.npz") as cases:
        return inputs, cases[case]


def size_for(name, height, width):
    """The next size that the network takes."""
    step = 128 if name.startswith("human") else 32
    return -(-height // step) * step, -(-width // step) * step


def inputs_of(name, height, width, count=1):
    """Noise on patches, each image another, with a trimap where the network needs one."""
    rng = np.random.default_rng(height * width)
    image = rng.uniform(-1, 1, (count, 3, height // 8, width // 8)).repeat(8, 2).repeat(8, 3)
    image = np.clip(image + rng.normal(0, 0.1, image.shape), -1, 1).astype(np.float32)
    if name not in TRIMAP:
        return [image]
    trimap = np.zeros((count, 1, height, width), np.float32)
    for index in range(count):
        trimap[index, 0, height // (4 + index) :] = 128
        trimap[index, 0, height // 2 :, width // (3 + index) :] = 255
    return [image, trimap]


def run(network, inputs):
    """Alpha of float32 arrays, as an array."""
    import paddle

    with paddle.no_grad():
        return network(*[paddle.to_tensor(array) for array in inputs]).numpy()
