"""Decoding on a device: which is taken, and what is reported where none can."""

import logging

import av
import pytest

from streammatte.errors import SourceNotFoundError
from streammatte.media import container as module
from streammatte.sources import open_source

PERSON = "samples/person.mp4"


@pytest.mark.parametrize(("kind", "level"), [("auto", "INFO"), ("cuda", "WARNING"), ("videotoolbox", "WARNING")])
def test_without_a_device_the_processor_decodes(kind, level, caplog):
    caplog.set_level(logging.INFO)
    source = open_source(PERSON, tracks=False, hwaccel=kind, duration=0.2)
    assert len(list(source.frames())) == 6
    source.close()
    message = [record for record in caplog.records if "--hwaccel" in record.message]
    assert [record.levelname for record in message] == [level] and "the processor decodes it" in message[0].message
    with pytest.raises(SourceNotFoundError):
        open_source("nothing.mp4", hwaccel=kind)


def test_the_first_device_that_can_is_taken(monkeypatch, caplog):
    """Of two devices one cannot be opened, as a driver that is missing; the other decodes."""
    caplog.set_level(logging.INFO)
    opened = []
    plain = av.open

    def fake(address, *, hwaccel=None, **how):
        opened.append(None if hwaccel is None else hwaccel.kind)
        if hwaccel is not None and hwaccel.kind == "cuda":
            raise av.error.PermissionError(1, "Operation not permitted")
        made = plain(address, **how)
        if hwaccel is None:
            return made
        stream = type("Video", (), {"codec_context": type("Context", (), {"is_hwaccel": True})})
        return type("Opened", (), {"streams": type("Streams", (), {"video": [stream]}), "close": made.close})()

    monkeypatch.setattr(module.av, "open", fake)
    monkeypatch.setattr(module, "hwdevices_available", lambda: ["cuda", "vaapi", "qsv"])
    monkeypatch.setattr(
        module, "HWAccel", lambda kind, allow_software_fallback: type("Accelerator", (), {"kind": kind})()
    )
    module._opened(PERSON, "auto").close()
    assert opened == ["cuda", "vaapi"] and "the video is decoded by vaapi" in caplog.text
    opened.clear()
    module._opened(PERSON, "off").close()
    assert opened == [None]
