"""Cards, deploy files, the folder of fetched models, and the ``models`` command."""

import io
import os
import pickle
import shutil
import subprocess
import sys
import tracemalloc
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from streammatte.cli import main
from streammatte.engines import open_engine
from streammatte.errors import ConfigError, ModelError, ModelNotFoundError
from streammatte.images.networks import files_of
from streammatte.models import cards, store
from streammatte.models.input_rule import InputRule, SizeStep, read_deploy
from streammatte.models.resolve import match_name, resolve, split_name
from streammatte.networks.checkpoints import read_state

OLD = Path(__file__).parents[1] / "golden" / "exported26"
NET = "modnet-mobilenetv2"
SIZE = (64, 96)
CARD = f"""
name: {NET}
title: MODNet
architecture: MODNet
input:
  size: [512, 512]
  steps: [{{limit_short: [null, 512]}}, {{multiple: 32}}]
licence: Apache-2.0
paper: MODNet
seed: {{sad: 50.07, params_m: 6.5, flops_g: 15.7, fps: 68.4}}
files:
  checkpoint: {{url: "http://127.0.0.1:9/matting/models/{NET}.pdparams"}}
  inference: {{url: "http://127.0.0.1:9/matting/models/deploy/{NET}.zip"}}
"""


@pytest.fixture(autouse=True)
def room(tmp_path, monkeypatch):
    """A cache of the test's own and one card."""
    monkeypatch.setenv("STREAMMATTE_HOME", str(tmp_path / "home"))
    folder = tmp_path / "cards"
    (folder / "third_party").mkdir(parents=True)
    (folder / f"{NET}.yml").write_text(CARD)
    embedded = (cards._folder() / "ppmattingv2-lite.yml").read_text()
    (folder / "ppmattingv2-lite.yml").write_text(embedded)
    monkeypatch.setattr(cards, "_folder", lambda: folder)
    read = (cards.load_card, cards.third_party_cards, files_of)
    for cached in read:
        cached.cache_clear()
    yield
    for cached in read:
        cached.cache_clear()


def official_zip(top=f"{NET}/"):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        for name in ("deploy.yaml", "model.pdmodel", "model.pdiparams"):
            bundle.writestr(top + name, (OLD / name).read_bytes())
    return buffer.getvalue()


def command(*args):
    """Run the command line in this process; its exit code."""
    with pytest.raises(SystemExit) as ended:
        main(["models", *map(str, args)])
    return ended.value.code


# ---- cards and rules ----


def test_a_card_is_read():
    card = cards.load_card(NET)
    assert card.seed.fps == 68.4
    assert card.files["inference"].filename == f"{NET}.zip"
    assert card.input.mean == (0.5, 0.5, 0.5)
    assert not card.embedded


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("title:", "titel:"), "unknown key titel"),
        (("paper: MODNet\n", ""), "missing key paper"),
        (("size: [512, 512]", "size: 512x512"), "size"),
        (("{multiple: 32}", "{multiple: [32, 32]}"), "size step"),
        (("{multiple: 32}", "{multiples: 32}"), "size step"),
        (("checkpoint:", "weights:"), r"checkpoint\|inference"),
        (("url:", "uri:"), r"unknown key files\.checkpoint\.uri"),
        ((CARD, "a: [b"), "not valid YAML"),
        ((CARD, "- a"), "object"),
    ],
)
def test_a_faulty_card_is_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        cards.read_card(CARD.replace(*change), "the card")


def test_every_shipped_card_is_good(monkeypatch):
    monkeypatch.undo()
    assert "ppmattingv2-lite" in cards.card_names()
    for name in cards.card_names():
        card = cards.load_card(name)
        assert card.name == name
        assert card.licence
        assert card.paper
        assert card.embedded != bool(card.files) or not card.files
        for remote in card.files.values():
            assert remote.url.startswith("https://")


@pytest.mark.parametrize(
    ("steps", "image", "wanted"),
    [
        ([("limit_short", (None, 512)), ("multiple", (32,))], (1080, 1920), (512, 896)),
        ([("limit_short", (None, 512)), ("multiple", (32,))], (300, 400), (288, 384)),
        ([("limit_short", (512, None)), ("multiple", (32,))], (300, 400), (512, 672)),
        ([("limit_long", (None, 1024))], (2000, 1000), (1024, 512)),
        ([("limit_long", (512, 1024))], (100, 50), (512, 256)),
        ([("short", (512,))], (1080, 1920), (512, 910)),
        ([("long", (512,))], (1080, 1920), (288, 512)),
        ([("fixed", (512, 256))], (1, 1), (512, 256)),
        ([("multiple", (32,))], (31, 65), (32, 64)),
    ],
)
def test_sides_become_the_networks(steps, image, wanted):
    rule = InputRule(steps=tuple(SizeStep(kind, values) for kind, values in steps))
    assert rule.size_for(*image) == wanted


