"""Errors that no rewrite of the tree mends: what they mean and what to do."""

from __future__ import annotations

from typing import Mapping, Sequence, Tuple

from .model import Patch

__all__ = ["ADVICE"]


def _card(
    name: str,
    title: str,
    symptom: str,
    cause: str,
    change: str,
    *matches: Tuple[str, ...],
    since: Mapping[str, str] | None = None,
    fairseq: str = "all",
    unless: Sequence[str] = (),
) -> Patch:
    found: Sequence[Tuple[str, ...]] = matches
    return Patch(
        id=name,
        title=title,
        symptom=symptom,
        cause=cause,
        since=since or {},
        fairseq=fairseq,
        change=change,
        matches=found,
        unless=unless,
        advice=True,
    )


PYTHON = (
    _card(
        "hydra-1.0-itself",
        "An old Hydra on a new Python",
        "ValueError: mutable default <class 'hydra.conf.JobConf.JobConfig.OverrideDirname'> for field "
        "override_dirname is not "
        "allowed: use default_factory",
        "The installed hydra-core is older than 1.3 and does not run on Python 3.11.",
        'pip install -U "hydra-core>=1.3,<1.4" "omegaconf>=2.3", and `fairseq-patch apply PATH --only setup-pins '
        "--only hydra-api` "
        "so that the tree asks for them.",
        ("mutable default <class 'hydra.", "for field", "is not allowed"),
        since={"python": "3.11"},
    ),
    _card(
        "removed-stdlib",
        "Modules that Python 3.12 and 3.13 removed",
        "ModuleNotFoundError: No module named 'asyncore' (also asynchat, smtpd, cgi, crypt, pipes, telnetlib, ...)",
        "Python 3.12 removed asyncore, asynchat, smtpd; 3.13 cgi, crypt, pipes and others.",
        "Nothing in fairseq uses them; a dependency does: update it. pyasyncore, legacy-cgi and standard-pipes "
        "on PyPI are copies.",
        *(
            (f"no module named '{name}'",)
            for name in (
                "asyncore",
                "asynchat",
                "smtpd",
                "cgi",
                "cgitb",
                "crypt",
                "pipes",
                "telnetlib",
                "imghdr",
                "sndhdr",
                "audioop",
                "nntplib",
                "msilib",
                "uu",
                "xdrlib",
            )
        ),
        since={"python": "3.12"},
        fairseq="none; plugins",
    ),
    _card(
        "future-annotations",
        "Postponed annotations in a configuration",
        "RuntimeError: field should be a type",
        "The file of the dataclass begins with `from __future__ import annotations`, so its field types are text, and "
        "fairseq makes options from types.",
        "Remove that line from the file, and write Optional[X] instead of X | None where Python 3.9 must run it.",
        ("field should be a type",),
        since={"python": "3.7"},
    ),
    _card(
        "argparse-duplicate",
        "An option declared twice",
        "argparse.ArgumentError: argument --x: conflicting option string: --x",
        "Two add_args functions, or an add_args and a dataclass, declare the same option.",
        "Delete one, or build the parser with conflict_handler='resolve'.",
        ("conflicting option string",),
    ),
    _card(
        "ast-num",
        "ast.Num and ast.Str",
        "AttributeError: module 'ast' has no attribute 'Num' (also Str, NameConstant, Bytes, Ellipsis)",
        "Python 3.14 removed them; ast.Constant replaced them in 3.8.",
        "Update the dependency that uses them, or compare with ast.Constant and the type of its value.",
        *((f"module 'ast' has no attribute '{name}'",) for name in ("Num", "Str", "NameConstant", "Bytes", "Ellipsis")),
        since={"python": "3.14"},
        fairseq="none; plugins",
    ),
    _card(
        "event-loop",
        "asyncio.get_event_loop without a loop",
        "RuntimeError: There is no current event loop in thread 'MainThread'.",
        "Python 3.14 no longer makes a loop on the way.",
        "Use asyncio.run(coroutine), or asyncio.new_event_loop().",
        ("there is no current event loop",),
        since={"python": "3.14"},
        fairseq="none; plugins",
    ),
)

