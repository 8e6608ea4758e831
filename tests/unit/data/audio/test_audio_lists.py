"""Lists of audio that cannot be used are named with their line; so is the audio they list."""

from __future__ import annotations

import logging
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fairseq.data import Dictionary, data_utils
from fairseq.data.audio.data_cfg import S2TDataConfig
from fairseq.data.audio.hubert_dataset import HubertDataset
from fairseq.data.audio.multitask_targets import TextTargetMultitaskData
from fairseq.data.audio.raw_audio_dataset import FileAudioDataset, RawAudioDataset
from fairseq.data.audio.speech_to_text_dataset import SpeechToTextDataset, SpeechToTextDatasetCreator


def write_wave(path: Path, samples: int = 50, rate: int = 16000) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.arange(samples, dtype="<i2").tobytes())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_wave(tmp_path / "a.wav")
    write_wave(tmp_path / "slow.wav", rate=8000)
    (tmp_path / "text.wav").write_text("text", encoding="utf-8")
    (tmp_path / "labels").write_text("1 1\n" * 4, encoding="utf-8")
    rows = ["a.wav\t50", "gone.wav\t50", "slow.wav\t50", "text.wav\t50"]
    (tmp_path / "m.tsv").write_text("\n".join([str(tmp_path), *rows]) + "\n", encoding="utf-8")
    return tmp_path


WRONG = [
    (1, r"m\.tsv, line 3: File not found: .*gone\.wav"),
    (2, r"m\.tsv, line 4: .*8000"),
    (3, r"m\.tsv, line 5: .*text\.wav: no"),
]


