"""Captions of images: by image-to-text models, or made from labels; those of files are read by `caption_files`."""

from rlipv2.pseudo_labels.captions.protocol import Captioner
from rlipv2.pseudo_labels.captions.template import TemplateCaptioner

__all__ = ["Captioner", "TemplateCaptioner"]