DEPLOY = """
Deploy:
  model: model.pdmodel
  params: model.pdiparams
  input_shape: {shape}
  transforms: {transforms}
ModelName: {name}
"""


def deploy(tmp_path, transforms, shape="[null, 3, null, null]", name="MODNet"):
    path = tmp_path / "deploy.yaml"
    path.write_text(DEPLOY.format(transforms=transforms, shape=shape, name=name))
    return read_deploy(path)


def test_a_deploy_file_gives_sides_and_normalisation(tmp_path):
    given = deploy(
        tmp_path,
        "[{type: LoadImages}, {type: LimitShort, max_short: 1024}, {type: ResizeToIntMult, mult_int: 32},"
        " {type: Normalize, mean: [0.1, 0.2, 0.3], std: [1, 1, 1]}]",
    )
    assert given.input.mean == (0.1, 0.2, 0.3)
    assert given.input.std == (1, 1, 1)
    assert given.input.size_for(4096, 4096) == given.input.size == (1024, 1024)
    assert given.architecture == "MODNet"
    assert not given.input.trimap


def test_a_deploy_file_of_every_other_kind(tmp_path):
    assert deploy(tmp_path, "[{type: ResizeByShort}, {type: ResizeToIntMult}]").input.size == (512, 512)
    assert deploy(tmp_path, "[{type: ResizeByLong, long_size: 256}]").input.size_for(100, 50) == (256, 128)
    assert deploy(tmp_path, "[{type: LimitLong, max_long: 320}]").input.size == (320, 320)
    assert deploy(tmp_path, "[{type: Resize, target_size: [320, 256]}]").input.size_for(9, 9) == (256, 320)
    assert deploy(tmp_path, "[]", shape="[1, 3, 288, 512]").input.size_for(9, 9) == (288, 512)
    assert deploy(tmp_path, "[]", name="DIM").input.trimap


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Deploy: [", "no deploy.yaml"),
        ("a: 1", "no deploy.yaml"),
        ("Deploy: {model: a, params: b, transforms: [{kind: x}]}", "no deploy.yaml"),
        ("Deploy: {model: a, params: b, transforms: [{type: RandomCrop}]}", "RandomCrop is unknown"),
        ("Deploy: {model: a, params: b, transforms: [{type: Normalize, mean: [1]}]}", "mean"),
        ("Deploy: {model: a, params: b, transforms: [{type: Resize, target_size: x}]}", "no deploy.yaml"),
    ],
)
def test_a_faulty_deploy_file_is_refused(tmp_path, text, message):
    (tmp_path / "deploy.yaml").write_text(text)
    with pytest.raises(ModelError, match=message):
        read_deploy(tmp_path / "deploy.yaml")


# ---- what --model takes ----


def test_a_folder_in_the_layout_of_the_official_zips(tmp_path):
    shutil.copytree(OLD, tmp_path / "zip" / NET)
    for given in (tmp_path / "zip", tmp_path / "zip" / NET):
        files = resolve(str(given))
        assert files.program == tmp_path / "zip" / NET / "model.pdmodel"
        assert files.graphs == {"float": files.program}  # OpenVINO reads it as it is
        assert files.rule.steps[0] == SizeStep("limit_short", (None, 512))


def test_the_program_may_have_the_name_of_the_other_version(tmp_path):
    shutil.copytree(OLD.parent / "exported3", tmp_path / "net")  # its deploy.yaml says model.pdmodel
    assert resolve(str(tmp_path / "net")).program == tmp_path / "net" / "model.json"


@pytest.mark.parametrize("name", ["net.pdparams", "my-weights.npz"])
def test_weights_of_an_unknown_network_ask_which(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"NETWORK=.*modnet"):
        resolve(str(tmp_path / name))


def test_the_network_of_weights_follows_from_their_name_or_is_given(tmp_path):
    named = tmp_path / "modnet_mobilenetv2_best.pdparams"
    named.write_bytes(b"x")
    assert resolve(str(named)).architecture == NET
    other = tmp_path / "best.npz"
    other.write_bytes(b"x")
    files = resolve(f"{NET}={other}")
    assert (files.architecture, files.weights) == (NET, other)
    assert match_name(Path("ppmatting-hrnet_w18-human_1024.pdparams")) == "ppmatting-hrnet_w18-human_1024"
    assert match_name(Path("something.pdparams")) is None


