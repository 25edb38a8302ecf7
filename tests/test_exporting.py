"""``models export`` and ``models convert``: what they write, what they refuse, what they never leave behind."""

from importlib.util import find_spec

import pytest

from streammatte.zoo.program import told

with_paddle = pytest.mark.skipif(not find_spec("paddle"), reason="Paddle is not installed")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "(InvalidArgument) The number of input's channels is wrong.\n  [Hint: Expected a == b.] "
            "(at /paddle/paddle/phi/infermeta/binary.cc:642)\n  [operator < conv2d > error]",
            "(InvalidArgument) The number of input's channels is wrong.",
        ),
        (
            "(ResourceExhausted) Fail to alloc memory of 9 size, error code is 12. (at /paddle/cpu_allocator.cc:44)\n",
            "(ResourceExhausted) Fail to alloc memory of 9 size, error code is 12.",
        ),
        (
            "\n\n----\nC++ Traceback (most recent call last):\n----\n0   paddle::Predictor::Predictor()\n\n----\n"
            "Error Message Summary:\n----\nResourceExhaustedError: \n\n"
            "Out of memory error on GPU 0. Cannot allocate 5GB.\n\nPlease check.\n (at /paddle/x.cc:87)\n",
            "ResourceExhaustedError: Out of memory error on GPU 0. Cannot allocate 5GB.",
        ),
        (
            "Error Message Summary:\n----\nUnimplementedError: no kernel (at /paddle/x.cc:1)\n"
            "  [operator < pd_kernel.phi_kernel > error]",
            "UnimplementedError: no kernel",
        ),
        (
            'In transformed code:\n    File "net.py", line 3\n\n    ValueError: (NotFound) no such kernel. (at x.cc:1)',
            "(NotFound) no such kernel.",
        ),
        ("[json.exception.parse_error.101] parse error", "[json.exception.parse_error.101] parse error"),
        ("Exception from core.cpp:84:\nCheck 'x' failed\nUnable to read the model\n\n", "Unable to read the model"),
        ("  [operator < conv2d > error]", "[operator < conv2d > error]"),
        ("", "RuntimeError"),
    ],
)
def test_the_cause_is_told(text, line):
    assert told(RuntimeError(text)) == line


@pytest.mark.paddle
@with_paddle
def test_the_cause_of_paddles_own_errors_is_told():
    import paddle

    with pytest.raises(ValueError, match="channels") as caught:
        paddle.nn.functional.conv2d(paddle.zeros([1, 4, 8, 8]), paddle.zeros([2, 3, 3, 3]))
    assert told(caught.value).startswith("(InvalidArgument) The number of input's channels should be equal")
