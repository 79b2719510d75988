"""`from_pretrained` and `save_pretrained` of networks that are kept as weight folders."""

from pathlib import Path
from typing import Any, TypeVar, cast

from huggingface_hub import ModelHubMixin

from rlipv2.structures import InferenceSettings, LabelSpace

T = TypeVar("T", bound="Pretrained")  # in place of Self, which beartype knows in decorated classes only


class Pretrained(ModelHubMixin, library_name="rlipv2"):
    """Reads and writes weight folders, see `rlipv2.checkpoints`.

    Attributes:
        config: the constructor tree as plain values, which `save_pretrained` writes; set by whoever
            builds the network from a configuration.
        label_space: the words it was trained for, saved along.
        inference: how images are prepared and pairs scored, saved along; None where nobody said.
    """

    config: dict[str, Any] | None = None
    label_space: LabelSpace | None = None
    inference: InferenceSettings | None = None
    # The mixin would write its own config.json; config.yaml of the weight folder is the only one.
    _hub_mixin_config = None

    def _save_pretrained(self, save_directory: Path) -> None:
        from rlipv2.checkpoints import save_weights  # checkpoints imports models: only here the other way round

        save_weights(cast(Any, self), save_directory)

    @classmethod
    def from_pretrained(
        cls: type[T],
        pretrained_model_name_or_path: str | Path,
        *,
        force_download: bool = False,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        revision: str | None = None,
        **model_kwargs: Any,
    ) -> T:
        """A network in eval mode from a weight folder or a repository of the Hugging Face Hub.

        The arguments are those of `huggingface_hub.ModelHubMixin.from_pretrained`; `model_kwargs`
        replace top-level arguments of the saved configuration, e.g. `subject_class=False`.

        Raises:
            FileNotFoundError: a file of the weight folder is missing; the message names it.
            ValueError: tensors that do not fit the configuration, or the weights of another kind of network.
        """
        from rlipv2.checkpoints import download_weights, load_network  # see `_save_pretrained`

        folder = download_weights(
            str(pretrained_model_name_or_path),
            force_download=force_download,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            revision=revision,
        )
        network = load_network(folder, **model_kwargs)
        if not isinstance(network, cls):
            raise ValueError(f"{folder}: holds a {type(network).__name__}, not a {cls.__name__}")
        return network