@pytest.mark.parametrize(("index", "message"), WRONG)
def test_listed_audio_is_named_with_its_line(index: int, message: str, folder: Path) -> None:
    plain = FileAudioDataset(folder / "m.tsv", 16000)
    hubert = HubertDataset(folder / "m.tsv", 16000, [str(folder / "labels")], 100, [1], [2])
    for data in (plain, hubert):
        assert len(data[0]["source"]) == 50
        with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
            data[index]
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("line", ["a.wav\tmany", "a.wav\t-5", "a.wav\t"])
def test_lengths_that_are_none_are_refused(line: str, folder: Path) -> None:
    (folder / "m.tsv").write_text(f"{folder}\na.wav\t50\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"m\.tsv, line 3: the second column is the number of samples"):
        FileAudioDataset(folder / "m.tsv", 16000)
    with pytest.raises(ValueError, match=r"m\.tsv, line 3: the second column is the number of samples"):
        HubertDataset(folder / "m.tsv", 16000, [str(folder / "labels")], 100, [1], [2])


def test_labels_of_another_number_are_refused(folder: Path) -> None:
    (folder / "labels").write_text("1 1\n" * 3, encoding="utf-8")
    for store in (True, False):
        with pytest.raises(AssertionError, match=r"number of labels does not match \(3 != 4\): .*labels"):
            HubertDataset(folder / "m.tsv", 16000, [str(folder / "labels")], 100, [1], [2], store_labels=store)


def test_labels_that_last_longer_are_told(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "labels").write_text("1 1\n" + "1 " * 50 + "\n1 1\n1 1\n", encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        HubertDataset(folder / "m.tsv", 16000, [str(folder / "labels")], [100], [1], [2])
    assert any("audio and label duration differ too much" in record.getMessage() for record in caplog.records)


def tsv(folder: Path, *rows: str, head: str = "id\taudio\tn_frames\ttgt_text") -> Any:
    (folder / "config.yaml").write_text("use_audio_input: true\n", encoding="utf-8")
    (folder / "train.tsv").write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    words = Dictionary()
    words.add_symbol("x")
    cfg = S2TDataConfig(folder / "config.yaml")
    return SpeechToTextDatasetCreator.from_tsv(
        str(folder), cfg, "train", words, None, None, is_train_split=True, epoch=1, seed=1
    )


def test_a_table_names_the_line_of_what_it_lists(folder: Path) -> None:
    data = tsv(folder, f"0\t{folder}/a.wav\t50\tx", f"1\t{folder}/gone.wav\t50\tx", f"2\t{folder}/text.wav\t50\tx")
    assert data[0].source.shape == (50,)
    with pytest.raises(FileNotFoundError, match=r"train\.tsv, line 3: File not found: .*gone\.wav"):
        data[1]
    with pytest.raises(ValueError, match=r"train\.tsv, line 4: .*text\.wav: no"):
        data[2]


def test_tables_that_cannot_be_used_are_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"train\.tsv, line 3: n_frames should be a whole number, got 'long'"):
        tsv(folder, "0\ta.wav\t50\tx", "1\ta.wav\tlong\tx")
    with pytest.raises(ValueError, match=r"train\.tsv, line 2: more columns than the first line names"):
        tsv(folder, "0\ta.wav\t50\tx\ty")
    with pytest.raises(ValueError, match=r"train\.tsv: the columns tgt_text are missing"):
        tsv(folder, "0\ta.wav\t50", head="id\taudio\tn_frames")
    with pytest.raises(ValueError, match="Empty manifest"):
        tsv(folder)


def test_audio_of_a_data_set_without_a_table_is_named(folder: Path) -> None:
    (folder / "config.yaml").write_text("a: 1\n", encoding="utf-8")
    cfg = S2TDataConfig(folder / "config.yaml")
    data = SpeechToTextDataset("dev", False, cfg, [str(folder / "a.wav")], [50], ids=["first"])
    with pytest.raises(AssertionError, match=r"sample first of dev: .*a\.wav: 50 samples at 16000 Hz are less than"):
        data[0]


def test_overlap_needs_waveforms(folder: Path) -> None:
    text = "dataset_transforms: {_train: [noisyoverlapaugment]}\nnoisyoverlapaugment: {noise_path: NOISE}\n"
    (folder / "config.yaml").write_text(text.replace("NOISE", str(folder)), encoding="utf-8")
    with pytest.raises(ValueError, match="it needs use_audio_input: true"):
        SpeechToTextDataset("train", True, S2TDataConfig(folder / "config.yaml"), [], [])


def test_a_sample_without_auxiliary_target_gets_an_empty_one(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    from fairseq.data.audio.data_cfg import SingleTaskConfig

    words = Dictionary()
    words.add_symbol("x")
    (folder / "aux.tsv").write_text("id\ttgt_text\n0\tx x\n", encoding="utf-8")
    for kind, empty in (("ctc", []), ("transformer", [2])):
        task = SingleTaskConfig("aux", {"dict": "none.txt", "data": str(folder), "decoder_type": kind})
        data = TextTargetMultitaskData(task, "aux", words)
        with caplog.at_level(logging.WARNING):
            targets = [data.get("0"), data.get("missing")]
        assert targets[1].tolist() == empty
        batch = data.collater(targets)
        assert batch["target_lengths"].tolist() == [len(target) for target in targets]
        assert batch["net_input"]["prev_output_tokens"].shape == batch["target"].shape
    assert any(record.getMessage() == "no target for missing" for record in caplog.records)


class Waves(RawAudioDataset):
    """Audio that is there already."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._sample(index, torch.ones(self.sizes[index]))


@pytest.mark.parametrize("pad", [False, True])
def test_precomputed_masks_follow_their_audio(pad: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def block_mask(shape: tuple[int, int], **options: Any) -> torch.Tensor:
        seen.append((shape, options["mask_prob"], options["expand_adjcent"]))
        return torch.ones(shape, dtype=torch.bool)

    monkeypatch.setattr(data_utils, "compute_block_mask_1d", block_mask, raising=False)
    spec = "[(4, 5, 3)] + [(4, 3, 2)]"
    data = Waves(
        8000,
        pad=pad,
        compute_mask=True,
        feature_encoder_spec=spec,
        mask_prob=0.5,
        clone_batch=2,
        expand_adjacent=True,
    )
    data.sizes = [130, 61, 90]
    mask = data.collater([data[i] for i in range(3)])["net_input"]["precomputed_mask"]
    # Every sample has masks for all its frames, which are cropped and padded with its audio.
    assert seen == [((2, 20), 0.5, True), ((2, 9), 0.5, True), ((2, 14), 0.5, True)]
    assert mask.dtype == torch.float32
    assert mask.sum(1).tolist() == ([20, 20, 9, 9, 14, 14] if pad else [9] * 6)
    assert mask.shape == (6, 20 if pad else 9)


def test_wrong_convolutions_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="__import__"):
        Waves(8000, compute_mask=True, feature_encoder_spec="__import__('os').getcwd()")
