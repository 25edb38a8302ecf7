"""Options and presets: one declaration serves the command line, YAML, Python, ``/set`` and ``bench --compare``."""

import math
import re

import click
import pytest
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streammatte.cli import cli
from streammatte.cli.options import declared_options, from_assignments
from streammatte.errors import ConfigError
from streammatte.live.settings import SettingsStore
from streammatte.options.declare import check, from_text, options_of
from streammatte.options.images import ImageOptions
from streammatte.options.live import LiveOptions
from streammatte.options.presets import list_presets, load_preset
from streammatte.options.video import VideoOptions


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
        {"size": "384"},
        {"size": True},
        {"size": 384.0},
        {"timeout": float("inf")},
        {"overwrite": "no"},
        {"audio": 1},
        {"output_size": (1280.0, 720)},
        {"keep_box": (0, 0, 1, 1, 1)},
        {"background": 5},
    ],
)
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError):
        VideoOptions.build(None, **wrong)


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("smooth: off", "smooth", "off"),
        ("refine: off", "refine", "off"),
        ("despill: off", "despill", "off"),
        ("match_light: on", "match_light", True),
        ("match-light: off", "match_light", False),
        ("overwrite: yes", "overwrite", True),
        ("output-size: [640, 360]", "output_size", (640, 360)),
        ("keep_box: 1,2,30,40", "keep_box", (1, 2, 30, 40)),
        ("timeout: 3", "timeout", 3.0),
    ],
)
def test_yaml_values_mean_what_they_say(tmp_path, text, name, value):
    path = tmp_path / "mine.yml"
    path.write_text(text)
    assert getattr(VideoOptions.build(load_preset(str(path))), name) == value


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ('overwrite: "no"', "overwrite", "--overwrite must be true or false; got 'no'"),
        ("smooth: on", "smooth", "--smooth must be one of off, low, high, best; got 'on'"),
        ("timeout: .inf", "timeout", "--timeout must be above 0 to 86400 seconds; got inf"),
        ("edge: .nan", "edge", "--edge must be -5 to 5 pixels; got nan"),
        ("size: 1e400", "size", "--size must be a whole number"),
        ("feather: " + "9" * 400, "feather", "--feather must be 0 to 50 pixels; got a number of many digits"),
        ("audio: maybe", "audio", "audio must be true or false; got 'maybe'"),
        ("fit: {a: 1}", "fit", "--fit must be one of cover, contain, stretch"),
    ],
)
def test_yaml_values_of_another_kind_get_the_options_message(tmp_path, text, name, message):
    path = tmp_path / "bad.yml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(message)):
        VideoOptions.build(load_preset(str(path)))


def test_compare_takes_every_value_the_command_line_takes():
    assert from_assignments("smooth=off") == {"smooth": "off"}
    assert from_assignments("precision=int8+output-size=640x360+audio=off") == {
        "precision": "int8",
        "output_size": (640, 360),
        "audio": False,
    }
    with pytest.raises(ConfigError, match="--batch must be a whole number"):
        from_assignments("batch=many")


def test_images_take_no_options_of_videos():
    for name in ("crf", "codec", "batch", "rate", "trt", "smooth", "bitrate"):
        with pytest.raises(ConfigError, match=name):
            ImageOptions.build(None, **{name: 1})
    assert ImageOptions.build({"crf": 17, "preset": "medium", "smooth": "best", "size": 384}).size == 384


def test_levels_that_show_the_room_are_refused_live():
    for wrong in ({"white_point": 0.004}, {"white_point": 0.1}, {"gamma": 10.0}, {"white_point": 0.2, "gamma": 2.0}):
        with pytest.raises(ConfigError, match="would show the room"):
            LiveOptions.build(None, **wrong)
        with pytest.raises(ConfigError, match="would show the room"):
            SettingsStore(["blur"]).apply(wrong)
        VideoOptions.build(None, **wrong)
    LiveOptions.build(None, white_point=0.5, black_point=0.1, gamma=1.5)


CLASSES = (VideoOptions, ImageOptions, LiveOptions)
ENTRIES = [(cls, entry) for cls in CLASSES for entry in options_of(cls)]
NUMBERS = [pair for pair in ENTRIES if pair[1].type in (int, float)]
ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(["²", "３", "1_000", "nan", "inf", "-inf", "1e400", "", " 5", "0x10", "1e5", "٣", "+7", "-0"]),
    st.lists(st.integers(-5, 5000), max_size=5),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


