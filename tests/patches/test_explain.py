"""Error texts as users paste them, with paths and line numbers around."""

# ruff: noqa: E501

from __future__ import annotations

import pytest

from fairseq_patches.explain import explain
from fairseq_patches.registry import PATCHES

TEXTS = [
    ("ValueError: mutable default <class 'fairseq.dataclass.configs.CommonConfig'> for field common is not allowed: use default_factory", "dataclass-mutable-default"),
    ("ValueError: mutable default <class 'fairseq.models.transformer.transformer_config.EncDecBaseConfig'> for field encoder is not allowed: use default_factory", "dataclass-mutable-default"),
    ("omegaconf.errors.ValidationError: Object of unsupported type: '_MISSING_TYPE'", "dataclass-field-default"),
    ("ValueError: mutable default <class 'hydra.conf.JobConf.JobConfig.OverrideDirname'> for field override_dirname is not allowed: use default_factory", "hydra-1.0-itself"),
    ("WARNING: Ignoring version 2.0.6 of omegaconf since it has invalid metadata: .* suffix can only be used with `==` or `!=` operators PyYAML (>=5.1.*)", "setup-pins"),
    ("ERROR: Cannot install fairseq and fairseq==0.12.2 because these package versions have conflicting dependencies.", "setup-pins"),
    ("ModuleNotFoundError: No module named 'imp'", "imp-module"),
    ("ModuleNotFoundError: No module named 'distutils'", "distutils-module"),
    ("ModuleNotFoundError: No module named 'distutils.util'", "distutils-module"),
    ("ModuleNotFoundError: No module named 'pkg_resources'", "pkg-resources"),
    ("ModuleNotFoundError: No module named 'asyncore'", "removed-stdlib"),
    ("SyntaxWarning: invalid escape sequence '\\d'", "invalid-escape"),
    ("DeprecationWarning: invalid escape sequence \\w", "invalid-escape"),
    ("SyntaxWarning: \"is not\" with 'str' literal. Did you mean \"!=\"?", "is-literal"),
    ("SyntaxWarning: \"is\" with a literal. Did you mean \"==\"?", "is-literal"),
    ("RuntimeError: field should be a type", "future-annotations"),
    ("ValueError: typing.Union is not callable", "typing-optional-text"),
    ("ValueError: badly formed help string", "argparse-percent"),
    ("argparse.ArgumentError: argument --x: conflicting option string: --x", "argparse-duplicate"),
    ("AttributeError: module 'inspect' has no attribute 'getargspec'. Did you mean: 'getargs'?", "inspect-getargspec"),
    ("ImportError: cannot import name 'Iterable' from 'collections' (/usr/lib/python3.10/collections/__init__.py)", "collections-abc"),
    ("TypeError: Population must be a sequence.  For dicts or sets, use sorted(d).", "random-sample-set"),
    ("AttributeError: module 'ast' has no attribute 'Num'", "ast-num"),
    ("RuntimeError: There is no current event loop in thread 'MainThread'.", "event-loop"),
    ("_pickle.PicklingError: Can't pickle <function <lambda> at 0x7f>: attribute lookup <lambda> on x failed", "multiprocessing-fork"),
    ("AttributeError: Can't get local object 'f.<locals>.g'", "multiprocessing-fork"),
    ("_pickle.UnpicklingError: Weights only load failed. This file can still be loaded, to do so you have two options ... WeightsUnpickler error: Unsupported global: GLOBAL argparse.Namespace was not an allowed global by default.", "torch-load"),
    ("ModuleNotFoundError: No module named 'torch._six'", "torch-six"),
    ("RuntimeError: This function was deprecated since version 1.9 and is now removed. `torch.lstsq` is deprecated", "torch-linalg"),
    ("RuntimeError: masked_fill_ only supports boolean masks, but got mask with dtype unsigned char", "torch-bool-masks"),
    ("RuntimeError: Subtraction, the `-` operator, with a bool tensor is not supported.", "torch-bool-masks"),
    ("RuntimeError: Integer division of tensors using div or / is no longer supported", "torch-integer-division"),
    ("FutureWarning: `torch.cuda.amp.autocast(args...)` is deprecated. Please use `torch.amp.autocast('cuda', args...)` instead.", "torch-cuda-amp"),
    ("UserWarning: Support for mismatched key_padding_mask and attn_mask is deprecated. Use same type for both instead.", "attention-mask-types"),
    ("FutureWarning: `torch.nn.utils.weight_norm` is deprecated in favor of `torch.nn.utils.parametrizations.weight_norm`.", "weight-norm"),
    ("RuntimeError: Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment", "deepcopy-weight-norm"),
    ("FutureWarning: Using a non-full backward hook when the forward contains multiple autograd Nodes is deprecated", "torch-backward-hook"),
    ("UserWarning: torch.meshgrid: in an upcoming release, it will be required to pass the indexing argument.", "torch-meshgrid-indexing"),
    ("ImportError: cannot import name 'required' from 'torch.optim.optimizer'", "torch-optimizer-required"),
    ("TypeError: ReduceLROnPlateau.__init__() got an unexpected keyword argument 'verbose'", "plateau-verbose"),
    ("AttributeError: 'CompositeOptimizer' object has no attribute '_optimizer_step_pre_hooks'", "optimizer-init"),
    ("AttributeError: 'CompositeOptimizer' object has no attribute 'defaults'", "optimizer-init"),
    ("RuntimeError: Inplace update to inference tensor outside InferenceMode is not allowed.", "inference-tensors"),
    ("RuntimeError: Error(s) in loading state_dict: Missing key(s) in state_dict: \"decoder.embed_positions._float_tensor\"", "sinusoid-buffer"),
    ("train.py: error: unrecognized arguments: --local-rank=0", "torch-local-rank"),
    ("TypeError: type torch.cuda.ByteTensor not available. Torch not compiled with CUDA enabled.", "torch-cuda-tensor-types"),
    ("AttributeError: module 'torchaudio' has no attribute 'sox_effects'", "torchaudio-removed"),
    ("AttributeError: module 'torchaudio' has no attribute 'set_audio_backend'", "torchaudio-removed"),
    ("lightconv_cuda.cpp:1:10: fatal error: THC/THC.h: No such file or directory", "cuda-extensions"),
    ("AttributeError: Can't get attribute 'Choices' on <module 'fairseq.dataclass.constants' from '/x/constants.py'>", "torch-load"),
    ("ModuleNotFoundError: No module named 'numpy._core'", "torch-load"),
    ("NotImplementedError: cannot instantiate 'PosixPath' on your system", "torch-load"),
    ("AttributeError: module 'numpy' has no attribute 'float'.", "numpy-aliases"),
    ("AttributeError: module 'numpy' has no attribute 'int'.", "numpy-aliases"),
    ("AttributeError: module 'numpy' has no attribute 'long'", "numpy-aliases"),
    ("AttributeError: module 'numpy' has no attribute 'compat'", "numpy-compat-long"),
    ("AttributeError: 'numpy.random._generator.Generator' object has no attribute 'randint'", "numpy-generator-randint"),
    ("AttributeError: 'Generator' object has no attribute 'randint'", "numpy-generator-randint"),
    ("ValueError: Unable to avoid copy while creating an array as requested.", "numpy-copy-false"),
    ("ValueError: setting an array element with a sequence. The requested array has an inhomogeneous shape", "ragged-arrays"),
    ("ValueError: numpy.dtype size changed, may indicate binary incompatibility. Expected 96 from C header, got 88 from PyObject", "numpy-binary"),
    ("A module that was compiled using NumPy 1.x cannot be run in NumPy 2.0.1 as it may crash.", "numpy-binary"),
    ("OverflowError: Python integer -1 out of bounds for uint16", "numpy-promotion"),
    ("AttributeError: module 'omegaconf._utils' has no attribute 'is_primitive_type'", "omegaconf-primitive-type"),
    ("TypeError: compose() got an unexpected keyword argument 'strict'", "hydra-api"),
    ("UserWarning: The version_base parameter is not specified.", "hydra-api"),
    ("omegaconf.errors.InterpolationKeyError: Interpolation key 'common.seed' not found", "interpolation-missing"),
    ("omegaconf.errors.ValidationError: Non optional field cannot be assigned None", "config-none"),
    ("omegaconf.errors.ConfigAttributeError: Key 'eval_wer' is not in struct", "config-struct"),
    ("AttributeError: module 'sacrebleu' has no attribute 'DEFAULT_TOKENIZER'", "sacrebleu-2"),
    ("AttributeError: module 'sacrebleu' has no attribute 'compute_bleu'", "sacrebleu-2"),
    ("ImportError: cannot import name 'TOKENIZERS' from 'sacrebleu.tokenizers'", "sacrebleu-2"),
    ("TypeError: sacrebleu: Each element of `refs` should be a sequence of strings.", "sacrebleu-2"),
    ("TypeError: GPT2Model.forward() got an unexpected keyword argument 'past'", "transformers-past"),
    ("Getting requirements to build wheel did not run successfully. ModuleNotFoundError: No module named 'torch'", "build-isolation"),
    ("FileNotFoundError: [Errno 2] No such file or directory: 'fairseq\\\\version.txt'", "version-txt"),
    ("TypeError: load() missing 1 required positional argument: 'Loader'", "yaml-load"),
    ("ModuleNotFoundError: No module named 'editdistance'", "optional-packages"),
    ("Exception: The dataset is empty. This could indicate that all elements in the dataset have been skipped.", "dropped-last-batch"),
    ("TypeError: Scorer.__init__() takes 2 positional arguments but 4 were given", "scorer-signature"),
    ("AttributeError: 'MaskedLMTask' object has no attribute 'args'", "masked-lm-args"),
    ("KeyError: 'model'", "ema-missing"),
    ("IsADirectoryError: [Errno 21] Is a directory: 'fairseq/examples'", "setup-extensions"),
    ("cc1plus: fatal error: fairseq/clib/libbase/balanced_assignment.cpp: No such file or directory", "setup-extensions"),
    ("DeprecationWarning: `torch.jit.script` is not supported in Python 3.14+ and may break.", "torch-jit-script"),
    ("hydra.errors.ConfigCompositionException: Could not override 'task._name'.\nTo append to your config use +task._name=translation", "hydra-self"),
    ("hydra.errors.ConfigCompositionException: Could not override 'model._name'", "hydra-self"),
    ("UserWarning: In 'config': Defaults list is missing `_self_`. See https://hydra.cc/docs/1.2/upgrades/1.0_to_1.1/default_composition_order for more information", "hydra-self"),
    ("ModuleNotFoundError: No module named 'dynamicconv_cuda'", "cuda-extensions"),
    ("ModuleNotFoundError: No module named 'lightconv_cuda'", "cuda-extensions"),
    ("omegaconf.errors.ConfigKeyError: Key 'simul_type' not in 'FairseqConfig'\n    full_key: simul_type\n    object_type=FairseqConfig", "hydra-api"),
    ("omegaconf.errors.ConfigAttributeError: Key 'simul_type' is not in struct\n    full_key: simul_type\n    object_type=FairseqConfig", "hydra-api"),
    ("omegaconf.errors.ConfigKeyError: Key 'my_registry' not in 'FairseqConfig'", "hydra-api"),
    ("TypeError: got an unexpected 'strict' argument", "hydra-api"),
    ("omegaconf.errors.ConfigKeyError: Key 'eval_wer' not in 'TranslationConfig'", "config-struct"),
    ("ImportError: cannot import name '_apply_del_words' from 'fairseq.models.levenshtein_transformer' (/x/y.py)", "moved-names"),
    ("ImportError: cannot import name 'libnat' from 'fairseq' (/x/fairseq/__init__.py)", "libnat"),
    ("ModuleNotFoundError: No module named 'fairseq.libnat'", "libnat"),
    ("ERROR: missing libnat_cuda. run `python setup.py build_ext --inplace`", "libnat"),
    ("AttributeError: `np.float_` was removed in the NumPy 2.0 release. Use `np.float64` instead.", "numpy-2-names"),
]  # fmt: skip