def test_a_network_in_front_of_a_file_and_equals_signs_in_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lr=0.1").mkdir()
    for name in ("modnet-mobilenetv2", "lr=0.1/best"):
        np.savez(tmp_path / f"{name}.npz", a=np.zeros(1))
    assert split_name("modnet-mobilenetv2=x.npz") == ("modnet-mobilenetv2", Path("x.npz"))
    assert split_name("nothing=x.npz") == (None, Path("nothing=x.npz"))
    assert resolve("modnet-hrnet_w18=lr=0.1/best.npz").architecture == "modnet-hrnet_w18"
    with pytest.raises(ConfigError, match="which network"):
        resolve("lr=0.1/best.npz")
    with pytest.raises(ConfigError, match="names the network of weights"):
        resolve(f"modnet-hrnet_w18={OLD}")
    with pytest.raises(ModelNotFoundError, match="no model is named ''"):
        resolve("")


def test_a_folder_of_several_models_is_not_guessed_at(tmp_path):
    for name in ("a", "b"):
        shutil.copytree(OLD, tmp_path / name)
    with pytest.raises(ModelError, match=r"2 models; give one of .*a, .*b"):
        resolve(str(tmp_path))
    shutil.rmtree(tmp_path / "b")
    assert resolve(str(tmp_path)).program == tmp_path / "a" / "model.pdmodel"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (None, "no such file"),
        ("net.pt", "must be one of"),
        ("net.pdmodel", "no file at .*pdiparams"),
    ],
)
def test_what_is_no_model_is_refused(tmp_path, make, message):
    path = tmp_path / (make or "nothing.xml")
    if make:
        path.write_bytes(b"x")
    with pytest.raises((ModelNotFoundError, ModelError), match=message):
        resolve(str(path))


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ModelNotFoundError, match=r"deploy\.yaml"):
        resolve(str(tmp_path))


def test_a_network_that_was_not_pulled_says_how():
    with pytest.raises(ModelNotFoundError, match=f"models pull {NET}"):
        resolve(NET)


# ---- pulling ----


def test_pulling_a_model_makes_its_name_work(server, tmp_path):
    server.behave = {"body": official_zip()}
    folder = store.pull(NET, mirror=server.address)
    assert server.requests[0][0] == f"/matting/models/deploy/{NET}.zip"
    files = resolve(NET)
    assert files.name == NET
    assert files.program == folder / "model.pdmodel"
    assert not list((tmp_path / "home" / "models" / NET).glob("*.zip*"))
    assert store.verify(NET) == []
    engine = open_engine(NET, engine="openvino", device="cpu", precision="f32", size=SIZE, batch=2)
    with np.load(OLD / "case.npz") as case:
        assert np.abs(engine.submit(case["image"]).result() - case["alpha"]).max() < 1e-3
    engine.close()
    store.pull(NET, mirror=server.address)
    assert len(server.requests) == 1  # it is here


def test_pulling_weights_puts_them_where_resolve_looks(server):
    server.behave = {"body": pickle.dumps({"weight": np.zeros(3, np.float32)})}
    path = store.pull(NET, "checkpoint", mirror=server.address)
    assert server.requests[0][0] == f"/matting/models/{NET}.pdparams"
    assert resolve(NET).weights == path


def test_a_zip_that_a_user_put_there_is_taken(tmp_path):
    place = store.target_path(cards.load_card(NET), "inference")
    place.parent.mkdir(parents=True)
    place.write_bytes(official_zip(top=""))
    assert resolve(NET).program == place.parent / "inference" / "model.pdmodel"
    assert not place.exists()


