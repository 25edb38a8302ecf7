"""Options and presets."""

import pytest

from streammatte.errors import ConfigError
from streammatte.options.video import VideoOptions, list_presets, load_preset


def test_command_line_beats_preset_beats_default():
    options = VideoOptions.build({"size": 384, "smooth": "high"}, smooth="off", crf=None)
    assert (options.size, options.smooth, options.refine, options.crf) == (384, "off", "fast", None)


def test_every_installed_preset_is_valid():
    assert {"realtime", "quality", "meeting"} <= set(list_presets())
    for name in list_presets():
        VideoOptions.build(load_preset(name))


def test_presets_from_files(tmp_path):
    path = tmp_path / "mine.yml"
    path.write_text("output-size: 640x360\nbackground: '#102030'\n")
    options = VideoOptions.build(load_preset(str(path)))
    assert options.output_size == (640, 360)
    assert options.background == "#102030"


@pytest.mark.parametrize(
    ("text", "words"),
    [("smoooth: low", "unknown option smoooth"), ("- a\n- b", "option: value"), ("size: [", "not YAML")],
)
def test_bad_presets_say_what_is_wrong(tmp_path, text, words):
    path = tmp_path / "bad.yml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        VideoOptions.build(load_preset(str(path)))


def test_unknown_preset_lists_those_that_are_there():
    with pytest.raises(ConfigError, match="realtime"):
        load_preset("turbo")


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 100},
        {"smooth": "very"},
        {"refine": "x"},
        {"fit": "tile"},
        {"batch": 0},
        {"threads": -1},
        {"crf": 64},
        {"crf": 20, "bitrate": 1000},
        {"bitrate": 0},
        {"output_size": (8, 8)},
        {"start": -1.0},
        {"duration": 0.0},
        {"duration": float("nan")},
        {"timeout": 0.0},
        {"size": "large"},
    ],
)
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError):
        VideoOptions.build(None, **wrong)
