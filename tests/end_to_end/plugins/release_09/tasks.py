"""A translation task without a config class whose overrides have the signatures of 0.9."""

import os

import torch

from fairseq import options, utils
from fairseq.data import LanguagePairDataset, data_utils
from fairseq.tasks import FairseqTask, LegacyFairseqTask, register_task
from fairseq.tasks.translation import load_langpair_dataset

assert issubclass(LegacyFairseqTask, FairseqTask)


@register_task("old_translation")
class OldTranslation(LegacyFairseqTask):
    @staticmethod
    def add_args(parser):
        parser.add_argument("data", help="folders, separated by colons")
        parser.add_argument("-s", "--source-lang", default=None)
        parser.add_argument("-t", "--target-lang", default=None)
        parser.add_argument("--left-pad-source", default="True", type=str, metavar="BOOL")
        # The model has this option as well.
        parser.add_argument("--max-source-positions", default=32, type=int, metavar="N")

    def __init__(self, args, src_dict, tgt_dict):
        super().__init__(args)
        self.src_dict, self.tgt_dict = src_dict, tgt_dict

    @classmethod
    def setup_task(cls, args, **kwargs):
        args.left_pad_source = options.eval_bool(args.left_pad_source)
        folder = utils.split_paths(args.data)[0]
        if args.source_lang is None or args.target_lang is None:
            args.source_lang, args.target_lang = data_utils.infer_language_pair(folder)
        languages = (args.source_lang, args.target_lang)
        return cls(args, *(cls.load_dictionary(os.path.join(folder, f"dict.{name}.txt")) for name in languages))

    def load_dataset(self, split, combine=False):
        self.datasets[split] = load_langpair_dataset(
            self.args.data,
            split,
            self.args.source_lang,
            self.src_dict,
            self.args.target_lang,
            self.tgt_dict,
            combine=combine,
            dataset_impl=self.args.dataset_impl,
            upsample_primary=1,
            left_pad_source=self.args.left_pad_source,
            left_pad_target=False,
            max_source_positions=self.args.max_source_positions,
            max_target_positions=64,
        )

    def build_model(self, args):
        self.model = super().build_model(args)
        return self.model

    def build_generator(self, args):
        return super().build_generator([self.model], args)

    def build_dataset_for_inference(self, src_tokens, src_lengths):
        return LanguagePairDataset(src_tokens, src_lengths, self.source_dictionary)

    def train_step(self, sample, model, criterion, optimizer, ignore_grad=False):
        model.train()
        loss, sample_size, logging_output = criterion(model, sample)
        if ignore_grad:
            loss *= 0
        optimizer.backward(loss)
        return loss, sample_size, logging_output

    def inference_step(self, generator, models, sample, prefix_tokens=None):
        with torch.no_grad():
            return generator.generate(models, sample, prefix_tokens=prefix_tokens)

    def max_positions(self):
        return (self.args.max_source_positions, 64)

    @property
    def source_dictionary(self):
        return self.src_dict

    @property
    def target_dictionary(self):
        return self.tgt_dict
