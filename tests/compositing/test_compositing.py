"""Backgrounds, the foreground's colour and the compositor."""

import threading
from fractions import Fraction

import cv2
import numpy as np
import pytest
from PIL import Image

from streammatte.compositing import (
    ImageBackground,
    StreamCompositor,
    VideoBackground,
    estimate_small,
    parse_background,
)
from streammatte.errors import BackgroundError, ConfigError, SourceError, SourceNotFoundError, TruncatedSourceError
from streammatte.frames import ColorSpec, Frame, Layout, Matte, StreamInfo, plane_shapes
from streammatte.kernels.color import rgb_matrix
from streammatte.matting.chroma_key import ChromaKey
from streammatte.media.planes import Target, alpha_for_planes, color_planes, convert_planes

PLAIN = ColorSpec()
YUV = [Layout.YUV420, Layout.YUV422, Layout.YUV444]


def noise_frame(width, height, layout, seed=0, color=PLAIN, pts=0):
    rng = np.random.default_rng(seed)
    planes = tuple(rng.integers(0, 256, shape, dtype=np.uint8) for shape in plane_shapes(layout, width, height))
    return Frame(planes, layout, pts, Fraction(1, 30), color)


def color_frame(rgb, width, height, layout=Layout.YUV420, color=PLAIN, pts=0):
    return Frame(color_planes(rgb, Target(layout, width, height, color)), layout, pts, Fraction(1, 30), color)


def padded(frame):
    planes = []
    for plane in frame.planes:
        wide = np.zeros((plane.shape[0], plane.shape[1] + 37, *plane.shape[2:]), np.uint8)
        wide[:, : plane.shape[1]] = plane
        planes.append(wide[:, : plane.shape[1]])
    return Frame(tuple(planes), frame.layout, frame.pts, frame.time_base, frame.color)


def soft_alpha(width, height):
    rows, columns = np.mgrid[:height, :width]
    away = np.hypot(rows - height / 2, columns - width / 2)
    return (np.clip((height / 3 - away) / 6 + 0.5, 0, 1) * 255 + 0.5).astype(np.uint8)


