"""From frames to mattes: preparation, the network, temporal smoothing, refinement; a chroma key without weights."""

from streammatte.matting.chroma_key import ChromaKey
from streammatte.matting.preprocess import Preparer
from streammatte.matting.refine import Refiner
from streammatte.matting.smoothing import Smoother

__all__ = ["ChromaKey", "Preparer", "Refiner", "Smoother"]
