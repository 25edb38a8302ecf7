"""The C++ example is built and gives the Python product's matte."""

import shutil
import subprocess
from contextlib import closing
from pathlib import Path

import av
import cv2
import numpy as np
import openvino.utils
import pytest

from streammatte.engines import open_engine
from streammatte.matting.preprocess import extend

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not (shutil.which("cmake") and shutil.which("c++")), reason="cmake or a C++ compiler is missing"
    ),
]
NETWORK = Path("streammatte/assets/ppmattingv2-lite.f16.xml").resolve()


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cpp")
    prefix = f"-DCMAKE_PREFIX_PATH={openvino.utils.get_cmake_path()}"
    subprocess.run(["cmake", "-S", "examples/cpp", "-B", folder, "-DCMAKE_BUILD_TYPE=Release", prefix], check=True)
    subprocess.run(["cmake", "--build", folder], check=True)
    return folder / "matte"


@pytest.mark.parametrize("size", [(512, 288), (500, 280)])
def test_the_same_matte(program, tmp_path, size):
    with av.open("samples/person.mp4") as video:
        image = cv2.resize(next(video.decode(video=0)).to_ndarray(format="rgb24"), size, interpolation=cv2.INTER_AREA)
    (tmp_path / "in.ppm").write_bytes(b"P6\n# a comment\n%d %d\n255\n" % size + image.tobytes())
    subprocess.run([program, NETWORK, tmp_path / "in.ppm", tmp_path / "out.pgm"], check=True)
    found = cv2.imread(str(tmp_path / "out.pgm"), cv2.IMREAD_GRAYSCALE) / 255
    with closing(open_engine(precision="f32", size=(288, 512))) as engine:
        alpha = engine.submit(extend(image, (288, 512))[None]).result()[0]
    wanted = cv2.resize(alpha, (512, 288), interpolation=cv2.INTER_LINEAR)[: size[1], : size[0]]
    assert found.shape == wanted.shape and wanted.max() > 0.9
    assert np.abs(found - wanted).max() < 0.02


@pytest.mark.parametrize(("data", "message"), [(b"P5\n1 1\n255\n0", "no binary PPM"), (b"P6\n9 9\n255\n0", "ends too")])
def test_what_is_no_image(program, tmp_path, data, message):
    (tmp_path / "in.ppm").write_bytes(data)
    command = [program, NETWORK, tmp_path / "in.ppm", tmp_path / "out.pgm"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and message in done.stderr and not (tmp_path / "out.pgm").exists()