TORCH = (
    _card(
        "attention-mask-types",
        "Masks of two types in one attention",
        "UserWarning: Support for mismatched key_padding_mask and attn_mask is deprecated. Use same type for "
        "both instead.",
        "The decoder passes a float causal mask and a bool padding mask.",
        "A warning only. To silence it give both one type: "
        "key_padding_mask.float().masked_fill(key_padding_mask, -inf).",
        ("mismatched key_padding_mask and attn_mask",),
        ("mismatched src_key_padding_mask",),
        since={"torch": "2.0"},
    ),
    _card(
        "weight-norm",
        "torch.nn.utils.weight_norm",
        "FutureWarning: `torch.nn.utils.weight_norm` is deprecated in favor of "
        "`torch.nn.utils.parametrizations.weight_norm`.",
        "The new form stores weight_g and weight_v as parametrizations.weight.original0 and original1, so "
        "checkpoints of the two "
        "do not fit each other.",
        "Keep the old function: it works, and old checkpoints load. When reading a checkpoint of the new form, "
        "rename its keys.",
        ("torch.nn.utils.weight_norm", "is deprecated"),
        ("parametrizations.weight.original0",),
        ("weight_g", "missing key"),
        since={"torch": "2.0"},
    ),
    _card(
        "deepcopy-weight-norm",
        "Copying a model with weight norm",
        "RuntimeError: Only Tensors created explicitly by the user (graph leaves) support the deepcopy "
        "protocol at the moment.",
        "After a forward pass a weight-normed layer holds a computed tensor, which deepcopy refuses (EMA "
        "copies the model).",
        "Copy before the first forward pass, or delete the attribute `weight` of such layers before copying.",
        ("only tensors created explicitly by the user", "deepcopy"),
    ),
    _card(
        "optimizer-state-steps",
        "Old optimizer states in torch's optimizers",
        "AttributeError: 'int' object has no attribute 'item' (step of a loaded optimizer state)",
        "torch's optimizers keep their step counter as a tensor; checkpoints of old versions hold an int.",
        "Convert after loading (state['step'] = torch.tensor(float(state['step']))), or start with --reset-optimizer.",
        ("'int' object has no attribute 'item'",),
        ("'int' object has no attribute", "step"),
        ("state_steps", "singleton tensors"),
        ("_foreach_add_", "int"),
        since={"torch": "1.12"},
    ),
    _card(
        "plateau-verbose",
        "verbose of ReduceLROnPlateau",
        "TypeError: ReduceLROnPlateau.__init__() got an unexpected keyword argument 'verbose'",
        "The argument was deprecated in PyTorch 2.2 and removed later.",
        "Delete it.",
        ("reducelronplateau", "unexpected keyword argument 'verbose'"),
        ("unexpected keyword argument 'verbose'",),
        since={"torch": "2.7"},
        fairseq="plugins",
    ),
    _card(
        "optimizer-init",
        "Optimizers that do not call super().__init__",
        "AttributeError: 'CompositeOptimizer' object has no attribute '_optimizer_step_pre_hooks'",
        "torch.optim.Optimizer sets up hooks in its __init__; a subclass that skips it lacks them.",
        "Call super().__init__(params, defaults) in the class that the error names (CompositeOptimizer in "
        "optim/composite.py).",
        ("object has no attribute '_optimizer_step_pre_hooks'",),
        ("object has no attribute '_optimizer_step_post_hooks'",),
        ("object has no attribute '_optimizer_state_dict",),
        ("compositeoptimizer' object has no attribute",),
        since={"torch": "2.0"},
    ),
    _card(
        "inference-tensors",
        "Buffers made in inference mode",
        "RuntimeError: Inplace update to inference tensor outside InferenceMode is not allowed.",
        "Generation ran inside torch.inference_mode, and buffers that were cached there (masks, positions) are "
        "used in training.",
        "Use torch.no_grad around generation, or build the model anew for training.",
        ("inference tensor", "outside inferencemode"),
        ("inference tensors cannot be saved for backward",),
        since={"torch": "1.9"},
    ),
    _card(
        "sinusoid-buffer",
        "embed_positions._float_tensor",
        'RuntimeError: Error(s) in loading state_dict: Missing key(s): "encoder.embed_positions._float_tensor"',
        "Releases differ in whether this empty buffer is saved.",
        "Remove or add the key before loading: state['model'].pop('encoder.embed_positions._float_tensor', "
        "None), or load with "
        "strict=False.",
        ("embed_positions._float_tensor",),
        ("_float_tensor",),
    ),
    _card(
        "process-groups",
        "Warnings and hangs of NCCL",
        "UserWarning: No device id is provided via `init_process_group` or `barrier`. Using the current device "
        "set by the user.",
        "init_process_group and barrier are called without a device.",
        "Pass device_id=torch.device('cuda', local_rank) to init_process_group, and call torch.cuda.set_device before.",
        ("no device id is provided via",),
        ("using gpu", "to perform barrier"),
        ("perform barrier as devices used by this process",),
        ("_get_default_group",),
        since={"torch": "2.0"},
    ),
    _card(
        "fairscale",
        "FSDP of fairscale",
        "ModuleNotFoundError: No module named 'fairscale'",
        "--ddp-backend fully_sharded wants fairscale, which is no longer maintained.",
        "Use another --ddp-backend (pytorch_ddp, legacy_ddp), or torch.distributed.fsdp.",
        ("no module named 'fairscale'",),
        ("fairscale",),
        ("please install fairscale",),
    ),
    _card(
        "cuda-extensions",
        "CUDA extensions of lightconv and dynamicconv",
        "fatal error: THC/THC.h: No such file or directory (also: No module named 'lightconv_cuda' or "
        "'dynamicconv_cuda')",
        "They are built by a setup.py of their own, with headers that PyTorch 1.11 removed (AT_CHECK is TORCH_CHECK "
        "now). Only modules/lightconv_layer and modules/dynamicconv_layer need them.",
        "Do not build them: the models fall back to plain PyTorch without them. Do not import lightconv_layer or "
        "dynamicconv_layer by name; take LightweightConv and DynamicConv of fairseq.modules.",
        ("thc/thc.h",),
        ("thc/", "no such file"),
        ("'at_check' was not declared",),
        ("at_check",),
        ("no module named 'lightconv_cuda'",),
        ("no module named 'dynamicconv_cuda'",),
        since={"torch": "1.11"},
    ),
    _card(
        "libnat",
        "The compiled edit distance of the Levenshtein transformer",
        "ImportError: cannot import name 'libnat' from 'fairseq' (also: No module named 'fairseq.libnat', missing "
        "libnat_cuda)",
        "fairseq.libnat is C++ that setup.py builds; it is missing where the package was copied without building, and "
        "the distributions of 0.12 on PyPI lack its sources. Only the Levenshtein and insertion transformers use it.",
        "Build it: pip install --no-build-isolation --no-deps -e PATH (needs a C++ compiler and torch). Without the "
        "sources, take fairseq/clib/libnat from the repository of the release, or go without these two models. "
        "libnat_cuda is not needed: libnat does the same on the CPU.",
        ("cannot import name 'libnat'",),
        ("no module named 'fairseq.libnat",),
        ("no module named 'libnat",),
        ("missing libnat",),
        ("libnat", "undefined symbol"),
    ),
    _card(
        "moved-names",
        "Names that a later release moved",
        "ImportError: cannot import name '_apply_del_words' from 'fairseq.models.levenshtein_transformer'",
        "0.10 moved the models of non-autoregressive translation to fairseq.models.nat, and the helpers "
        "_apply_del_words, _apply_ins_masks, _apply_ins_words, _get_del_targets, _get_ins_targets, _skip, "
        "_skip_encoder_out and _fill of the Levenshtein transformer to fairseq.models.nat.levenshtein_utils. Two "
        "releases are mixed: a plugin of one with the package of the other, or an installed fairseq that is found "
        "before the copy in the tree.",
        "See which package is imported (python -c 'import fairseq; print(fairseq.__file__)'), and take the names from "
        "where this one has them: fairseq.models.nat.levenshtein_utils since 0.10, "
        "fairseq.models.levenshtein_transformer before.",
        *(
            (f"cannot import name '{name}'",)
            for name in (
                "_apply_del_words",
                "_apply_ins_masks",
                "_apply_ins_words",
                "_get_del_targets",
                "_get_ins_targets",
                "_skip_encoder_out",
            )
        ),
        ("no module named 'fairseq.models.levenshtein",),
        ("no module named 'fairseq.models.nat",),
        fairseq="0.9 and later, mixed",
    ),
)

