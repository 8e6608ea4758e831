"""One token added in front of every item."""

from fairseq.data._added_token import AddedTokenDataset

__all__ = ["PrependTokenDataset"]


class PrependTokenDataset(AddedTokenDataset):
    """Items of ``dataset``, each ``(length,)``, with ``token`` in front of them; ``None`` changes nothing."""

    PLACE = 0
