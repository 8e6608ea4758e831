"""A loss that is built from the namespace and aggregates its own log."""

import math

from torch.nn import functional

from fairseq import utils
from fairseq.criterions import LegacyFairseqCriterion, register_criterion


@register_criterion("old_loss")
class OldLoss(LegacyFairseqCriterion):
    def __init__(self, args, task):
        super().__init__(args, task)
        self.weight = args.loss_weight

    @staticmethod
    def add_args(parser):
        parser.add_argument("--loss-weight", default=1.0, type=float)

    def forward(self, model, sample, reduce=True):
        net_output = model(**sample["net_input"])
        log_probs = model.get_normalized_probs(net_output, log_probs=True).flatten(0, 1)
        target = model.get_targets(sample, net_output).flatten()
        loss = self.weight * functional.nll_loss(
            log_probs, target, ignore_index=self.padding_idx, reduction="sum" if reduce else "none"
        )
        size = sample["target"].size(0) if self.args.sentence_avg else sample["ntokens"]
        log = {"loss": utils.item(loss.data), "ntokens": sample["ntokens"], "nsentences": len(sample["target"])}
        return loss, size, {**log, "sample_size": size}

    @staticmethod
    def aggregate_logging_outputs(logging_outputs):
        size = sum(log.get("sample_size", 0) for log in logging_outputs)
        loss = sum(log.get("loss", 0) for log in logging_outputs)
        return {"loss": loss / size / math.log(2), "twice": 2 * loss / size, "sample_size": size}
