"""Where frames come from: films, folders of images, streams of the network, a drawn figure."""

from streammatte.sources.file import FileSource
from streammatte.sources.images import ImageSource
from streammatte.sources.opening import is_url, open_source
from streammatte.sources.still import read_still
from streammatte.sources.synthetic import SyntheticSource

__all__ = ["FileSource", "ImageSource", "SyntheticSource", "is_url", "open_source", "read_still"]
