"""A tiny vision-language model with random weights: Idefics3 (SmolVLM's architecture), two layers before the tiny Llama."""

import base64
import io
from pathlib import Path
from typing import Any

from PIL import Image

from genrec.llm.protocol import WriteRequest
from tests.llm import engines

SIDE, PATCH, SCALE = 32, 8, 2
SPECIAL = ("<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>")
TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def save_idefics(folder: Path) -> Path:
    """The model with its processor and chat template; four tokens a picture and three around it."""
    import torch
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration, Idefics3Processor, PreTrainedTokenizerFast
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

    torch.manual_seed(0)
    folder.mkdir(parents=True)
    engines.save_tokenizer(folder)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(str(folder))
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL)})
    usual: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = usual | {
        "model_type": "llama",
        "vocab_size": len(tokenizer),
        "num_key_value_heads": 1,
        "head_dim": 32,
        "max_position_embeddings": engines.POSITIONS,
        "initializer_range": 0.2,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    vision = usual | {"image_size": SIDE, "patch_size": PATCH, "initializer_range": 0.2}
    token: Any = tokenizer.convert_tokens_to_ids(SPECIAL[0])
    shape: dict[str, Any] = {"scale_factor": SCALE, "image_token_id": token, "pad_token_id": 0}
    config = Idefics3Config(vision_config=vision, text_config=text, **shape)
    Idefics3ForConditionalGeneration(config).save_pretrained(folder)
    edge = {"longest_edge": SIDE}
    Idefics3Processor(
        image_processor=Idefics3ImageProcessorPil(size=edge, max_image_size=edge, do_image_splitting=False),
        tokenizer=tokenizer,
        image_seq_len=(SIDE // PATCH // SCALE) ** 2,
        chat_template=TEMPLATE,
    ).save_pretrained(folder)
    return folder


def plain_text(folder: Path, request: WriteRequest) -> str:
    """What transformers writes greedily from the same message, nothing of ours between."""
    import torch
    from transformers import Idefics3ForConditionalGeneration, Idefics3Processor

    from genrec.models.pictures import data_url

    shown = [Image.open(io.BytesIO(base64.b64decode(data_url(path, 2**20).partition(",")[2]))) for path in request.images]
    processor: Any = Idefics3Processor.from_pretrained(str(folder))
    model: Any = Idefics3ForConditionalGeneration.from_pretrained(str(folder)).eval()
    parts = [
        {"type": "text", "text": request.prefix},
        *({"type": "image"} for _ in shown),
        {"type": "text", "text": request.prompt},
    ]
    text = processor.apply_chat_template([{"role": "user", "content": parts}], add_generation_prompt=True)
    given = processor(text=text, images=[shown], return_tensors="pt", add_special_tokens=False)
    with torch.inference_mode():
        out = model.generate(**given, max_new_tokens=request.max_tokens, do_sample=False)
    return processor.tokenizer.decode(out[0][given["input_ids"].shape[1] :], skip_special_tokens=True)


def paint(path: Path, *colours: str, **options: Any) -> Path:
    """A picture of stripes as wide as the model's patches."""
    picture = Image.new("RGB", (SIDE, SIDE))
    for at in range(0, SIDE, PATCH):
        picture.paste(colours[at // PATCH % len(colours)], (at, 0, at + PATCH, SIDE))
    picture.save(path, **options)
    return path