def fits(entry, value):
    """Whether a checked value is what the declaration allows, by rules of its own."""
    if value is None:
        return entry.default is None
    if entry.type in (int, float):
        low = -math.inf if entry.low is None else entry.low
        high = math.inf if entry.high is None else entry.high
        return type(value) is entry.type and math.isfinite(value) and low <= value <= high
    if entry.type is tuple and entry.length:
        return len(value) == entry.length and all(type(part) is int and part >= 0 for part in value)
    return isinstance(value, entry.type) and (not entry.choices or value in entry.choices)


@settings(deadline=None, max_examples=400)
@given(pair=st.sampled_from(ENTRIES), value=ANYTHING)
@example(pair=(VideoOptions, options_of(VideoOptions, "controls")[0]), value=10**400)
def test_python_yaml_and_json_values_are_taken_or_refused_by_name(pair, value):
    _, entry = pair
    try:
        taken = check(entry, value)
    except ConfigError as error:
        assert str(error).startswith(entry.label)
        assert len(str(error)) < 400
    else:
        assert fits(entry, taken)


@settings(deadline=None, max_examples=300)
@given(pair=st.sampled_from(NUMBERS), text=ANYTHING.map(str))
def test_texts_are_taken_or_refused_by_name(pair, text):
    _, entry = pair
    try:
        taken = from_text(entry, text)
    except ConfigError as error:
        assert str(error).startswith(entry.label)
    else:
        assert fits(entry, taken)
        assert text.isascii() and "_" not in text


@settings(deadline=None, max_examples=200)
@given(
    name=st.sampled_from(["edge", "feather", "gamma", "black_point", "white_point", "min_area", "smooth", "hold"]),
    value=ANYTHING,
)
def test_live_settings_take_or_refuse_json_by_name(name, value):
    store = SettingsStore(["blur", "navy"])
    before = store.current
    try:
        store.apply({name: value})
    except ConfigError as error:
        assert name.replace("_", "-") in str(error) or name in str(error)
        assert store.current is before


@pytest.mark.parametrize("pair", ENTRIES, ids=lambda pair: f"{pair[0].__name__}.{pair[1].name}")
def test_the_command_line_is_made_from_the_declaration(pair):
    cls, entry = pair
    seen = {}

    @click.command()
    @declared_options(cls)
    def command(**values):
        seen.update(values)

    flag = entry.flag or "--" + entry.name.replace("_", "-")
    if entry.type is bool and not entry.switch:
        arguments, wanted = [flag], not entry.default
    else:
        text, wanted = {
            (int, 0): ("20", 20),
            (float, 0): ("1", 1.0),
            (tuple, 2): ("640,360" if entry.point else "640x360", (640, 360)),
            (tuple, 4): ("1,2,30,40", (1, 2, 30, 40)),
            (tuple, 0): ("navy", ("navy",)),
            (bool, 0): ("on", True),
            (str, 0): (entry.choices[-1] if entry.choices else "text",) * 2,
        }[entry.type, entry.length]
        if entry.type is int and (entry.low or 0) > 20:
            wanted = 2 * int(entry.low)
            text = str(wanted)
        arguments = [flag, text]
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert seen[entry.name] == wanted
    assert entry.help.split()[0] in CliRunner().invoke(command, ["--help"]).output


def test_options_come_from_the_environment_too(monkeypatch, tmp_path):
    """``STREAMMATTE_WEBCAM_TOKEN`` keeps a token out of the list of processes; values are checked as others are."""
    monkeypatch.setenv("STREAMMATTE_VIDEO_SIZE", "12")
    done = CliRunner().invoke(cli, ["video", "samples/person.mp4", str(tmp_path / "out.mp4")])
    assert isinstance(done.exception, ConfigError) and "--size must be" in str(done.exception)
    arguments = ["video", "samples/person.mp4", str(tmp_path / "out.png"), "--size", "192", "--snapshot", "0"]
    assert CliRunner().invoke(cli, arguments, catch_exceptions=False).exit_code == 0  # the command line wins
    assert (tmp_path / "out.png").is_file()