AROUND = """\
Traceback (most recent call last):
  File "{folder}/bin/fairseq-train", line {line}, in <module>
    sys.exit(cli_main())
  File "{folder}/lib/python3.11/site-packages/fairseq/checkpoint_utils.py", line {line}, in load_checkpoint_to_cpu
    state = load(f, map_location=torch.device("cpu"))
            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
{error}
"""


@pytest.mark.parametrize("text, wanted", TEXTS)
def test_an_error_text_names_its_patch(text: str, wanted: str) -> None:
    assert explain(text, PATCHES)[0].patch.id == wanted


@pytest.mark.parametrize("text, wanted", TEXTS)
@pytest.mark.parametrize("folder, line", [("/home/me/venv", 12), ("C:/Users/Jane Doe/env", 99321)])
def test_other_paths_and_line_numbers_do_not_matter(text: str, wanted: str, folder: str, line: int) -> None:
    traceback = AROUND.format(folder=folder, line=line, error=text)
    assert explain(traceback, PATCHES)[0].patch.id == wanted


def test_an_unknown_error_names_no_patch() -> None:
    assert explain("ValueError: the cat sat on the keyboard", PATCHES) == []


def test_a_patch_id_explains_itself() -> None:
    assert [match.patch.id for match in explain("torch-load", PATCHES)] == ["torch-load"]


@pytest.mark.parametrize("error", [text for text, name in TEXTS if name == "hydra-api" and "Key '" in text])
def test_a_key_that_compose_refuses_is_never_blamed_on_a_checkpoint(error: str) -> None:
    traceback = AROUND.format(folder="/home/me", line=3, error=error)
    matches = [match.patch for match in explain(traceback, PATCHES)]
    assert not any("checkpoint" in patch.cause for patch in matches if patch.advice)
    assert "config-struct" not in [patch.id for patch in matches]
