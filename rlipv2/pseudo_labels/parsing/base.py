"""What all caption parsers have in common: one graph per caption, and records of problems instead of exceptions."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rlipv2.pseudo_labels.parsing.lexicon import looks_english
from rlipv2.pseudo_labels.parsing.text import EMPTY, NOT_ENGLISH, clean, is_mostly_ascii, tokenize
from rlipv2.pseudo_labels.records import SceneGraph


@dataclass(frozen=True, order=True, slots=True)
class Problem:
    """Something that was not as it should be with one caption of a batch.

    Attributes:
        index: of the caption in its batch.
        reason: "empty", "control characters", "truncated", "not English", or class and message of an exception.
        unparsed: the caption has an empty graph because of it; otherwise its graph is used as it is.
    """

    index: int
    reason: str
    unparsed: bool


class SceneGraphParser(Protocol):
    """Captions in English to scene graphs."""

    @property
    def identity(self) -> dict[str, str]:
        """Name, version and options: what decides the graphs, for records and for the hash of settings."""
        ...

    def parse(self, captions: Sequence[str]) -> list[SceneGraph]:
        """One graph per caption, empty for what cannot be parsed."""
        ...

    def parse_with_problems(self, captions: Sequence[str]) -> tuple[list[SceneGraph], list[Problem]]:
        """The same, and what was wrong with which caption, in the order of the captions."""
        ...


class CaptionParser(ABC):
    """Cleans captions, sorts out what is not English, parses equal captions of a batch once, turns errors into records.

    Args:
        max_words: longer captions are cut.
        cleaning: false parses captions as they are, as officially: nothing is cut or replaced, whatever the language.
    """

    def __init__(self, max_words: int = 60, *, cleaning: bool = True) -> None:
        self.max_words, self.cleaning = max_words, cleaning

    @property
    def cleaning_identity(self) -> dict[str, str]:
        """What cleaning adds to `identity`."""
        return {"max_words": str(self.max_words)} if self.cleaning else {"cleaning": "off"}

    @property
    @abstractmethod
    def identity(self) -> dict[str, str]:
        """Name, version and options."""

    @abstractmethod
    def _graphs(self, texts: list[str]) -> list[SceneGraph]:
        """One graph per text; may raise for the whole list because of one text."""

    def parse(self, captions: Sequence[str]) -> list[SceneGraph]:
        """One graph per caption, empty for what cannot be parsed."""
        return self.parse_with_problems(captions)[0]

    def parse_with_problems(self, captions: Sequence[str]) -> tuple[list[SceneGraph], list[Problem]]:
        """The same, and what was wrong with which caption, in the order of the captions."""
        problems: list[Problem] = []
        texts: dict[str, list[int]] = {}
        for index, caption in enumerate(captions):
            text, found = clean(caption, self.max_words) if self.cleaning else (caption, [])
            if self.cleaning and text and not is_english(text):
                text, found = "", [*found, NOT_ENGLISH]
            problems.extend(Problem(index, reason, reason in (EMPTY, NOT_ENGLISH)) for reason in found)
            if text:
                texts.setdefault(text, []).append(index)
        graphs = [SceneGraph()] * len(captions)
        for rows, outcome in zip(texts.values(), self._outcomes(list(texts)), strict=True):
            for index in rows:
                if isinstance(outcome, SceneGraph):
                    graphs[index] = outcome
                else:
                    problems.append(Problem(index, f"{type(outcome).__name__}: {outcome}", True))
        return graphs, sorted(problems)

    def _outcomes(self, texts: list[str]) -> list[SceneGraph | Exception]:
        """Graphs; where the batch fails its texts one by one, with the exception of each that fails."""
        try:
            return [*self._graphs(texts)]
        except Exception as error:
            if len(texts) == 1:
                return [error]
        return [outcome for text in texts for outcome in self._outcomes([text])]


def is_english(text: str) -> bool:
    """Whether most letters are ASCII and the words could be English."""
    return is_mostly_ascii(text) and looks_english(tokenize(text))