def matte_of(frame, alpha, factor=4):
    small = (max(2, frame.width // factor), max(2, frame.height // factor))
    return Matte(frame, alpha, cv2.resize(alpha, small, interpolation=cv2.INTER_AREA).astype(np.float32) / 255)


def to_rgb(frame):
    """Full-size RGB in float64, chroma repeated."""
    rows, columns = frame.layout.chroma_shift
    y, u, v = frame.planes
    r, c = np.arange(frame.height) >> rows, np.arange(frame.width) >> columns
    stack = np.stack([y, u[r][:, c], v[r][:, c], np.ones_like(y)], -1).astype(float)
    return stack @ rgb_matrix(frame.color, frame.height).T


def run(matte, background, **options):
    (result,) = StreamCompositor(
        parse_background(background) if isinstance(background, str) else background, **options
    ).process(matte)
    return result


def test_alpha_of_chroma_is_the_mean_of_two_by_two():
    alpha = np.random.default_rng(0).integers(0, 256, (6, 10), dtype=np.uint8)
    chroma = alpha_for_planes(alpha, Layout.YUV420)[1]
    exact = alpha.reshape(3, 2, 5, 2).mean((1, 3))
    assert np.abs(chroma - exact).max() <= 0.5
    assert alpha_for_planes(alpha[:5, :9].copy(), Layout.YUV420)[1].shape == (3, 5)
    assert alpha_for_planes(alpha, Layout.YUV422)[1].shape == (6, 5)
    assert alpha_for_planes(alpha, Layout.YUV444)[1] is alpha


def test_blending_yuv_equals_blending_rgb():
    """Blending is linear: 4:4:4 planes blended and turned to RGB are RGB blended, up to rounding."""
    frame = noise_frame(80, 60, Layout.YUV444, color=ColorSpec(1))
    behind = noise_frame(80, 60, Layout.YUV444, seed=1, color=ColorSpec(1))
    alpha = soft_alpha(80, 60)
    image = run(matte_of(frame, alpha), ColorOf(behind), foreground=False).frame
    a = alpha[..., None] / 255
    exact = a * to_rgb(frame) + (1 - a) * to_rgb(behind)
    assert np.abs(to_rgb(image) - exact).max() <= 0.51 * (1.17 + 2.13)  # half a level through the matrix


class ColorOf:
    """A background that is a given frame."""

    def __init__(self, frame):
        self.frame = frame

    def planes(self, matte):
        return self.frame.planes

    def reset(self):
        pass


@pytest.mark.parametrize("layout", list(Layout))
@pytest.mark.parametrize("size", [(96, 64), (97, 65)])
def test_background_where_alpha_is_0_and_image_where_it_is_255(layout, size):
    frame = noise_frame(*size, layout)
    alpha = soft_alpha(*size)
    background = parse_background("#3060a0")
    matte = matte_of(frame, alpha)
    behind = background.planes(matte)
    results = [run(matte_of(f, alpha), background).frame for f in (frame, padded(frame))]
    assert results[0].layout is layout
    for number, a in enumerate(alpha_for_planes(alpha, layout)):
        out = results[0].planes[number]
        assert out.flags.c_contiguous
        np.testing.assert_array_equal(out[a == 0], behind[number][a == 0])
        np.testing.assert_array_equal(out[a == 255], frame.planes[number][a == 255])
        np.testing.assert_array_equal(out, results[1].planes[number])


def test_time_and_description_are_the_frame_s():
    frame = noise_frame(32, 32, Layout.YUV420, color=ColorSpec(1, 1, 1, True), pts=77)
    result = run(matte_of(frame, soft_alpha(32, 32)), "white", want_alpha=True, want_foreground=True)
    for other in (result.frame, result.alpha, result.foreground):
        assert (other.pts, other.time_base, other.index) == (77, frame.time_base, frame.index)
    assert result.frame.color == result.foreground.color == frame.color
    assert result.alpha.layout is Layout.GRAY
    assert result.alpha.color.full_range


def test_results_are_not_written_again_by_the_next_frame():
    compositor = StreamCompositor(parse_background("white"))
    alpha = soft_alpha(64, 48)
    first = compositor.process(matte_of(noise_frame(64, 48, Layout.YUV420), alpha))[0].frame
    before = [plane.copy() for plane in first.planes]
    for seed in range(1, 4):
        compositor.process(matte_of(noise_frame(64, 48, Layout.YUV420, seed), alpha))
    for plane, kept in zip(first.planes, before, strict=True):
        np.testing.assert_array_equal(plane, kept)


def test_none_passes_the_image_through():
    frame = noise_frame(32, 32, Layout.YUV420)
    result = run(matte_of(frame, soft_alpha(32, 32)), "none", want_alpha=True)
    assert result.frame is frame
    assert result.foreground is None


@pytest.mark.parametrize("layout", [Layout.YUV420, Layout.RGB])
def test_transparent_carries_straight_colour(layout):
    person, room = (200, 60, 40), (20, 200, 60)
    alpha = soft_alpha(96, 96)
    front, back = (color_frame(c, 96, 96, layout) for c in (person, room))
    frame = run(matte_of(front, alpha), ColorOf(back), foreground=False).frame
    result = run(matte_of(frame, alpha), "transparent", want_foreground=True)
    assert result.frame.alpha is alpha
    for number, a in enumerate(alpha_for_planes(alpha, layout)):
        out, truth = result.frame.planes[number].astype(int), front.planes[number].astype(int)
        black = color_planes((0, 0, 0), Target.of(frame))[number]
        np.testing.assert_array_equal(result.frame.planes[number][a == 0], black[a == 0])
        np.testing.assert_array_equal(result.foreground.planes[number], result.frame.planes[number])
        # Straight: as strong as the person also where alpha is small, with none of the room's colour.
        assert np.abs(out - truth)[a > 40].max() <= 40
        assert np.abs(out - truth)[a > 40].mean() <= 5


def test_no_fringe_of_the_old_background():
    """A red person before a green room, over white: with estimation the edge is a mix of red and white alone."""
    alpha = soft_alpha(160, 120)
    front, back = color_frame((190, 40, 50), 160, 120), color_frame((30, 180, 60), 160, 120)
    frame = run(matte_of(front, alpha), ColorOf(back), foreground=False).frame
    truth = to_rgb(run(matte_of(front, alpha), "white", foreground=False).frame)
    errors = [
        np.abs(to_rgb(run(matte_of(frame, alpha), "white", foreground=f).frame) - truth).mean() for f in (False, True)
    ]
    assert errors[1] < 0.3 * errors[0]


def test_estimate_beside_pymatting_s(shared):
    """On real composites: the error against the true F in the band is at most 1.3 times multi-level's."""
    pymatting = pytest.importorskip("pymatting")
    ours, theirs, plain = [], [], []
    for path in sorted((shared / "eval" / "stills").glob("*_alpha.png"))[::16]:
        alpha = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        rgb, true = (
            cv2.cvtColor(cv2.imread(str(path).replace("_alpha.png", end)), cv2.COLOR_BGR2RGB)
            for end in (".jpg", "_fg.jpg")
        )
        result = run(matte_of(Frame((rgb,), Layout.RGB, 0, Fraction(1)), alpha, 2), "transparent")
        level = pymatting.estimate_foreground_ml(rgb / 255.0, alpha / 255.0) * 255
        band = (alpha > 5) & (alpha < 250)
        weight = (alpha[band] / 255.0)[:, None]
        for errors, estimate in ((ours, result.frame.planes[0]), (theirs, level), (plain, rgb)):
            errors.append(((weight * (estimate.astype(float)[band] - true[band])) ** 2).mean())
    assert np.mean(ours) < 1.3 * np.mean(theirs)
    assert np.mean(ours) < 0.7 * np.mean(plain)


def test_small_estimates_against_the_equations():
    """Blur fusion in float64, twice."""
    rng = np.random.default_rng(0)
    alpha = soft_alpha(64, 48).astype(np.float32) / 255
    plane = rng.integers(0, 256, (48, 64), dtype=np.uint8)
    ((fore, back),) = estimate_small((plane,), alpha)
    a, image = alpha.astype(float), plane.astype(float)

    def blur(values, radius):
        return cv2.blur(values, (2 * radius + 1,) * 2, borderType=cv2.BORDER_REPLICATE)

    F = B = image
    for radius in (2, 1):  # 6 / 256 of 64 cells, then one cell
        f = blur(a * F, radius) / np.maximum(blur(a, radius), 1e-9)
        b = blur((1 - a) * B, radius) / np.maximum(blur(1 - a, radius), 1e-9)
        F, B = np.clip(f + a * (image - a * f - (1 - a) * b), 0, 255), b
    soft = (alpha > 0.05) & (alpha < 0.95)
    assert np.abs(fore - f)[soft].max() < 1
    assert np.abs(back - b)[soft].max() < 1
    assert np.isfinite(fore).all()
    assert np.isfinite(back).all()


def test_blur_does_not_smear_the_person():
    """A bright person before a dark room: right beside the person the blurred room is as dark as far away."""
    alpha = soft_alpha(320, 180)
    front, back = color_frame((250, 250, 250), 320, 180), color_frame((30, 40, 50), 320, 180)
    frame = run(matte_of(front, alpha), ColorOf(back), foreground=False).frame
    for strength in ("blur:5", "blur", "blur:100"):
        matte = matte_of(frame, alpha)
        planes = parse_background(strength).planes(matte)
        outside = alpha == 0
        assert np.abs(planes[0][outside].astype(int) - back.planes[0][0, 0]).max() <= 5
        image = run(matte, strength).frame
        near = outside & (cv2.dilate(alpha, np.ones((9, 9))) > 0)
        assert np.abs(image.planes[0][near].astype(int) - back.planes[0][0, 0]).max() <= 5


def test_blur_blurs_more_with_strength_and_keeps_the_mean():
    frame = noise_frame(320, 180, Layout.YUV420)
    matte = matte_of(frame, np.zeros((180, 320), np.uint8))
    spread = []
    for strength in (1, 10, 40, 100):
        planes = parse_background(f"blur:{strength}").planes(matte)
        spread.append(planes[0].std())
        assert abs(planes[0].mean() - frame.planes[0].mean()) < 2
        assert [plane.shape for plane in planes] == [plane.shape for plane in frame.planes]
    assert spread == sorted(spread, reverse=True)
    assert spread[-1] < 0.3 * spread[0]


@pytest.mark.parametrize("layout", list(Layout))
def test_blur_takes_every_layout_and_a_full_matte(layout):
    frame = noise_frame(65, 47, layout)
    planes = parse_background("blur").planes(matte_of(frame, np.full((47, 65), 255, np.uint8)))
    assert [plane.shape for plane in planes] == [plane.shape for plane in frame.planes]


@pytest.mark.parametrize(
    ("name", "rgb"),
    [("green", (0, 177, 64)), ("White", (255, 255, 255)), ("#00f", (0, 0, 255)), ("#102030", (16, 32, 48))],
)
@pytest.mark.parametrize("layout", [Layout.YUV420, Layout.RGB])
@pytest.mark.parametrize("color", [ColorSpec(1), ColorSpec(6, full_range=True)])
def test_colours_survive_the_way_through_yuv(name, rgb, layout, color):
    frame = noise_frame(16, 16, layout, color=color)
    planes = parse_background(name).planes(matte_of(frame, soft_alpha(16, 16)))
    back = Frame(planes, layout, 0, Fraction(1), color)
    found = planes[0] if layout is Layout.RGB else to_rgb(back)
    assert np.abs(found[0, 0] - np.array(rgb)).max() <= 2


def image_of_quarters(width, height):
    """Red, green, blue and white quarters."""
    rgb = np.empty((height, width, 3), np.uint8)
    rgb[: height // 2, : width // 2], rgb[: height // 2, width // 2 :] = (255, 0, 0), (0, 255, 0)
    rgb[height // 2 :, : width // 2], rgb[height // 2 :, width // 2 :] = (0, 0, 255), (255, 255, 255)
    return rgb


@pytest.mark.parametrize("sample_aspect", [Fraction(1), Fraction(4, 3), Fraction(1, 2)])
@pytest.mark.parametrize(("width", "height"), [(200, 100), (100, 200), (101, 67)])
def test_fitting_keeps_circles_round(sample_aspect, width, height):
    """A circle in the image is a circle where the video is shown: as wide, in display units, as it is high."""
    rgb = np.zeros((240, 320, 3), np.uint8)
    cv2.circle(rgb, (160, 120), 24, (255, 255, 255), -1)
    frame = noise_frame(width, height, Layout.RGB)
    for fit in ("cover", "contain"):
        (out,) = ImageBackground(rgb, fit, sample_aspect).planes(matte_of(frame, soft_alpha(width, height)))
        disc = out[..., 0] > 127
        wide, high = disc.any(0).sum() * sample_aspect, disc.any(1).sum()
        assert abs(float(wide) - high) <= 0.06 * high + 1.5
    (out,) = ImageBackground(rgb, "stretch", sample_aspect).planes(matte_of(frame, soft_alpha(width, height)))
    assert abs((out[..., 0] > 127).any(0).mean() - 0.15) < 0.02


@pytest.mark.parametrize("layout", [Layout.RGB, Layout.YUV420])
def test_contain_has_black_bars_and_cover_has_none(layout):
    frame = noise_frame(200, 100, layout, color=ColorSpec(1))
    rgb = np.full((80, 80, 3), 255, np.uint8)
    contain = ImageBackground(rgb, "contain").planes(matte_of(frame, soft_alpha(200, 100)))[0]
    cover = ImageBackground(rgb, "cover").planes(matte_of(frame, soft_alpha(200, 100)))[0]
    black, white = (0, 255) if layout is Layout.RGB else (16, 235)
    assert (contain[:, :40] == black).all()
    assert (contain[:, 160:] == black).all()
    assert np.abs(contain[:, 60:140].astype(int) - white).max() <= 1
    assert np.abs(cover.astype(int) - white).max() <= 1


def test_cover_keeps_the_middle():
    frame = noise_frame(100, 100, Layout.RGB)
    (out,) = ImageBackground(image_of_quarters(400, 100)).planes(matte_of(frame, soft_alpha(100, 100)))
    np.testing.assert_array_equal(out[20, 20], [255, 0, 0])
    np.testing.assert_array_equal(out[80, 80], [255, 255, 255])
    assert abs(int((out[20, :, 0] > 127).sum()) - 50) <= 2


def test_image_file_with_orientation_and_alpha(tmp_path):
    upright = image_of_quarters(64, 48)
    turned = Image.fromarray(np.rot90(upright).copy())  # counter-clockwise; tag 6 turns it back
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.png", exif=exif)
    frame = noise_frame(64, 48, Layout.RGB)
    matte = matte_of(frame, soft_alpha(64, 48))
    (out,) = parse_background(str(tmp_path / "turned.png")).planes(matte)
    np.testing.assert_array_equal(out, upright)
    rgba = np.dstack([upright, np.full((48, 64), 255, np.uint8)])
    rgba[:10, :, 3] = 0
    Image.fromarray(rgba).save(tmp_path / "alpha.png")
    (out,) = parse_background(str(tmp_path / "alpha.png")).planes(matte)
    assert (out[:10] == 0).all()
    np.testing.assert_array_equal(out[10:], upright[10:])


def test_a_sixteen_bit_image_keeps_its_brightness(tmp_path):
    Image.fromarray(np.full((8, 8), 40000, np.uint16)).save(tmp_path / "deep.png")
    frame = noise_frame(8, 8, Layout.RGB)
    (out,) = parse_background(str(tmp_path / "deep.png")).planes(matte_of(frame, soft_alpha(8, 8)))
    assert abs(int(out[0, 0, 0]) - 156) <= 1


def test_a_file_goes_before_a_colour_of_the_same_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.full((8, 8, 3), 9, np.uint8)).save(tmp_path / "red", format="PNG")
    assert isinstance(parse_background("red"), ImageBackground)


@pytest.mark.parametrize(
    ("spec", "part"),
    [
        ("no/such/file.jpg", "no file and no colour"),
        ("#12345", "#rrggbb"),
        ("#ggg", "hexadecimal"),
        ("blur:0", "1 to 100"),
        ("blur:soft", "1 to 100"),
        ("blur:", "1 to 100"),
        (".", "folder"),
        ("", "folder|no file"),
    ],
)
def test_errors_are_one_line(spec, part):
    with pytest.raises(BackgroundError, match=part) as caught:
        parse_background(spec)
    assert "\n" not in str(caught.value)


def test_broken_files_are_refused(tmp_path):
    path = tmp_path / "broken.jpg"
    path.write_bytes(b"no image")
    with pytest.raises(BackgroundError, match=r"broken.jpg"):
        parse_background(str(path))
    cut = tmp_path / "cut.png"
    Image.fromarray(image_of_quarters(64, 64)).save(cut)
    cut.write_bytes(cut.read_bytes()[:90])
    with pytest.raises(BackgroundError, match=r"cut.png"):
        parse_background(str(cut))
    (tmp_path / "video.mp4").write_bytes(b"no video")

    def refuse():
        raise SourceNotFoundError("cannot be opened")

    with pytest.raises(BackgroundError, match="cannot be opened"):
        parse_background(str(tmp_path / "video.mp4"), open_video=lambda path: refuse)
    with pytest.raises(BackgroundError, match=r"video.mp4"):
        parse_background(str(tmp_path / "video.mp4"))
    with pytest.raises(BackgroundError, match="cover, contain or stretch"):
        parse_background("white", fit="fill")


class ListSource:
    """A source of frames of one gray level each."""

    def __init__(self, levels, rate=10, layout=Layout.YUV420, aspect=Fraction(1)):
        self.levels, self.rate, self.layout, self.closed = levels, rate, layout, False
        self.info = StreamInfo(32, 16, layout, Fraction(1, rate), Fraction(rate), sample_aspect_ratio=aspect)

    def frames(self):
        for number, level in enumerate(self.levels):
            planes = tuple(np.full(s, level, np.uint8) for s in plane_shapes(self.layout, 32, 16))
            yield Frame(planes, self.layout, 5 + number, Fraction(1, self.rate), index=number, duration=1)

    def close(self):
        self.closed = True


def shown(background, times):
    levels = []
    for time in times:
        frame = noise_frame(32, 16, Layout.YUV420)
        frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
        levels.append(int(background.planes(matte_of(frame, soft_alpha(32, 16)))[0][0, 0]))
    return levels


def test_a_video_keeps_its_own_rate_and_loops():
    opened = []

    def open_video():
        opened.append(ListSource([50, 60, 70]))
        return opened[-1]

    background = VideoBackground(open_video)
    times = [2.0 + step / 20 for step in range(14)]
    assert shown(background, times) == [50, 50, 60, 60, 70, 70, 50, 50, 60, 60, 70, 70, 50, 50]
    assert all(source.closed for source in opened[:-1])
    background.reset()
    assert shown(background, [9.0, 9.1]) == [50, 60]
    assert shown(background, [0.0, 0.2]) == [50, 70]
    compositor = StreamCompositor(background)
    compositor.close()
    compositor.close()
    assert opened[-1].closed


def test_a_video_skips_what_a_slow_foreground_does_not_need():
    background = VideoBackground(lambda: ListSource(list(range(50, 150, 10))))
    assert shown(background, [0.0, 0.55, 0.9, 1.25]) == [50, 100, 140, 70]


def test_a_video_of_one_frame_stands_still():
    background = VideoBackground(lambda: ListSource([90]))
    assert shown(background, [0.0, 0.3, 5.0]) == [90, 90, 90]


def test_a_long_gap_does_not_play_every_loop():
    opened = []

    def open_video():
        opened.append(1)
        return ListSource([50, 60, 70])

    assert shown(VideoBackground(open_video), [0.0, 3000.15]) == [50, 60]
    assert len(opened) < 5


def test_a_video_that_cannot_be_opened_again_stands_still(caplog):
    openings = []

    def open_video():
        openings.append(True)
        if len(openings) > 1:
            raise SourceError("the server is gone")
        return ListSource([50, 60])

    assert shown(VideoBackground(open_video), [0.0, 0.1, 0.2, 0.9]) == [50, 60, 60, 60]
    assert caplog.text.count("stands still") == 1
    assert len(openings) == 2


def test_an_interrupt_ends_the_wait_for_a_video_that_is_opened_again():
    waiting, openings = threading.Event(), []

    def open_video():
        openings.append(True)
        if len(openings) > 1:
            waiting.wait(60)
        return ListSource([50, 60])

    background = VideoBackground(open_video)
    timer = threading.Timer(0.2, background.interrupt)
    timer.start()
    assert shown(background, [0.0, 0.1, 0.2, 0.9]) == [50, 60, 60, 60]
    waiting.set()


class BrokenSource(ListSource):
    def frames(self):
        yield from super().frames()
        raise TruncatedSourceError("broke off")


def test_a_video_that_breaks_off_starts_again(caplog):
    assert shown(VideoBackground(lambda: BrokenSource([50, 60])), [0.0, 0.1, 0.2, 0.3]) == [50, 60, 50, 60]
    assert "broke off" in caplog.text


def test_a_video_without_frames_is_refused():
    with pytest.raises(BackgroundError, match="no readable frame"):
        VideoBackground(lambda: ListSource([]))


@pytest.mark.parametrize("layout", list(Layout))
def test_any_layout_turns_into_any_other(layout):
    source = color_frame((180, 90, 40), 40, 30, layout, ColorSpec(6))
    for other in Layout:
        target = Target(other, 61, 47, ColorSpec(1, full_range=True))
        planes = convert_planes(source, target, "cover")
        assert [plane.shape for plane in planes] == list(plane_shapes(other, 61, 47))
        if Layout.GRAY in (layout, other):
            continue
        expected = color_planes((180, 90, 40), target)
        for plane, level in zip(planes, expected, strict=True):
            assert np.abs(plane.astype(int) - level).max() <= 3


def test_chroma_key_finds_the_figure():
    for layout in [*YUV, Layout.RGB]:
        alpha = soft_alpha(96, 64)
        front, back = color_frame((210, 150, 120), 96, 64, layout), color_frame((0, 177, 64), 96, 64, layout)
        frame = run(matte_of(front, alpha), ColorOf(back), foreground=False).frame
        (matte,) = ChromaKey().process(frame)
        assert matte.alpha.shape == (64, 96)
        assert (matte.alpha[alpha == 255] == 255).mean() > 0.98
        assert (matte.alpha[cv2.dilate(alpha, np.ones((5, 5))) == 0] == 0).all()
        assert np.abs(matte.alpha.astype(int) - alpha).mean() < 8
        (result,) = StreamCompositor(parse_background("white")).process(matte)
        assert result.frame.layout is layout


def test_chroma_key_refuses_what_it_cannot_do():
    with pytest.raises(ConfigError, match="colour"):
        ChromaKey("greenish")
    with pytest.raises(ConfigError, match="softness"):
        ChromaKey(softness=0)
    with pytest.raises(ConfigError, match="gray"):
        ChromaKey().process(noise_frame(16, 16, Layout.GRAY))
