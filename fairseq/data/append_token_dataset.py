"""One token added at the end of every item."""

from fairseq.data._added_token import AddedTokenDataset

__all__ = ["AppendTokenDataset"]


class AppendTokenDataset(AddedTokenDataset):
    """Items of ``dataset``, each ``(length,)``, with ``token`` behind them; ``None`` changes nothing."""

    PLACE = -1
