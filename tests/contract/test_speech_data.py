"""Audio files, features, transforms and batches of speech data against recorded ones (``golden/speech_data.json``).

Waves are made here: integers of numpy's ``RandomState(seed)``, averaged twice with their neighbour, in 16 bits. Feature
files hold standard normals. Large arrays are held to shape, mean, root mean square and some evenly spaced values.
"""

from __future__ import annotations

import io
import json
import wave
import zipfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

GOLDEN = json.loads((Path(__file__).parent / "golden" / "speech_data.json").read_text(encoding="utf-8"))
CASES = {case["id"]: case for case in GOLDEN["cases"]}


def pcm(seed: int, n: int, channels: int = 1) -> Any:
    x = np.random.RandomState(seed).randint(-9000, 9001, size=(n, channels))
    for _ in range(2):
        x[1:] = (x[1:] + x[:-1]) // 2
    return x.astype("<i2")


def unit(spec: dict[str, Any]) -> Any:
    """A wave as ``(channels, samples)`` floats."""
    return pcm(spec["seed"], spec["n"], spec.get("ch", 1)).T.astype("float32") / 32768


def wave_bytes(spec: dict[str, Any]) -> bytes:
    body = pcm(spec["seed"], spec["n"], spec.get("ch", 1)) * (0 if spec.get("zero") else 1)
    out = io.BytesIO()
    if spec.get("fmt") == "flac":
        soundfile = pytest.importorskip("soundfile", reason="FLAC files are read by soundfile")
        soundfile.write(out, body, spec.get("rate", 16000), format="FLAC", subtype="PCM_16")
        return out.getvalue()
    with wave.open(out, "wb") as file:
        file.setnchannels(spec.get("ch", 1))
        file.setsampwidth(2)
        file.setframerate(spec.get("rate", 16000))
        file.writeframes(body.tobytes())
    return out.getvalue()


def features(seed: int, n: int, dim: int) -> Any:
    return np.random.RandomState(seed).standard_normal((n, dim)).astype("float32")