def test_a_zip_with_paths_outside_is_refused_and_nothing_kept(server, tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        bundle.writestr("deploy.yaml", "x")
        bundle.writestr("../../evil", "x")
    server.behave = {"body": buffer.getvalue()}
    with pytest.raises(ModelError, match="outside"):
        store.pull(NET, mirror=server.address)
    left = [path.name for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert left == [".lock"]


def test_a_page_instead_of_a_zip_is_refused_and_not_kept(server):
    server.behave = {"body": b"<html>please log in</html>"}
    with pytest.raises(ModelError, match="no usable zip"):
        store.pull(NET, mirror=server.address)
    server.behave = {"body": official_zip()}
    store.pull(NET, mirror=server.address)  # nothing stands in the way


def test_a_zip_without_a_model_is_refused(server):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        bundle.writestr("readme.txt", "x")
    server.behave = {"body": buffer.getvalue()}
    with pytest.raises(ModelError, match=r"no deploy\.yaml"):
        store.pull(NET, mirror=server.address)
    assert store.find(NET).folder is None


def test_damage_after_the_fetch_is_found(server):
    server.behave = {"body": official_zip()}
    folder = store.pull(NET, mirror=server.address)
    (folder / "model.pdiparams").write_bytes(b"x")
    (folder / "deploy.yaml").unlink()
    faults = store.verify(NET)
    assert len(faults) == 2
    assert any("changed" in fault for fault in faults)
    assert any("missing" in fault for fault in faults)


def test_the_embedded_network_has_nothing_to_fetch():
    with pytest.raises(ModelNotFoundError, match="comes with the package"):
        store.pull("ppmattingv2-lite")
    with pytest.raises(ConfigError, match="checkpoint"):
        store.pull(NET, "weights")


# ---- the command ----


def test_list_and_info(capsys):
    assert command("list") == 0
    assert "embedded" in capsys.readouterr().out
    assert command("info", NET) == 0
    shown = capsys.readouterr().out
    assert f"{NET}.pdparams" in shown
    assert "Apache-2.0" in shown
    assert command("info", "nothing") == 6


def test_pull_and_verify_commands(server, capsys):
    server.behave = {"body": official_zip()}
    assert command("pull", NET, "--mirror", server.address) == 0
    assert command("verify") == 0
    shown = capsys.readouterr().out
    assert f"{NET}: ok" in shown
    assert "ppmattingv2-lite: ok" in shown
    assert command("pull", "ppmattingv2-lite") == 0
    store.find(NET).folder.joinpath("model.pdmodel").write_bytes(b"x")
    assert command("verify", NET) == 6
    assert "changed" in capsys.readouterr().out


def test_offline_pull_ends_with_its_code_and_a_line(capsys):
    assert command("pull", NET, "--attempts", "1") == 6
    errors = capsys.readouterr().err
    assert "on another machine" in errors
    assert f"{NET}.zip" in errors
    assert errors.count("\n") == 1
    assert "Traceback" not in errors


def test_export_and_convert_to_openvino(tmp_path, capsys):
    with np.load(OLD / "case.npz") as case:
        images, alpha = case["image"], case["alpha"]
    for args in (
        ("export", OLD, "--size", "96x64", "-o", tmp_path / "a.xml"),
        ("export", OLD, "--precision", "f16", "-o", tmp_path / "b.xml"),
        ("convert", OLD / "model.pdmodel", tmp_path / "c.xml"),
    ):
        assert command(*args) == 0
        engine = open_engine(str(args[-1]), device="cpu", precision="f32", size=SIZE, batch=2)
        assert np.abs(engine.submit(images).result() - alpha).max() < 1e-3
        engine.close()
    openvino = pytest.importorskip("openvino")
    shapes = [str(openvino.Core().read_model(tmp_path / f"{name}.xml").input(0).partial_shape) for name in "abc"]
    assert shapes == ["[?,64,96,3]", "[?,?,?,3]", "[?,?,?,3]"]


@pytest.mark.parametrize(
    "args",
    [
        ("export", OLD, "--size", "100x100"),
        ("export", OLD, "--size", "big"),
        ("export", OLD, "--to", "onnx", "--precision", "f16"),
        ("export", OLD, "--precision", "int8"),
        ("export", OLD, "--to", "onnx", "--precision", "int8"),
        ("convert", OLD / "model.pdmodel", "x.npz"),
        ("convert", OLD / "model.pdmodel", "x.tflite"),
    ],
)
def test_exports_that_do_not_exist_are_refused(args, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command(*args) == 2
    assert capsys.readouterr().err.startswith("streammatte: ")
    assert not any(path.suffix in (".xml", ".onnx", ".npz", ".tflite") for path in tmp_path.iterdir())


def test_an_exported_paddle_model_is_copied(tmp_path):
    assert command("export", OLD, "--to", "paddle", "-o", tmp_path / "copy") == 0
    assert resolve(str(tmp_path / "copy")).program == tmp_path / "copy" / "model.pdmodel"


def test_weights_change_their_container_and_back(tmp_path):
    state = {"conv.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "bn._mean": np.ones(2, np.float32)}
    np.savez(tmp_path / "a.npz", **state)
    assert command("convert", tmp_path / "a.npz", tmp_path / "b.pdparams") == 0
    assert command("convert", tmp_path / "b.pdparams", tmp_path / "c.npz") == 0
    with np.load(tmp_path / "c.npz") as back:
        assert {name: back[name].tolist() for name in back.files} == {k: v.tolist() for k, v in state.items()}


def pickled(path, thing, protocol=4):
    path.write_bytes(pickle.dumps(thing, protocol))
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_checkpoints_are_read_without_paddle(tmp_path, protocol):
    state = OrderedDict(weight=np.arange(6.0, dtype=np.float32).reshape(2, 3), steps=np.float32(3))
    state["StructuredToParameterName@@"] = {"weight": "conv_0.w_0"}
    given = read_state(pickled(tmp_path / "net.pdparams", state, protocol))
    assert sorted(given) == ["steps", "weight"]
    assert np.array_equal(given["weight"], state["weight"])
    older = (tmp_path / "net.pdparams").read_bytes().replace(b"numpy._core", b"numpy.core")
    if protocol < 4:  # the length of names is not written down there
        (tmp_path / "old.pdparams").write_bytes(older)
        assert np.array_equal(read_state(tmp_path / "old.pdparams")["weight"], state["weight"])


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_checkpoints_with_changed_bytes_never_end_the_process(tmp_path, protocol):
    # a wrong type or state of an array makes NumPy itself crash
    state = {
        "weight": np.arange(6.0, dtype=np.float32).reshape(2, 3),
        "order": np.asfortranarray(np.eye(3)),
        "no": np.zeros((0, 3)),
    }
    whole = pickle.dumps(state, protocol)
    assert np.array_equal(read_state(pickled(tmp_path / "net.pdparams", state, protocol))["order"], state["order"])
    rng = np.random.default_rng(protocol)
    read = 0
    for _ in range(1500):
        content = bytearray(whole)
        for place in rng.integers(0, len(content), rng.integers(1, 4)):
            content[place] = rng.integers(0, 256)
        (tmp_path / "net.pdparams").write_bytes(content)
        try:
            read_state(tmp_path / "net.pdparams")
            read += 1
        except ModelError:
            continue
    assert 0 < read < 1500


class Text:
    def __reduce__(self):
        return (np.dtype, ("S4",))


def test_types_that_no_weight_has_are_refused(tmp_path):
    with pytest.raises(ModelError, match="S4"):
        read_state(pickled(tmp_path / "net.pdparams", {"weight": Text()}))


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (self.path,))


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    with pytest.raises(ModelError, match="mkdir"):
        read_state(pickled(tmp_path / "net.pdparams", {"weight": Evil(str(tmp_path / "run"))}))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read"),
        (b"no pickle", "cannot be read"),
        (pickle.dumps(np.zeros(9))[:-20], "cannot be read"),
        (pickle.dumps([1, 2]), "not a dictionary"),
        (pickle.dumps({"epoch": 3}), "other things"),
    ],
)
def test_what_is_no_checkpoint_is_refused(tmp_path, content, message):
    (tmp_path / "net.pdparams").write_bytes(content)
    with pytest.raises(ModelError, match=message):
        read_state(tmp_path / "net.pdparams")


class Shared:
    """An array over bytes that another has too."""

    def __init__(self, content):
        self.content = content

    def __reduce__(self):
        builder, arguments, _ = np.zeros(1, np.float32).__reduce__()
        return builder, arguments, (1, (len(self.content) // 4,), np.dtype("f4"), False, self.content)


def bombs():
    """Small files that unpack to much."""
    content = os.urandom(1 << 20)
    text = (1 << 20).to_bytes(4, "little") + b"a" * (1 << 20)
    yield "one megabyte, 400 times", pickle.dumps({f"w{i}": Shared(content) for i in range(400)}, 4)
    yield "one text, 400 times", b"\x80\x02c_codecs\nencode\nq\x00X" + text + b"q\x01" + b"h\x00h\x01\x85R" * 400 + b"."
    yield "a high number of an object", b"\x80\x04}r\xff\xff\xff\x7f."
    yield "a length", b"\x80\x05\x96" + (1 << 36).to_bytes(8, "little") + b"abc."
    yield "many sets", b"\x80\x04" + b"\x8f" * (1 << 20) + b"."


@pytest.mark.parametrize(("name", "content"), list(bombs()), ids=lambda given: given if isinstance(given, str) else "")
def test_a_small_checkpoint_does_not_take_much_memory(tmp_path, name, content):
    path = tmp_path / "net.pdparams"
    path.write_bytes(content)
    tracemalloc.start()
    with pytest.raises(ModelError, match="cannot be read as weights"):
        read_state(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * len(content) + (1 << 20)


def test_listing_imports_no_engine():
    code = (
        "import sys\n"
        "from streammatte.models.cards import card_names, load_card\n"
        "[load_card(name) for name in card_names()]\n"
        "print(sorted({'openvino', 'paddle', 'cv2', 'av', 'nncf'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
