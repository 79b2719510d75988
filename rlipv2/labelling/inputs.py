"""What a configuration works on: images, and files that are read in the place of stages."""

from functools import cached_property
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from rlipv2 import utils
from rlipv2.pseudo_labels.by_image import RecordsByImage
from rlipv2.pseudo_labels.caption_files import CaptionFile
from rlipv2.pseudo_labels.official_files import AnnotationFiles, CandidateFile, GraphFile
from rlipv2.pseudo_labels.source import LabelledImages
from rlipv2.pseudo_labels.units import FOLDERS

MATCHER_OPTIONS = ("matcher", "paraphrases", "strategy", "all_matches", "modifiers")


class Inputs:
    """The images of a configuration, and the files that it reads in the place of stages.

    Args:
        config: composed and checked.
    """

    def __init__(self, config: DictConfig) -> None:
        self.config = config
        self.out = Path(config.out).expanduser()
        found = next((path for path in (self.out, *self.out.parents) if path.exists()), self.out)
        if found.exists() and not found.is_dir():
            raise utils.ConfigError(f"out={self.out}: {found} is a file; give a folder, which need not exist")

    @cached_property
    def images(self) -> LabelledImages:
        """The images, generated first where the configuration can."""
        if self.config.prepare is not None:
            hydra.utils.instantiate(self.config.prepare)()
        found: LabelledImages = hydra.utils.instantiate(self.config.source)
        if not len(found):
            raise utils.ConfigError(f"{found.parts[0].annotations}: none of its images is to be labelled")
        return found

    @property
    def files(self) -> dict[str, Any]:
        """The file or files that are given in the place of each stage; stages without are not in it."""
        config = self.config
        given = {
            "caption": config.captions,
            "parse": config.graphs,
            "candidates": config.candidates.file,
            "tag": config.annotations,
        }
        return {stage: file for stage, file in given.items() if file}

    @property
    def left_out(self) -> set[str]:
        """Stages that nothing depends on, as a later one is read from a file or comes from a prior."""
        stages, given = list(FOLDERS), self.files
        begin = {*given} | ({"candidates"} if self.config.candidates.prior else set())
        last = max((stages.index(stage) for stage in begin), default=0)
        return {stage for stage in stages[:last] if stage not in given}

    @cached_property
    def captions(self) -> CaptionFile:
        """The file of captions."""
        return CaptionFile(self.config.captions, index=self._index)

    @cached_property
    def graphs(self) -> GraphFile:
        """The file of scene graphs."""
        return GraphFile(self.config.graphs, index=self._index)

    @cached_property
    def candidates(self) -> CandidateFile:
        """The file of candidates."""
        return CandidateFile(self.config.candidates.file, index=self._index)

    @cached_property
    def annotations(self) -> AnnotationFiles:
        """The files of scored relations."""
        given = self.config.annotations
        paths = [given] if isinstance(given, str) else list(given)
        return AnnotationFiles(paths, index=self._index)

    def file_of(self, stage: str) -> RecordsByImage | AnnotationFiles:
        """The file that is read in the place of a stage."""
        names = {"caption": "captions", "parse": "graphs", "candidates": "candidates", "tag": "annotations"}
        found: RecordsByImage | AnnotationFiles = getattr(self, names[stage])
        return found

    def matcher_options(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Arguments of `make_matcher`, and those of `image_candidates`."""
        options = plain(self.config.candidates)
        matcher = {name: options.pop(name) for name in MATCHER_OPTIONS if name in options}
        for name in ("file", "prior"):
            options.pop(name)
        return matcher, options

    @property
    def _index(self) -> Path:
        _ = self.images  # may generate the files
        return self.out / "index"


def plain(node: Any) -> dict[str, Any]:
    """Plain values of a part of the configuration."""
    values: dict[str, Any] = OmegaConf.to_container(node, resolve=True)  # type: ignore[assignment]
    return values