DATA = (
    _card(
        "ragged-arrays",
        "Arrays of rows with different lengths",
        "ValueError: setting an array element with a sequence. The requested array has an inhomogeneous shape",
        "numpy 1.24 no longer makes an object array by itself.",
        "Keep a list, or pass dtype=object.",
        ("setting an array element with a sequence",),
        ("inhomogeneous shape",),
        since={"numpy": "1.24"},
        fairseq="plugins",
    ),
    _card(
        "numpy-binary",
        "Extensions compiled for another numpy",
        "ValueError: numpy.dtype size changed, may indicate binary incompatibility. Expected 96 from C header, "
        "got 88 from PyObject",
        "The compiled Cython modules (data_utils_fast, token_block_utils_fast) were built with another major "
        "version of numpy.",
        "Delete fairseq/data/*.so and build again: pip install --no-build-isolation --no-deps -e PATH, or "
        "python setup.py build_ext "
        "--inplace.",
        ("numpy.dtype size changed",),
        ("compiled using numpy 1.x cannot be run in numpy 2",),
        ("numpy.core.multiarray failed to import",),
        ("please build cython components",),
        ("no module named 'fairseq.data.data_utils_fast'",),
        since={"numpy": "2.0"},
    ),
    _card(
        "numpy-promotion",
        "Negative numbers in unsigned arrays",
        "OverflowError: Python integer -1 out of bounds for uint16",
        "numpy 2 no longer widens an array for the sake of a Python number; token arrays are stored as uint16.",
        "Convert first: array.astype(np.int64).",
        ("out of bounds for uint16",),
        ("python integer", "out of bounds for uint"),
        since={"numpy": "2.0"},
    ),
    _card(
        "interpolation-missing",
        "Interpolations that lead nowhere",
        "omegaconf.errors.InterpolationKeyError: Interpolation key 'x' not found",
        "omegaconf 2.1 raises where 2.0 gave None.",
        "Give the field a default, or delete the interpolation from the configuration or checkpoint.",
        ("interpolationkeyerror",),
        ("interpolation key", "not found"),
        ("interpolationresolutionerror",),
        ("interpolationtomissingvalueerror",),
        since={"omegaconf": "2.1"},
    ),
    _card(
        "config-none",
        "None in a field that is not Optional",
        "omegaconf.errors.ValidationError: Non optional field cannot be assigned None",
        "An old checkpoint stored None for a field that is declared int or str without Optional.",
        "Declare the field Optional[...], or override it while loading (arg_overrides={'field': value}).",
        ("non optional field cannot be assigned none",),
        ("field", "is not optional", "none"),
        ("incompatible value 'none' for field",),
        ("missingmandatoryvalue",),
        since={"omegaconf": "2.1"},
    ),
    _card(
        "config-struct",
        "Configuration keys that this tree does not know",
        "omegaconf.errors.ConfigAttributeError: Key 'x' is not in struct",
        "The checkpoint comes from a fork with further fields.",
        "Load it with the fork's code (--user-dir), or delete the key from the checkpoint's cfg.",
        ("is not in struct",),
        ("configattributeerror",),
        ("configkeyerror",),
        ("key '", "not in '"),
        # Keys of FairseqConfig itself come from the code: the card hydra-api is about them.
        unless=("not in 'FairseqConfig'", "object_type=FairseqConfig", "Key 'simul_type'"),
    ),
    _card(
        "build-isolation",
        "Building without torch or numpy at hand",
        "ModuleNotFoundError: No module named 'torch' (while building)",
        "pip builds in an empty environment; fairseq's setup.py wants torch, numpy and cython there.",
        "Install them first, then: pip install --no-build-isolation PATH.",
        ("getting requirements to build wheel", "no module named"),
        ("no module named 'torch'",),
        ("no module named 'numpy'",),
        ("no module named 'cython'",),
    ),
    _card(
        "version-txt",
        "fairseq/version.txt",
        "FileNotFoundError: [Errno 2] No such file or directory: 'fairseq\\\\version.txt'",
        "The file is missing from some distributions and on Windows, where a link stands in its place.",
        "Create fairseq/version.txt with the version in one line (0.12.2).",
        ("version.txt",),
    ),
    _card(
        "optional-packages",
        "Packages that a new Python has no build of",
        "ModuleNotFoundError: No module named 'editdistance' (also bitarray, kenlm, flashlight, soundfile, "
        "sklearn, scipy)",
        "Some modules import optional packages as soon as they are loaded, and not all have wheels for current Python.",
        "pip install the package; for editdistance take editdistance>=0.8 or rapidfuzz.",
        *(
            (f"no module named '{name}'",)
            for name in (
                "editdistance",
                "bitarray",
                "kenlm",
                "flashlight",
                "soundfile",
                "sklearn",
                "scipy",
                "tensorboardX",
                "regex",
                "omegaconf",
                "hydra",
                "sacrebleu",
                "torchaudio",
                "apex",
            )
        ),
        ("failed building wheel for editdistance",),
        ("could not build wheels for editdistance",),
    ),
)

