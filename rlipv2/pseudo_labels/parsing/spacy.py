"""Scene graphs through spaCy: its parse, then the rules of sng_parser. Needs spaCy and an English model."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlipv2.pseudo_labels.parsing.base import CaptionParser
from rlipv2.pseudo_labels.parsing.dependency import Chunk, DependencyToken, Profile, read_dependencies
from rlipv2.pseudo_labels.parsing.dependency_words import phrasal_verbs as embedded_phrasal_verbs
from rlipv2.pseudo_labels.parsing.dependency_words import read_phrasal_verbs
from rlipv2.pseudo_labels.records import SceneGraph

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

# Goes up whenever other graphs come out of the same dependency trees.
DEPENDENCY_VERSION = "1"
_NEEDED = ("tok2vec", "transformer", "tagger", "parser", "attribute_ruler", "lemmatizer", "morphologizer")


class SpacyModelError(RuntimeError):
    """spaCy or its model is not installed, or the model does not parse."""


class SpacyParser(CaptionParser):
    """Scene graphs from spaCy's dependency trees.

    Args:
        model: name or folder of a model, or a loaded pipeline.
        profile: "official" for sng_parser's rules as they are, "improved" without their oddities.
        phrasal_verbs: file with one "verb preposition" a line, see `read_phrasal_verbs`; None for the embedded list.
        cleaning: see `CaptionParser`.
        max_words: longer captions are cut.
        batch_size: captions in one batch of spaCy's pipeline.

    Raises:
        SpacyModelError: what is missing and how to install it.
    """

    def __init__(
        self,
        model: "str | Language" = "en_core_web_sm",
        *,
        profile: Profile = "improved",
        phrasal_verbs: str | Path | None = None,
        cleaning: bool = True,
        max_words: int = 60,
        batch_size: int = 512,
    ) -> None:
        super().__init__(max_words, cleaning=cleaning)
        if profile not in ("official", "improved"):
            raise ValueError(f"profile={profile}: no such rules; take official or improved")
        self.pipeline = _load(model) if isinstance(model, str) else model
        self.model = model if isinstance(model, str) else str(self.pipeline.meta.get("name", "pipeline"))
        self.profile, self.batch_size = profile, batch_size
        self.phrasal_verbs = embedded_phrasal_verbs() if phrasal_verbs is None else read_phrasal_verbs(phrasal_verbs)

    @property
    def identity(self) -> dict[str, str]:
        """Model and its version, profile, versions of the rules and of spaCy, checksum of the phrasal verbs."""
        import spacy

        return {
            "parser": "spacy",
            "version": DEPENDENCY_VERSION,
            "spacy": spacy.__version__,
            "model": f"{self.model} {self.pipeline.meta.get('version', '')}".strip(),
            "profile": self.profile,
            "phrasal_verbs": hashlib.sha256("\n".join(sorted(self.phrasal_verbs)).encode()).hexdigest(),
            **self.cleaning_identity,
        }

    def _graphs(self, texts: list[str]) -> list[SceneGraph]:
        return list(self._stream(texts))

    def _stream(self, texts: list[str]) -> Iterator[SceneGraph]:
        for doc in self.pipeline.pipe(texts, batch_size=self.batch_size):
            tokens, chunks = doc_records(doc)
            graph = read_dependencies(tokens, chunks, profile=self.profile, verbs=self.phrasal_verbs)
            yield graph.to_scene_graph()


def doc_records(doc: "Doc") -> tuple[list[DependencyToken], list[Chunk]]:
    """Tokens and noun chunks of a parsed spaCy document."""
    tokens = [
        DependencyToken(token.text, token.lemma_, token.pos_, token.head.i, token.dep_, bool(token.whitespace_))
        for token in doc
    ]
    return tokens, [Chunk(chunk.start, chunk.end, chunk.root.i) for chunk in doc.noun_chunks]


def _load(model: str) -> "Language":
    try:
        import spacy
    except ImportError as error:
        raise SpacyModelError("spaCy is not installed; run: pip install 'rlipv2[spacy]'") from error
    try:
        pipeline: Any = spacy.load(model)
    except OSError as error:
        raise SpacyModelError(
            f"spaCy has no model {model!r}; run: python -m spacy download {model}, or give the folder of a model"
        ) from error
    if "parser" not in pipeline.pipe_names:
        raise SpacyModelError(f"spaCy's model {model!r} has no dependency parser; take one such as en_core_web_sm")
    pipeline.select_pipes(enable=[name for name in pipeline.pipe_names if name in _NEEDED])
    return pipeline
