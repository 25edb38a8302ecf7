"""GCA's attention against the paper's equations in plain NumPy (Li and Lu 2020, section 3.3), and its spectral norm."""

import numpy as np
import pytest

pytest.importorskip("paddle")
pytestmark = pytest.mark.paddle


def reflected(array, size, stride):
    """Patches (h, w, C, size, size) of an array (C, H, W) at every stride-th place."""
    before, after = (size - stride + 1) // 2, (size - stride) // 2
    padded = np.pad(array, ((0, 0), (before, after), (before, after)), mode="reflect")
    rows, columns = array.shape[1] // stride, array.shape[2] // stride
    patches = np.empty((rows, columns, array.shape[0], size, size))
    for y in range(rows):
        for x in range(columns):
            patches[y, x] = padded[:, y * stride : y * stride + size, x * stride : x * stride + size]
    return patches


def attention(guide, alpha, unknown):
    """One image: guide (C', h, w), alpha (C, 2h, 2w), unknown (h, w) -> (C, 2h, 2w)."""
    _, height, width = guide.shape
    places = [(y, x) for y in range(height) for x in range(width)]
    image_patches = reflected(guide, 3, 1)
    alpha_patches = reflected(alpha, 4, 2)
    share = reflected(unknown[None], 3, 1).mean(axis=(2, 3, 4))
    part = unknown.mean()
    weight_unknown = np.clip(np.sqrt(part / (1 - part)), 0.1, 10)
    weight_known = np.clip(np.sqrt((1 - part) / part), 0.1, 10)
    total = np.zeros((alpha.shape[0], 2 * height + 2, 2 * width + 2))
    for place in places:
        scores = np.empty(len(places))
        for i, other in enumerate(places):
            key = image_patches[other]
            likeness = (image_patches[place] * key).sum() / max(np.sqrt((key**2).sum()), 1e-4)
            weight = weight_unknown if share[other] > 0 else weight_known
            scores[i] = weight * likeness - (1e4 * share[other] if other == place else 0)
        scores = np.exp(scores - scores.max())
        scores /= scores.sum()
        y, x = place
        for i, other in enumerate(places):
            total[:, 2 * y : 2 * y + 4, 2 * x : 2 * x + 4] += scores[i] * alpha_patches[other] / 4
    return total[:, 1:-1, 1:-1]


@pytest.mark.parametrize("known", ["some", "all but one", "hardly any"])
def test_attention_is_the_papers(known):
    import paddle

    from streammatte.networks.attention import GuidedContextualAttention

    rng = np.random.default_rng(5)
    guide, alpha = rng.normal(size=(2, 4, 5, 6)), rng.normal(size=(2, 8, 10, 12))
    unknown = np.zeros((2, 1, 5, 6))
    if known == "some":
        unknown[0, 0, 1:3, 2:5] = 1
        unknown[1, 0, 2:, :] = 1
    elif known == "all but one":
        unknown[:, 0, 2, 2] = 1
    else:
        unknown[:, 0, 1:] = 1
    layer = GuidedContextualAttention(8)
    tensors = [paddle.to_tensor(array.astype(np.float32)) for array in (guide, alpha, unknown)]
    got = layer.attend(*tensors).numpy()
    wanted = np.stack([attention(guide[i], alpha[i], unknown[i, 0]) for i in range(2)])
    assert np.abs(got - wanted).max() < 1e-4


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_attention_is_finite_where_all_or_nothing_is_unknown(value):
    import paddle

    from streammatte.networks.attention import GuidedContextualAttention

    rng = np.random.default_rng(6)
    guide, alpha = rng.normal(size=(1, 8, 8, 8)).astype(np.float32), rng.normal(size=(1, 8, 8, 8)).astype(np.float32)
    layer = GuidedContextualAttention(8)
    layer.eval()
    unknown = paddle.full([1, 1, 8, 8], value)
    assert np.isfinite(layer(paddle.to_tensor(guide), paddle.to_tensor(alpha), unknown).numpy()).all()


@pytest.mark.parametrize("transposed", [False, True])
def test_spectral_norm_reaches_one(transposed):
    import paddle

    from streammatte.networks.spectral import SpectralConv

    layer = SpectralConv(4, 6, 4, 2, 1, transposed=transposed)
    weight = np.random.default_rng(7).normal(size=layer.weight_orig.shape).astype(np.float32)
    weight[:1, :1] *= 5  # a first singular value well above the second
    layer.weight_orig.set_value(weight)
    matrix = (weight.transpose(1, 0, 2, 3) if transposed else weight).reshape(6, -1)
    x = paddle.randn([1, 4, 8, 8])
    for _ in range(60):
        layer(x)
    layer.eval()
    convolve = paddle.nn.functional.conv2d_transpose if transposed else paddle.nn.functional.conv2d
    scaled = paddle.to_tensor(weight / np.linalg.svd(matrix, compute_uv=False)[0])
    assert np.abs(layer(x).numpy() - convolve(x, scaled, stride=2, padding=1).numpy()).max() < 1e-4
    before = layer.weight_u.numpy()
    layer(x)
    assert np.array_equal(layer.weight_u.numpy(), before), "evaluation must not change the weights"