DEFECTS = (
    _card(
        "dropped-last-batch",
        "Sentences lost in an incomplete last batch",
        "Exception: The dataset is empty. This could indicate that all elements in the dataset have been skipped.",
        "Upstream main drops a last batch whose size is no multiple of --required-batch-size-multiple (8).",
        "Pass --required-batch-size-multiple 1, or move to a release that never drops it.",
        ("the dataset is empty",),
        fairseq="main since 2022-12",
    ),
    _card(
        "scorer-signature",
        "fairseq-score --sentence-bleu",
        "TypeError: Scorer.__init__() takes 2 positional arguments but 4 were given",
        "The command still calls the scorer with three numbers; it takes one configuration.",
        "In fairseq_cli/score.py write bleu.Scorer(BleuConfig(pad=..., eos=..., unk=...)).",
        ("scorer.__init__() takes 2 positional arguments",),
        ("__init__() takes 2 positional arguments but 4 were given",),
        fairseq="0.12 and main",
    ),
    _card(
        "masked-lm-args",
        "--mask-whole-words",
        "AttributeError: 'MaskedLMTask' object has no attribute 'args'",
        "The task became configured by a dataclass, but this branch still reads args.",
        "In tasks/masked_lm.py pass self.cfg where self.args is passed.",
        ("'maskedlmtask' object has no attribute 'args'",),
        fairseq="main",
    ),
    _card(
        "ema-missing",
        "--store-ema from a checkpoint without EMA",
        "KeyError: 'model' (while EMA is set up)",
        "The weights are taken out of the state before the EMA copy is made of them.",
        "Train once without --store-ema from the checkpoint and save, or load with --reset-optimizer after "
        "fixing the order.",
        ("keyerror: 'model'",),
        fairseq="0.12 and main",
    ),
    _card(
        "chrf-score",
        "The chrf scorer's score()",
        "AttributeError: 'str' object has no attribute 'score'",
        "score() asks its own formatted text for the number.",
        "Use result_string(), or return sacrebleu.corpus_chrf(self.pred, [self.ref]).score.",
        ("'str' object has no attribute 'score'",),
        fairseq="0.10 to main",
    ),
    _card(
        "diverse-beam-index",
        "Diverse beam search",
        "IndexError: index 4 is out of bounds for dimension 0 with size 4 (in DiverseBeamSearch)",
        "Its buffers are addressed by the sentence's id, not by its place in the batch.",
        "Generate with --batch-size 1, or move to a release that has it right.",
        ("diversebeamsearch", "indexerror"),
        ("indexerror", "out of bounds for dimension 0", "diversebeamsearch"),
        ("search.py", "indexerror", "out of bounds for dimension 0"),
        fairseq="0.12 and main",
    ),
    _card(
        "empty-subset",
        "Generating from an empty subset",
        "ZeroDivisionError: division by zero (in fairseq_cli/generate.py)",
        "The speed is worked out by dividing by the number of sentences.",
        "Check --gen-subset and the binarised data: no sentence is left after filtering.",
        ("generate.py", "zerodivisionerror"),
        ("zerodivisionerror",),
    ),
    _card(
        "bf16-xla",
        "--bf16 asks for a TPU",
        "ModuleNotFoundError: No module named 'torch_xla'",
        "The options --tpu and --bf16 are tied together on the command line.",
        "Leave out --bf16, or set common.bf16 through fairseq-hydra-train.",
        ("no module named 'torch_xla'",),
        fairseq="0.10 to main",
    ),
    _card(
        "adafactor-relative-step",
        "adafactor --relative-step",
        "ValueError: Cannot combine manual lr and relative_step options",
        "The learning rate always has a value, and Adafactor refuses both.",
        "Setting --lr 0 is not enough: make lr None in optim/adafactor.py when relative_step is on.",
        ("cannot combine manual lr and relative_step",),
        ("relative_step",),
    ),
    _card(
        "polynomial-decay",
        "polynomial_decay without --total-num-update",
        "omegaconf.errors.ValidationError: Value '???' (or None) for total_num_update",
        "The number of updates is to follow --max-update, but composing the configuration fails first.",
        "Pass --total-num-update explicitly.",
        ("total_num_update",),
    ),
    _card(
        "mmap-float",
        "Float arrays in a memory-mapped dataset",
        "KeyError: <class 'numpy.float32'> (in MMapIndexedDataset)",
        "The table of types has no entry for float32.",
        "Store float64, or extend the table in data/indexed_dataset.py.",
        ("keyerror", "numpy.float32"),
    ),
    _card(
        "lm-dictionary",
        "--lm-path without dict.txt",
        "FileNotFoundError: [Errno 2] No such file or directory: '.../dict.txt' (with --lm-path)",
        "The language model's dictionary is looked for in the data folder.",
        "Put the language model's dict.txt into the data folder.",
        ("no such file or directory", "dict.txt"),
    ),
)

ADVICE: tuple[Patch, ...] = (*PYTHON, *TORCH, *DATA, *DEFECTS)
