"""Where frames come from: videos, folders of images, streams of the network, a drawn figure."""

from streammatte.media.image_reader import read_still
from streammatte.sources.factory import is_url, open_source, reopener
from streammatte.sources.images import ImageSource
from streammatte.sources.orientation import oriented_source
from streammatte.sources.read_options import ReadOptions
from streammatte.sources.synthetic import SyntheticSource
from streammatte.sources.video import FileSource

__all__ = [
    "FileSource",
    "ImageSource",
    "ReadOptions",
    "SyntheticSource",
    "is_url",
    "open_source",
    "oriented_source",
    "read_still",
    "reopener",
]
