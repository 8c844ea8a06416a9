"""Arguments of vLLM's engine, from the settings; the same for the engine in this process and for `genrec llm serve`."""

from collections.abc import Mapping
from pathlib import Path

from genrec.llm.adapters import WEIGHTS, check_weights
from genrec.settings.sections import LlmSettings

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks that vLLM makes room for."""

MOST_LORAS = 8
"""Adapters in one batch at most; requests for further ones wait for the next."""

CPU_BLOCK = 32
"""Tokens in a block of the prefix cache on a CPU, the least that vLLM's attention there takes. A smaller block wastes less: what
candidates share is cached up to the end of its last whole block, and the rest is computed for each of them."""

CPU_KV_GB = 2.0


def engine_flags(settings: LlmSettings, *, dtype: str, adapters: Mapping[str, Path], cpu: bool) -> list[str]:
    """`vllm serve` arguments for the engine; `settings.options` come last and so win. Raises AdapterError.

    `cpu`: whether vLLM runs on a CPU. There the output head keeps the model's precision, because vLLM would cast all of it
    to float32 anew in every step; on a GPU its products are added up in float32, which costs little and is what lets close
    candidates be told apart.
    """
    flags = ["--dtype", dtype, "--max-num-seqs", str(settings.max_num_seqs), "--enable-prefix-caching"]
    if settings.max_model_len:
        flags += ["--max-model-len", str(settings.max_model_len)]
    if settings.kv_cache_gb or cpu:
        flags += ["--kv-cache-memory-bytes", str(int((settings.kv_cache_gb or CPU_KV_GB) * 2**30))]
    if settings.block_size or cpu:
        flags += ["--block-size", str(settings.block_size or CPU_BLOCK)]
    if settings.quantization:
        flags += ["--quantization", settings.quantization]
    # the library that the engine `transformers` uses: it knows patterns of many words, and compiles them as they are needed
    flags += ["--structured-outputs-config", '{"backend": "guidance", "disable_additional_properties": true}']
    if settings.eager:
        flags += ["--enforce-eager"]
    if not cpu:
        flags += ["--hf-overrides", '{"head_dtype": "float32"}']
    if adapters:
        flags += ["--enable-lora", "--max-lora-rank", str(lora_rank(adapters))]
        flags += ["--max-loras", str(min(len(adapters), MOST_LORAS)), "--max-cpu-loras", str(len(adapters))]
        # the rest of the model stays as it is, above all the output head: vLLM 0.32 with a LoRA head fails at prompt rows
        flags += ["--lora-target-modules", *lora_modules(adapters)]
    return [*flags, *settings.options]


def lora_rank(adapters: Mapping[str, Path]) -> int:
    """The least rank that vLLM can make room for and that all of `adapters` fit in. Raises AdapterError."""
    most = max(_rank(path) for path in adapters.values())
    return next((rank for rank in RANKS if rank >= most), most)


def lora_modules(adapters: Mapping[str, Path]) -> list[str]:
    """Names of the layers that at least one of `adapters` changes, say q_proj."""
    from safetensors import safe_open

    found: set[str] = set()
    for folder in adapters.values():
        with safe_open(folder / WEIGHTS, framework="np") as file:
            found.update(key.split(".lora_")[0].rsplit(".", 1)[-1] for key in file.keys())  # noqa: SIM118 - not a mapping
    return sorted(found)


def _rank(folder: Path) -> int:
    config = check_weights(folder)
    return max(int(config["r"]), *map(int, config.get("rank_pattern", {}).values()), 1)