def npy_bytes(array: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def store(root: Path, named: list[tuple[str, bytes]], zipped: str | None = None) -> list[str]:
    """Write files, or put them into an uncompressed archive; the paths that find them."""
    if not zipped:
        for name, body in named:
            (root / name).write_bytes(body)
        return [name for name, _ in named]
    with zipfile.ZipFile(root / zipped, "w", zipfile.ZIP_STORED) as archive:
        for name, body in named:
            archive.writestr(zipfile.ZipInfo(name), body)
        members = archive.infolist()
    return [f"{zipped}:{m.header_offset + 30 + len(m.filename)}:{m.file_size}" for m in members]


def manifest(given: dict[str, Any], root: Path) -> str:
    kind = given.get("fmt", "wav")
    named = [(f"m{i}.{kind}", wave_bytes({**spec, "fmt": kind})) for i, spec in enumerate(given["waves"])]
    names = store(root, named, given.get("zip"))
    rows = [f"{name}{given.get('sep', chr(9))}{spec['n']}" for name, spec in zip(names, given["waves"])]
    (root / "m.tsv").write_text("\n".join([str(root), *rows]) + "\n", encoding="utf-8")
    return str(root / "m.tsv")


def dictionary(words: list[str]) -> Any:
    from fairseq.data import Dictionary

    made = Dictionary()
    for word in words:
        made.add_symbol(word)
    return made


def encoder(words: Any) -> Callable[[str], Any]:
    return lambda line: words.encode_line(line, append_eos=False, add_if_not_exist=False)


def seed_all(given: dict[str, Any]) -> None:
    np.random.seed(given.get("np_seed", 0))
    torch.manual_seed(given.get("torch_seed", 0))


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return plain(value.tolist()) if hasattr(value, "tolist") else value


def facts(x: Any, keep: int = 48) -> dict[str, Any]:
    x = np.asarray(x)
    flat = x.reshape(-1)
    places = np.arange(flat.size) if flat.size <= keep else np.arange(keep) * (flat.size - 1) // (keep - 1)
    out: dict[str, Any] = {"shape": list(x.shape), "dtype": str(x.dtype)}
    if flat.size and flat.dtype.kind == "f":
        out["mean"] = float(flat.astype("float64").mean())
        out["rms"] = float((flat.astype("float64") ** 2).mean() ** 0.5)
    elif flat.dtype.kind in "iub":
        out["sum"] = int(flat.astype("int64").sum())
    return {**out, "some": flat[places].tolist()}


def brief(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): brief(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [brief(part) for part in value]
    if hasattr(value, "shape") and len(value.shape):
        array = np.asarray(value)
        return facts(array) if array.size > 48 else {"dtype": str(array.dtype), "values": plain(array)}
    return plain(value)


def report(data: Any, given: dict[str, Any]) -> dict[str, Any]:
    seed_all(given)
    count = range(len(data))
    out: dict[str, Any] = {
        "length": len(data),
        "order": plain(data.ordered_indices()),
        "size": [plain(data.size(i)) for i in count],
        "num_tokens": [plain(data.num_tokens(i)) for i in count],
        "sizes": plain(list(data.sizes)),
    }
    if "max" in given:
        out["kept"] = plain(data.filter_indices_by_size(np.array(out["order"]), given["max"]))
    seed_all(given)
    out["batches"] = [brief(data.collater([data[i] for i in ids])) for ids in given["batches"]]
    return out


# ------------------------------------------------------------------------------------------- one function per kind
def fbank(given: dict[str, Any], root: Path) -> Any:
    from fairseq.data.audio import audio_utils

    body = wave_bytes(given["wave"])
    path = root / f"x.{given['wave'].get('fmt', 'wav')}"
    path.write_bytes(body)
    source = io.BytesIO(body) if given.get("memory") else str(path)
    return facts(audio_utils.get_fbank(source, **given.get("args", {})), 96)


def waveform(given: dict[str, Any], root: Path) -> Any:
    from fairseq.data.audio import audio_utils

    path = root / given.get("name", "x.wav")
    path.write_bytes(wave_bytes(given["wave"]))
    x, rate = audio_utils.get_waveform(str(path), **given.get("args", {}))
    return {"rate": rate, "x": facts(x)}


def converted(given: dict[str, Any], root: Path) -> Any:
    from fairseq.data.audio import audio_utils

    y, rate = audio_utils.convert_waveform(unit(given["wave"]), given["wave"].get("rate", 16000), **given["args"])
    return {"rate": rate, "x": facts(y) if given.get("values", True) else list(y.shape)}


def stored_features(given: dict[str, Any], root: Path) -> Any:
    from fairseq.data.audio import audio_utils

    named = [
        (f"f{i}.npy", npy_bytes(features(item["seed"], item["n"], item["dim"])))
        if "dim" in item
        else (f"f{i}.{item.get('fmt', 'wav')}", wave_bytes(item))
        for i, item in enumerate(given["items"])
    ]
    out = []
    for path, (_, body) in zip(store(root, named, given.get("zip")), named):
        name, pointer = audio_utils.parse_path(str(root / path))
        found = audio_utils.get_features_or_waveform(str(root / path), **given.get("args", {}))
        row = {"file": Path(name).name, "parts": len(pointer), "features": facts(found)}
        row.update(npy=audio_utils.is_npy_data(body), audio=audio_utils.is_sf_audio_data(body))
        if pointer:
            row["same_bytes"] = audio_utils.read_from_stored_zip(name, *pointer) == body
        out.append(row)
    return out


def parse_path(given: dict[str, Any], root: Path) -> Any:
    from fairseq.data.audio import audio_utils

    for name in given.get("files", []):
        (root / name).write_text("x", encoding="utf-8")
    path, pointer = audio_utils.parse_path(given["path"].replace("{root}", str(root)))
    return {"path": path.replace(str(root), "{root}"), "pointer": pointer}


def unreadable(given: dict[str, Any], root: Path) -> Any:
    from fairseq.data.audio import audio_utils

    (root / given["name"]).write_text("text", encoding="utf-8")
    return audio_utils.get_features_or_waveform(str(root / given["name"]) + given.get("suffix", ""))


def spectrum(given: dict[str, Any], root: Path) -> Any:
    from fairseq.data.audio import audio_utils

    sizes = (given["n_fft"], given["win"], given["hop"])
    x = torch.from_numpy(unit(given))
    magnitude, phase = audio_utils.TTSSpectrogram(*sizes, return_phase=True)(x)
    return {
        "window": facts(audio_utils.get_window(torch.hann_window, *sizes[:2])),
        "basis": facts(audio_utils.get_fourier_basis(sizes[0])),
        "magnitude": facts(magnitude),
        "real": facts(magnitude * torch.cos(phase)),
        "imaginary": facts(magnitude * torch.sin(phase)),
        "same": torch.equal(magnitude, audio_utils.TTSSpectrogram(*sizes)(x)),
    }


def mel_scale(given: dict[str, Any], root: Path) -> Any:
    from fairseq.data.audio import audio_utils

    rate, n_fft, n_mels, low, high = (given[key] for key in ("rate", "n_fft", "n_mels", "f_min", "f_max"))
    x = torch.from_numpy(features(given["seed"], 4, n_fft // 2 + 1)).abs().t()
    scale = audio_utils.TTSMelScale(n_mels, rate, low, high, n_fft // 2 + 1)
    return {
        "filters": facts(audio_utils.get_mel_filters(rate, n_fft, n_mels, low, high), 160),
        "scaled": facts(scale(x)),
    }


def feature_transform(given: dict[str, Any], root: Path) -> Any:
    from fairseq.data.audio.feature_transforms import CompositeAudioFeatureTransform

    config = dict(given["config"])
    if given.get("stats"):
        dim = given["shape"][1]
        np.savez(root / "stats.npz", mean=np.linspace(-1, 1, dim), std=np.linspace(0.5, 2, dim))
        config["global_cmvn"] = {"stats_npz_path": str(root / "stats.npz")}
    transform = CompositeAudioFeatureTransform.from_config_dict(config)
    x = features(given["seed"], *given["shape"])
    before = x.copy()
    seed_all(given)
    values = [facts(np.asarray(transform(x)), given.get("keep", 200)) for _ in range(given.get("times", 1))]
    text = None if given.get("stats") else repr(transform)
    return {"values": values, "text": text, "input_unchanged": bool((x == before).all()), "next": np.random.rand()}


def waveform_transform(given: dict[str, Any], root: Path) -> Any:
    from fairseq.data.audio.waveform_transforms import CompositeAudioWaveformTransform

    (root / "sub").mkdir()
    store(root / "sub", [(f"n{i}.wav", wave_bytes(noise)) for i, noise in enumerate(given["noises"])])
    config = {k: {**v, "samples_path": str(root)} if isinstance(v, dict) else v for k, v in given["config"].items()}
    transform = CompositeAudioWaveformTransform.from_config_dict(config)
    x = unit(given["wave"])
    seed_all(given)
    outs = []
    for _ in range(given.get("times", 3)):
        y, rate = transform(x, given["wave"].get("rate", 16000))
        outs.append({"rate": rate, "changed": bool((y != x).any()), "x": facts(y, 24)})
    return {"outs": outs, "text": repr(transform), "next": np.random.rand()}


def concat_augment(given: dict[str, Any], root: Path) -> Any:
    from fairseq.data.audio.dataset_transforms.concataugment import ConcatAugment

    transform = ConcatAugment.from_config_dict(given["config"])
    frames = given["frames"]
    seed_all(given)
    picks = [plain(transform.find_indices(k % len(frames), frames, len(frames))) for k in range(given["times"])]
    return {"picks": picks, "text": repr(transform), "next": np.random.rand()}


def overlap_augment(given: dict[str, Any], root: Path) -> Any:
    from fairseq.data.audio.dataset_transforms.noisyoverlapaugment import NoisyOverlapAugment

    (root / "n.wav").write_bytes(wave_bytes(given["noise"]))
    transform = NoisyOverlapAugment.from_config_dict({**given["config"], "noise_path": str(root)})
    waves = [torch.from_numpy(unit(spec)[0]) for spec in given["waves"]]
    seed_all(given)
    out = transform(waves)
    return {"waves": [facts(x, 40) for x in out], "text": repr(transform), "next": np.random.rand()}


def config_class(name: str) -> Any:
    from fairseq.data.audio import data_cfg
    from fairseq.data.audio.speech_to_text_joint_dataset import S2TJointDataConfig

    names = {"s2t": "S2TDataConfig", "s2s": "S2SDataConfig", "multitask": "MultitaskConfig"}
    return S2TJointDataConfig if name == "joint" else getattr(data_cfg, names[name])


def unrooted(value: Any, root: Path) -> Any:
    return json.loads(json.dumps(plain(value)).replace(json.dumps(str(root))[1:-1], "{root}"))


def data_config(given: dict[str, Any], root: Path) -> Any:
    for name in given.get("files", []):
        (root / name).write_text("x", encoding="utf-8")
    if "yaml" in given:
        (root / "config.yaml").write_text(given["yaml"].replace("{root}", str(root)), encoding="utf-8")
    config = config_class(given["of"])(root / "config.yaml")
    out = {name: unrooted(getattr(config, name), root) for name in given["fields"]}
    for kind, split, train in given.get("transforms", []):
        found = getattr(config, f"get_{kind}_transforms")(split, train)
        out[f"{kind} {split} {train}"] = found.get(f"{kind}_transforms")
    return out


def multitask_config(given: dict[str, Any], root: Path) -> Any:
    for name, words in given.get("dicts", {}).items():
        (root / name).write_text("".join(f"{word} 1\n" for word in words), encoding="utf-8")
    (root / "m.yaml").write_text(given["yaml"].replace("{root}", str(root)), encoding="utf-8")
    config = config_class("multitask")(root / "m.yaml")
    single = {}
    for name in config.get_all_tasks():
        task = config.get_single_task(name)
        row = {f: vars(task.decoder_args) if f == "decoder_args" else getattr(task, f) for f in given["fields"]}
        row["dict"] = None if task.tgt_dict is None else len(task.tgt_dict)
        row["weights"] = [task.get_loss_weight(n) for n in given["updates"]]
        single[name] = row
    return {"tasks": list(single), "first_pass": config.first_pass_decoder_task_index, "single": single}


def file_audio(given: dict[str, Any], root: Path) -> Any:
    from fairseq.data.audio.raw_audio_dataset import FileAudioDataset
    from fairseq.data.text_compressor import TextCompressionLevel

    level = getattr(TextCompressionLevel, given.get("compression", "none"))
    data = FileAudioDataset(manifest(given, root), text_compression_level=level, **given["args"])
    return {**report(data, given), "skipped": sorted(data.skipped_indices)}


def binarized_audio(given: dict[str, Any], root: Path) -> Any:
    from fairseq.data import indexed_dataset
    from fairseq.data.audio.raw_audio_dataset import BinarizedAudioDataset

    manifest(given, root)
    pieces = [["m", str(i), ".", "wav"] for i in range(len(given["waves"]))]
    if not given.get("root_file", True):
        pieces = [[f"{root}/", *row] for row in pieces]
    names = dictionary(sorted({piece for row in pieces for piece in row}))
    names.save(str(root / "dict.txt"))
    builder = indexed_dataset.make_builder(str(root / "train.bin"), "mmap", vocab_size=len(names))
    for row in pieces:
        builder.add_item(torch.IntTensor([names.index(piece) for piece in row]))
    builder.finalize(str(root / "train.idx"))
    (root / "train.lengths").write_text("".join(f"{spec['n']}\n" for spec in given["waves"]), encoding="utf-8")
    if given.get("root_file", True):
        (root / "train.root").write_text(f"{root}\n", encoding="utf-8")
    return report(BinarizedAudioDataset(str(root), "train", **given["args"]), given)


def add_target(given: dict[str, Any], root: Path) -> Any:
    from fairseq.data.add_target_dataset import AddTargetDataset
    from fairseq.data.audio.raw_audio_dataset import FileAudioDataset
    from fairseq.data.text_compressor import TextCompressionLevel, TextCompressor

    level = getattr(TextCompressionLevel, given.get("compression", "none"))
    words = dictionary(given["words"])
    base = FileAudioDataset(manifest(given, root), **given["args"])
    press = TextCompressor(level=level)
    labels = [press.compress(line) for i, line in enumerate(given["lines"]) if i not in base.skipped_indices]
    data = AddTargetDataset(
        base,
        labels,
        pad=words.pad(),
        eos=words.eos(),
        process_label=encoder(words),
        label_len_fn=lambda label: len(label.split(" ")),
        text_compression_level=level,
        **given["target"],
    )
    return report(data, given)


def hubert_data(given: dict[str, Any], root: Path) -> Any:
    from fairseq.data.audio.hubert_dataset import HubertDataset

    words = [dictionary(row) for row in given["words"]]
    for i, lines in enumerate(given["labels"]):
        (root / f"l{i}").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    data = HubertDataset(
        manifest(given, root),
        given["rate"],
        [str(root / f"l{i}") for i in range(len(given["labels"]))],
        given["label_rates"],
        [one.pad() for one in words],
        [one.eos() for one in words],
        label_processors=[encoder(one) for one in words],
        **given["args"],
    )
    return report(data, given)


def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(exist_ok=True)
    lines = ["\t".join(rows[0]), *("\t".join(str(value) for value in row.values()) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def auxiliary_tasks(given: dict[str, Any], root: Path) -> Any:
    spec = given.get("multitask")
    if spec is None:
        return None
    for name, words in spec["dicts"].items():
        (root / name).write_text("".join(f"{word} 1\n" for word in words), encoding="utf-8")
    for name, splits in spec["rows"].items():
        for split, rows in splits.items():
            write_table(root / name / f"{split}.tsv", [{"id": a, "tgt_text": b} for a, b in rows])
    (root / "multitask.yaml").write_text(spec["yaml"].replace("{root}", str(root)), encoding="utf-8")
    tasks = config_class("multitask")(root / "multitask.yaml").get_all_tasks()
    return {name: Namespace(args=task, target_dictionary=task.tgt_dict) for name, task in tasks.items()}


def source_row(given: dict[str, Any], root: Path, split: str, i: int, row: dict[str, Any], path: str) -> dict[str, Any]:
    """One line of a table; files that it names are written."""

    def kept(name: str, array: Any) -> Any:
        store(root, [(name, npy_bytes(array))])
        return name if given.get("relative") else root / name

    audio = path if given.get("relative") else root / path
    line: dict[str, Any] = {"id": f"{split}-{i}"}
    if given["of"] != "s2s":
        line.update(audio=audio, n_frames=row["n"])
    elif "units" in row:
        units = row["units"]
        line.update(src_audio=audio, src_n_frames=row["n"], tgt_audio=units, tgt_n_frames=len(units.split()))
    else:
        target = kept(f"{split}_t{i}.npy", features(given["seed"] + 7 * i + 1, row["tn"], given["tdim"]))
        line.update(src_audio=audio, src_n_frames=row["n"], tgt_audio=target, tgt_n_frames=row["tn"])
    for key in ("pitch", "energy"):
        if key in row:
            line[key] = kept(f"{split}_{key}{i}.npy", features(*row[key], 1)[:, 0])
    return {**line, **row.get("cols", {})}


def write_speech(given: dict[str, Any], root: Path) -> None:
    for spec in given.get("noises", []):
        (root / "noise").mkdir(exist_ok=True)
        (root / "noise" / "n.wav").write_bytes(wave_bytes(spec))
    if "stats" in given:
        dim = given["stats"]
        np.savez(root / "stats.npz", mean=np.linspace(-1, 1, dim), std=np.linspace(0.5, 2, dim))
    (root / "config.yaml").write_text(given["yaml"].replace("{root}", str(root)), encoding="utf-8")
    for split, rows in given["rows"].items():
        named = []
        for i, row in enumerate(rows):
            seed = given.get("seed", 0) + 100 * len(split) + i
            if given.get("audio", "npy") == "npy":
                named.append((f"{split}_{i}.npy", npy_bytes(features(seed, row["n"], given["dim"]))))
            else:
                named.append((f"{split}_{i}.wav", wave_bytes({"seed": seed, "n": row["n"]})))
        paths = store(root, named, f"{split}.zip" if given.get("zip") else None)
        table = [source_row(given, root, split, i, row, path) for i, (row, path) in enumerate(zip(rows, paths))]
        write_table(root / f"{split}.tsv", table)
        if "speaker_dim" in given:
            files = [f"{split}_s{i}.npy" for i in range(len(rows))]
            store(root, [(n, npy_bytes(features(50 + i, 1, given["speaker_dim"])[0])) for i, n in enumerate(files)])
            speakers = [{"id": line["id"], "speaker_embed": root / n} for line, n in zip(table, files)]
            write_table(root / "spk" / f"{split}.tsv", speakers)


def speech_data(given: dict[str, Any], root: Path) -> Any:
    from fairseq.data.audio.speech_to_speech_dataset import SpeechToSpeechDatasetCreator
    from fairseq.data.audio.speech_to_text_dataset import SpeechToTextDatasetCreator
    from fairseq.data.audio.speech_to_text_joint_dataset import SpeechToTextJointDatasetCreator
    from fairseq.data.audio.text_to_speech_dataset import TextToSpeechDatasetCreator

    write_speech(given, root)
    words = dictionary(given["words"]) if "words" in given else None
    cfg = config_class("s2t" if given["of"] == "tts" else given["of"])(root / "config.yaml")
    steps = given.get("n_frames_per_step", 1)
    common = {
        "is_train_split": given.get("train", True),
        "epoch": given.get("epoch", 1),
        "seed": given.get("data_seed", 1),
    }
    if given["of"] == "joint":
        source = dictionary(given["src_words"])
        extra = {**common, **given.get("joint", {})}
        data = SpeechToTextJointDatasetCreator.from_tsv(
            str(root), cfg, given["splits"], words, source, None, None, None, None, **extra
        )
    elif given["of"] == "s2s":
        tasks = auxiliary_tasks(given, root)
        data = SpeechToSpeechDatasetCreator.from_tsv(
            str(root),
            cfg,
            given["splits"],
            target_is_code=given["code"],
            tgt_dict=words,
            n_frames_per_step=steps,
            multitask=tasks,
            **common,
        )
    else:
        creator = TextToSpeechDatasetCreator if given["of"] == "tts" else SpeechToTextDatasetCreator
        data = creator.from_tsv(
            str(root),
            cfg,
            given["splits"],
            words,
            None,
            None,
            n_frames_per_step=steps,
            speaker_to_id={s: i for i, s in enumerate(given["speakers"])} if "speakers" in given else None,
            multitask=auxiliary_tasks(given, root),
            **common,
        )
    return {**report(data, given), **({"text": repr(data)} if given.get("text") else {})}


def layer_list(given: dict[str, Any], root: Path) -> Any:
    from fairseq.modules import LayerDropModuleList

    layers = LayerDropModuleList(p=given["p"], modules=[torch.nn.Linear(1, i + 1) for i in range(given["n"])])
    seed_all(given)
    runs = [[m.out_features for m in layers] for _ in range(given["times"])]
    layers.eval()
    return {"train": runs, "eval": [m.out_features for m in layers], "next": torch.rand(1).item()}


# ----------------------------------------------------------------------------------------------------- comparison
def same(found: Any, wanted: Any, rtol: float, atol: float, place: str = "") -> None:
    if isinstance(wanted, dict):
        assert isinstance(found, dict), place
        assert sorted(found) == sorted(wanted), place
        for key in wanted:
            same(found[key], wanted[key], rtol, atol, f"{place}/{key}")
    elif isinstance(wanted, list):
        assert len(found) == len(wanted), place
        for number, (one, other) in enumerate(zip(found, wanted)):
            same(one, other, rtol, atol, f"{place}[{number}]")
    elif isinstance(wanted, float):
        assert found == pytest.approx(wanted, rel=rtol, abs=atol), place
    else:
        assert found == wanted, place


@pytest.mark.parametrize("name", list(CASES))
def test_speech_data_is_the_recorded_one(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    replay, wanted = globals()[case["kind"]], case["expect"]
    if isinstance(wanted, dict) and "raises" in wanted:
        with pytest.raises(Exception) as caught:
            replay(case["given"], tmp_path)
        assert wanted["raises"] in {kind.__name__ for kind in caught.type.__mro__}
        return
    found = thinned(replay(case["given"], tmp_path))
    same(found, wanted, case.get("rtol", 1e-4), case.get("atol", 1e-5))


def thinned(value: Any) -> Any:
    """Every sixth of the values that were picked, as in the file."""
    if isinstance(value, dict):
        return {k: v[::6] if k == "some" and len(v) > 24 else thinned(v) for k, v in value.items()}
    return [thinned(part) for part in value] if isinstance(value, list) else value
