"""Parts that only a GPU shows: NCCL, sharding there, compiling, TensorFloat-32, and updates that do not wait for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.gpu

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "end_to_end"))
PYTHONPATH = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
MODEL = (  # noqa: SIM905
    "--arch transformer --encoder-layers 1 --decoder-layers 1 --encoder-embed-dim 32 --decoder-embed-dim 32 "
    "--encoder-ffn-embed-dim 64 --decoder-ffn-embed-dim 64 --encoder-attention-heads 2 --decoder-attention-heads 2 "
    "--dropout 0"
).split()
PAIRS = ["--task", "translation", "-s", "aa", "-t", "bb"]
RUN = (  # noqa: SIM905
    "--num-workers 0 --seed 3 --log-format json --log-interval 1 --max-tokens 60 "
    "--optimizer adam --lr 0.01 --lr-scheduler inverse_sqrt --warmup-updates 4"
).split()


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> str:
    import toy_training

    return toy_training.make_data(tmp_path_factory.mktemp("pairs"))


@pytest.fixture
def nccl() -> Iterator[Any]:
    """A group of one process, over NCCL."""
    import torch.distributed as dist

    dist.init_process_group("nccl", store=dist.HashStore(), rank=0, world_size=1, device_id=torch.device("cuda", 0))
    yield dist.group.WORLD
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def text(pairs: str) -> str:
    """One side of the pairs, binarised for language models."""
    from fairseq import options
    from fairseq_cli.preprocess import main as preprocess

    given = Path(pairs).parent
    words = ["--only-source", "--trainpref", f"{given}/train.aa", "--validpref", f"{given}/valid.aa"]
    preprocess(options.get_preprocessing_parser().parse_args([*words, "--destdir", f"{given}/text"]))
    return f"{given}/text"


def trainer(pairs: str, folder: Path, *words: Any) -> tuple[Any, Any]:
    from fairseq import options, tasks
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf
    from fairseq.trainer import Trainer

    given = [*([] if "--arch" in words else MODEL), *([] if "--task" in words else PAIRS)]
    argv = [pairs, *given, *RUN, "--save-dir", str(folder), *map(str, words)]
    cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), argv))
    task = tasks.setup_task(cfg.task)
    torch.manual_seed(1)
    made = Trainer(cfg, task, task.build_model(cfg.model), task.build_criterion(cfg.criterion))
    return made, made.get_train_iterator(1).next_epoch_itr(shuffle=False)


def test_collective_calls_work_over_nccl(nccl: Any) -> None:
    from fairseq.distributed import utils

    assert utils.all_reduce(torch.ones(2, device="cuda"), nccl).tolist() == [1, 1]
    assert utils.all_gather_list({"a": torch.ones(1, device="cuda")}, nccl)[0]["a"].tolist() == [1]
    summed = utils.all_reduce_dict({"n": 3, "t": torch.ones(2, device="cuda")}, torch.device("cuda"), nccl)
    assert summed["n"].item() == 3 and summed["t"].device.type == "cuda"
    assert utils.broadcast_object([torch.ones(1)], 0, nccl)[0].tolist() == [1]


@pytest.mark.parametrize("backend", ["pytorch_ddp", "legacy_ddp", "fully_sharded"])
def test_every_backend_gives_the_gradients_of_the_bare_model(backend: str, nccl: Any) -> None:
    from fairseq.dataclass.configs import DistributedTrainingConfig
    from fairseq.distributed.wrap import wrap_model

    def gradients(wrap: bool) -> list[torch.Tensor]:
        torch.manual_seed(0)
        model: Any = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)).cuda()
        settings = DistributedTrainingConfig(ddp_backend=backend, tpu=False, fp16=False)
        used = wrap_model(settings, model, nccl, torch.device("cuda", 0)) if wrap else model
        used(torch.ones(3, 4, device="cuda")).square().sum().backward()
        if hasattr(used, "all_reduce_grads"):
            used.all_reduce_grads()
        return [getattr(p.grad, "full_tensor", lambda p=p: p.grad)() for p in used.parameters()]

    for ours, bare in zip(gradients(True), gradients(False)):
        torch.testing.assert_close(ours, bare)


def waits_of(made: Any, batches: list[Any]) -> list[str]:
    """Where updates over these batches wait for the GPU."""
    import warnings

    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            for batch in batches:
                made.train_step([batch])
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return [f"{entry.filename}:{entry.lineno}" for entry in seen if "synchroniz" in str(entry.message)]


@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        ("", 0),
        ("--bf16", 0),
        ("--clip-norm 1", 0),
        ("--memory-efficient-bf16 --clip-norm 1", 0),
        ("--optimizer sgd", 0),
        ("--optimizer adafactor", 0),
        ("--criterion label_smoothed_cross_entropy --label-smoothing 0.1 --report-accuracy", 0),
        # What happens next depends on whether the scaled gradients have overflowed.
        ("--fp16 --clip-norm 1", 1),
        ("--amp --clip-norm 1", 1),
    ],
)
def test_an_update_does_not_wait_for_the_gpu(pairs: str, tmp_path: Path, words: str, allowed: int) -> None:
    made, batches = trainer(pairs, tmp_path, *words.split())
    updates = list(batches)
    for batch in updates[:3]:
        made.train_step([batch])
    waits = waits_of(made, updates[3:5])
    assert len(waits) <= 2 * allowed, waits
    assert made.get_num_updates() == 5


LM = (
    "--task language_modeling --arch transformer_lm --decoder-layers 1 --decoder-embed-dim 16 "
    "--decoder-ffn-embed-dim 32 --decoder-attention-heads 2 --tokens-per-sample 12 --sample-break-mode eos --dropout 0"
)
LSTM = "--encoder-embed-dim 8 --encoder-hidden-size 8 --decoder-embed-dim 8 --decoder-hidden-size 8 --dropout 0"
BANDS = "--criterion adaptive_loss --ddp-backend legacy_ddp --adaptive-softmax-cutoff 6,9"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("text", LM),
        ("text", f"{LM} --bf16"),
        ("text", f"{LM} {BANDS}"),
        ("text", f"{LM} {BANDS} --adaptive-input --adaptive-input-cutoff 6,9"),
        ("text", f"{LM} --sample-break-mode none"),
        ("pairs", f"--arch lstm {LSTM} --decoder-out-embed-dim 8"),
        ("pairs", f"--user-dir {ROOT}/plugins/tutorial_lstm --arch tutorial_simple_lstm"),
        ("pairs", BANDS),
    ],
)
def test_what_the_host_has_seen_is_not_asked_for_again(
    request: pytest.FixtureRequest, tmp_path: Path, data: str, words: str
) -> None:
    made, batches = trainer(request.getfixturevalue(data), tmp_path, *words.split())
    updates = list(batches)
    for batch in updates[:3]:
        made.train_step([batch])
    assert waits_of(made, updates[3:5]) == []


@pytest.mark.parametrize("words", ["", "--clip-norm 1", "--bf16 --clip-norm 1"])
def test_a_broken_update_is_found_in_the_next_and_changes_nothing(
    pairs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any, words: str
) -> None:
    from fairseq.modules import MultiheadAttention

    made, batches = trainer(pairs, tmp_path, *words.split())
    updates = list(batches)
    real = MultiheadAttention.forward

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        output, weights = real(self, *args, **kwargs)
        breaks = made.get_num_updates() == 2 and self.encoder_decoder_attention
        return (output * float("nan") if breaks else output), weights

    monkeypatch.setattr(MultiheadAttention, "forward", forward)
    made.train_step([updates[0]])
    made.train_step([updates[1]])
    before = {name: value.clone() for name, value in made.get_model().state_dict().items()}
    made.train_step([updates[2]])
    assert made.get_num_updates() == 3
    with pytest.raises(FloatingPointError, match="gradients are Nan/Inf"):
        made.train_step([updates[3]])
    assert made.get_num_updates() == 2
    assert all(torch.equal(value, before[name]) for name, value in made.get_model().state_dict().items())
    assert "NaN detected in output of decoder.layers.0.encoder_attn" in caplog.text


def test_a_compiled_model_gives_the_losses_of_the_plain_one(pairs: str, tmp_path: Path) -> None:
    def losses(**variables: str) -> list[float]:
        words = [pairs, *MODEL, *RUN, "--max-update", "4", "--no-save", "--disable-validation"]
        environment = {**os.environ, "PYTHONPATH": PYTHONPATH, **variables}
        command = [sys.executable, "-m", "fairseq_cli.train", *words]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        import re

        return [float(value) for value in re.findall(r'train_inner \| .*?"loss": "([\d.]+)"', done.stdout)]

    plain, compiled = losses(), losses(FAIRSEQ_COMPILE="1")
    assert len(plain) == 4 and compiled == pytest.approx(plain, abs=5e-3)


def test_float32_is_exact_unless_tensorfloat_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from fairseq import runtime_flags

    before = torch.get_float32_matmul_precision()
    try:
        runtime_flags.choose_float32(uses_cuda=True)
        assert torch.get_float32_matmul_precision() == before
        monkeypatch.setenv("FAIRSEQ_TF32", "1")
        runtime_flags.choose_float32(uses_cuda=True)
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("precision", [["--fp16"], ["--amp"], ["--memory-efficient-bf16"]])
def test_a_run_on_the_gpu_resumes_where_it_was(pairs: str, tmp_path: Path, precision: list[str]) -> None:
    from fairseq.serialization import read_checkpoint

    for updates in ("3", "5"):
        words = [pairs, *MODEL, *RUN, *precision, "--max-update", updates, "--save-dir", str(tmp_path)]
        command = [sys.executable, "-m", "fairseq_cli.train", *words]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": PYTHONPATH}
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    state = read_checkpoint(tmp_path / "checkpoint_last.pt")
    assert state["optimizer_history"][-1]["num_updates"] == 5
    assert all(value.isfinite().all() for value in state["model"].values())
