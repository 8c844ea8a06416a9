"""Engines under test: the fake, tiny random models saved the way transformers saves them, and the real SmolLM2."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from safetensors.numpy import save_file

from genrec.llm.protocol import LLM

SMOLLM = "HuggingFaceTB/SmolLM2-135M-Instruct"
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
POSITIONS = 1024
CORPUS = [
    " A B C D E F G H I J K L M N O P Q R S T U V W X Y Z a b c d e f g h i j k l m n o p q r s t u v w x y z yes no",
    "A list of films: the thing that one person chose, oldest first. The next line is what the same person chooses next.",
    "- Alien\n- Aliens\n- The Matrix\n- Blade Runner\n- Star Wars\n | chosen: yes\n | chosen: no\nCandidates:\nA. B. C. D.",
]
Dtype = Literal["bfloat16", "float32"]


@dataclass(frozen=True)
class Opened:
    """An engine that every test shares, how to open one more, and how far two runs in its dtype may be apart (nats).

    Every engine has the adapters of `ADAPTERS`.
    """

    name: str
    llm: LLM
    again: Callable[[], LLM]
    tolerance: float


ADAPTERS = ("one", "two.2")


def save_tokenizer(folder: Path) -> int:
    """A byte-level BPE of a few hundred tokens; returns their number."""
    from tokenizers import Tokenizer
    from tokenizers.decoders import ByteLevel as ByteLevelDecoder
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel
    from tokenizers.trainers import BpeTrainer
    from transformers import PreTrainedTokenizerFast

    words: Any = Tokenizer(BPE())
    words.pre_tokenizer = ByteLevel(add_prefix_space=False)
    words.decoder = ByteLevelDecoder()
    trainer = BpeTrainer(
        vocab_size=480, special_tokens=list(SPECIAL), initial_alphabet=sorted(ByteLevel.alphabet()), show_progress=False
    )
    words.train_from_iterator(CORPUS, trainer)
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token=SPECIAL[2], pad_token=SPECIAL[0]).save_pretrained(folder)
    return words.get_vocab_size()


def save_llama(folder: Path, **changes: Any) -> Path:
    """A two-layer Llama. Its weights are ten times the usual spread: what a token attends to must change what it predicts."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return save_model(folder, LlamaForCausalLM, LlamaConfig, **changes)


def save_model(folder: Path, model: Any, config: Any, **changes: Any) -> Path:
    """A small randomly initialised causal LM of any class, with the tiny tokenizer."""
    import torch

    torch.manual_seed(0)
    folder.mkdir(parents=True)
    shape: dict[str, Any] = {
        "vocab_size": save_tokenizer(folder),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": POSITIONS,
        "initializer_range": 0.2,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    model(config(**(shape | changes))).save_pretrained(folder)
    return folder


def save_adapters(parent: Path, base: Path, spread: float = 0.3) -> dict[str, Path]:
    """The adapters `ADAPTERS` for the Llama in `base`, of different ranks on different layers, with random weights."""
    one = save_adapter(parent / ADAPTERS[0], base, rank=4, targets=("q_proj", "v_proj", "up_proj"), seed=1, spread=spread)
    two = save_adapter(parent / ADAPTERS[1], base, rank=8, targets=("o_proj", "v_proj", "down_proj"), seed=2, spread=spread)
    return {ADAPTERS[0]: one, ADAPTERS[1]: two}


def save_adapter(
    folder: Path, base: Path, *, rank: int, targets: Sequence[str], seed: int, spread: float = 0.3, **config: Any
) -> Path:
    """A LoRA adapter as PEFT saves one, written without PEFT, which not every engine's environment has. `spread`: of B."""
    shape = json.loads((base / "config.json").read_text(encoding="utf-8"))
    hidden, inner = shape["hidden_size"], shape["intermediate_size"]
    head = shape.get("head_dim") or hidden // shape["num_attention_heads"]
    queries, values = head * shape["num_attention_heads"], head * shape["num_key_value_heads"]
    sizes = {  # (in, out)
        "q_proj": ("self_attn", hidden, queries),
        "v_proj": ("self_attn", hidden, values),
        "o_proj": ("self_attn", queries, hidden),
        "up_proj": ("mlp", hidden, inner),
        "down_proj": ("mlp", inner, hidden),
    }
    random, weights = np.random.default_rng(seed), {}
    for layer in range(shape["num_hidden_layers"]):
        for name in targets:
            block, inputs, outputs = sizes[name]
            key = f"base_model.model.model.layers.{layer}.{block}.{name}"
            weights[f"{key}.lora_A.weight"] = random.normal(0, inputs**-0.5, (rank, inputs)).astype(np.float32)
            weights[f"{key}.lora_B.weight"] = random.normal(0, spread, (outputs, rank)).astype(np.float32)
    folder.mkdir(parents=True)
    save_file(weights, folder / "adapter_model.safetensors", {"format": "pt"})
    values_of = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": 2 * rank, "bias": "none"}
    values_of |= {"target_modules": list(targets), "base_model_name_or_path": str(base), "lora_dropout": 0.0} | config
    (folder / "adapter_config.json").write_text(json.dumps(values_of), encoding="utf-8")
    return folder


@contextmanager
def own_cache(folder: Path) -> Iterator[None]:
    """Digests of throw-away models are noted in `folder`, not in the person's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENREC_CACHE", str(folder))
        yield


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_llama(tmp_path_factory.mktemp("llama") / "model")


def load(folder: Path, dtype: Dtype = "float32", **options: Any) -> Any:
    """A `TransformersLLM` on a model of `save_model`."""
    from genrec.llm.transformers_engine import TransformersLLM
    from genrec.models.sources import Weights

    with own_cache(folder.parent / "cache"):
        weights = Weights(name="tiny", kind="llm", path=folder, source="path")
        return TransformersLLM(weights, device="cpu", dtype=dtype, **options)


def load_smollm(dtype: Dtype = "bfloat16", adapters: Mapping[str, Path] | None = None) -> Any:
    """SmolLM2 on the CPU, from wherever this machine has it or can get it."""
    from genrec.llm.transformers_engine import TransformersLLM
    from genrec.models.sources import resolve

    return TransformersLLM(resolve(SMOLLM, "llm"), adapters, device="cpu", dtype=dtype)


@cache
def smollm() -> Any:
    """The one SmolLM2 in bf16 that the tests of all rooms share; nobody closes it."""
    return load_smollm()


def plain_model(folder: Path, dtype: Dtype) -> Any:
    """The same weights as transformers loads them, for plain computations."""
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(str(folder), dtype=getattr(torch, dtype), local_files_only=True).eval()
