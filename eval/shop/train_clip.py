"""Trains the small CLIP of tests/clip on drawn pictures and captions, and measures it on combinations that it has not seen.

    python -m eval.shop.train_clip [--out tests/clip] [--pictures 16000] [--epochs 14] [--seed 0]

An open_clip model: a small ResNet, a two-layer text transformer, a byte-level vocabulary of our own. Two losses: captions of any
length against all pictures of the batch that they are true of, and the values of each attribute against one another. One of eight
combinations of object, colour and material, and of pattern, material and setting, is never shown (`kinds.HELD_OUT`).
"""

import argparse
import json
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from eval.shop.kinds import ATTRIBUTES, SAID, Thing, unseen
from eval.shop.scene import any_thing, draw

ROOT = Path(__file__).parent.parent.parent
IMAGE, CONTEXT, VOCABULARY = 96, 32, 1200
CONFIG: dict[str, Any] = {
    "embed_dim": 96,
    "vision_cfg": {"image_size": IMAGE, "layers": [1, 1, 1, 1], "width": 20, "head_width": 64, "patch_size": None},
    "text_cfg": {
        "context_length": CONTEXT,
        "vocab_size": VOCABULARY,
        "hf_tokenizer_name": "tokenizer.json",
        "width": 96,
        "heads": 4,
        "layers": 2,
    },
}
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
OPENINGS = ("a picture of ", "a photo of ", "an image of ", "", "", "this is ", "here you see ", "picture: ")
VALUES = [(place, value) for place, values in enumerate(ATTRIBUTES.values()) for value in values]
STARTS = np.cumsum([0, *(len(values) for values in ATTRIBUTES.values())])


def caption(values: dict[str, str], chance: random.Random) -> str:
    """A caption that tells these attributes and no others."""
    said = {name: chance.choice(SAID[value]) for name, value in values.items()}
    noun = said.pop("object", "")
    place = said.pop("setting", "")
    number = said.pop("count", "")
    before, behind = [], []
    for name in chance.sample(["colour", "pattern", "material"], 3):
        if word := said.get(name, ""):
            (behind if word.startswith(("with ", "made ")) else before).append(word)
    if not noun and (before or behind or number):
        noun = chance.choice(["thing", "object", "item", "product"]) if chance.random() < 0.6 or not before else ""
    if noun and number and values.get("count") != "one":
        noun += "s"
    article = chance.choice(["a ", "the ", ""]) if noun and not number else ""
    if place and " " not in place and (noun or before):
        place = f"in the {place}" if values["setting"] != "beach" else "on the beach"
    words = [number, *before, noun, *behind]
    text = article + " ".join(word for word in words if word)
    parts = [part for part in (text, place) if part]
    if len(parts) == 2 and chance.random() < 0.15:
        parts = [f"{place}:", text]
    return chance.choice(OPENINGS) + " ".join(parts)


def some(thing: Thing, chance: random.Random, least: int) -> dict[str, str]:
    names = chance.sample(list(ATTRIBUTES), chance.randint(least, len(ATTRIBUTES)))
    return {name: value for name, value in zip(ATTRIBUTES, thing.values(), strict=True) if name in names}


def things(count: int, chance: random.Random, *, new: bool) -> list[Thing]:
    """Training shows only what is not `new`; the test only what is."""
    found: list[Thing] = []
    while len(found) < count:
        thing = any_thing(chance)
        if unseen(thing) == new:
            found.append(thing)
    return found


def pixels(shown: list[Thing], chance: random.Random) -> NDArray[np.uint8]:
    """(n, 3, IMAGE, IMAGE)."""
    rows = [np.asarray(draw(thing, chance).resize((IMAGE, IMAGE), Image.Resampling.BICUBIC)) for thing in shown]
    return np.stack(rows).transpose(0, 3, 1, 2)


def numbers(shown: list[Thing]) -> NDArray[np.int64]:
    """(n, 6) places of the values."""
    return np.array([[values.index(v) for values, v in zip(ATTRIBUTES.values(), t.values(), strict=True)] for t in shown])


def tokenizer(chance: random.Random) -> Any:
    """Byte-level BPE: any text has tokens; the end of a text is the largest one, where open_clip reads the text's vector."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    made: Any = Tokenizer(models.BPE())
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    made.decoder = decoders.ByteLevel()
    texts = [caption(some(any_thing(chance), chance, 1), chance) for _ in range(4000)]
    general = json.loads((ROOT / "prompts" / "vocabulary" / "general.json").read_text(encoding="utf-8"))
    texts += [term for group in general["groups"].values() for term in group["terms"]] * 5
    learner = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 3, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=[], show_progress=False
    )
    made.train_from_iterator(texts, learner)
    made.add_special_tokens(["<pad>", "<start>"])
    made.add_special_tokens(["<end>"])
    ends = [(word, made.token_to_id(word)) for word in ("<start>", "<end>")]
    made.post_processor = processors.TemplateProcessing(single="<start> $A <end>", special_tokens=ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", bos_token="<start>", eos_token="<end>", model_max_length=CONTEXT
    )


class Batches:
    """Draws of one batch: pictures, captions with what they tell, and every value said in some way."""

    def __init__(self, words: Any, shown: list[Thing], looks: NDArray[np.uint8], chance: random.Random) -> None:
        self.words, self.shown, self.looks, self.chance = words, shown, looks, chance
        self.truth = torch.from_numpy(numbers(shown))
        self.mean = torch.tensor(MEAN).view(3, 1, 1)
        self.std = torch.tensor(STD).view(3, 1, 1)

    def tokens(self, texts: list[str]) -> Tensor:
        return self.words(texts, return_tensors="pt", max_length=CONTEXT, padding="max_length", truncation=True).input_ids

    def pictures(self, rows: NDArray[np.int64]) -> Tensor:
        look = (torch.from_numpy(self.looks[rows]).float() / 255 - self.mean) / self.std
        shift = [self.chance.randint(-4, 4), self.chance.randint(-4, 4)]
        look = torch.roll(look, shift, dims=(2, 3))
        return look.flip(3) if self.chance.random() < 0.5 else look

    def captions(self, rows: NDArray[np.int64]) -> tuple[list[str], Tensor]:
        """One for each picture; (n, 6) what they tell, -1 for what they leave out."""
        texts, told = [], []
        for row in rows:
            values = some(self.shown[row], self.chance, self.chance.choice((1, 4)))
            texts.append(caption(values, self.chance))
            told.append([list(ATTRIBUTES[name]).index(values[name]) if name in values else -1 for name in ATTRIBUTES])
        return texts, torch.tensor(told)

    def singles(self) -> list[str]:
        names = list(ATTRIBUTES)
        return [caption({names[place]: value}, self.chance) for place, value in VALUES]


def loss_of(model: Any, batches: Batches, rows: NDArray[np.int64]) -> Tensor:
    texts, told = batches.captions(rows)
    truth = batches.truth[torch.from_numpy(rows)]
    with torch.autocast("cpu", torch.bfloat16):
        looks = batches.pictures(rows).contiguous(memory_format=torch.channels_last)
        seen = nn.functional.normalize(model.encode_image(looks).float(), dim=-1)
        said = nn.functional.normalize(model.encode_text(batches.tokens([*texts, *batches.singles()])).float(), dim=-1)
    logits = model.logit_scale.exp() * seen @ said.T
    pairs = logits[:, : len(texts)]
    fits = ((told[None] == truth[:, None]) | (told[None] < 0)).all(dim=2).float()  # (n, n)
    by_picture = -(nn.functional.log_softmax(pairs, 1) * fits).sum(1) / fits.sum(1)
    by_text = -(nn.functional.log_softmax(pairs, 0) * fits).sum(0) / fits.sum(0)
    values = logits[:, len(texts) :]
    told_apart = [
        nn.functional.cross_entropy(values[:, STARTS[place] : STARTS[place + 1]], truth[:, place])
        for place in range(len(ATTRIBUTES))
    ]
    return (by_picture.mean() + by_text.mean()) / 4 + torch.stack(told_apart).mean()


def accuracy(model: Any, batches: Batches, looks: NDArray[np.uint8], shown: list[Thing]) -> dict[str, float]:
    """Share of pictures whose value is the nearest of its attribute, asked as `a picture of …`."""
    names, found = list(ATTRIBUTES), {}
    quiet = random.Random(0)
    model.eval()
    with torch.inference_mode():
        said = model.encode_text(batches.tokens([f"a picture of {caption({names[p]: v}, quiet)}" for p, v in VALUES]))
        seen = [
            model.encode_image((torch.from_numpy(looks[at : at + 200]).float() / 255 - batches.mean) / batches.std)
            for at in range(0, len(looks), 200)
        ]
        logits = nn.functional.normalize(torch.cat(seen), dim=-1) @ nn.functional.normalize(said, dim=-1).T
    for place, name in enumerate(names):
        chosen = logits[:, STARTS[place] : STARTS[place + 1]].argmax(1).numpy()
        found[name] = round(float((chosen == numbers(shown)[:, place]).mean()), 4)
    model.train()
    return found


def save(model: Any, words: Any, folder: Path) -> None:
    """The layout that `local-dir:` of open_clip reads, in float16."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    half = {name: part.half() if part.is_floating_point() else part for name, part in model.state_dict().items()}
    save_file({name: part.contiguous() for name, part in half.items()}, folder / "open_clip_model.safetensors")
    look = {"mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "shortest"}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": CONFIG, "preprocess_cfg": look}, indent=1) + "\n")
    words.save_pretrained(folder)


def main() -> None:
    import open_clip

    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", type=Path, default=ROOT / "tests" / "clip")
    options.add_argument("--pictures", type=int, default=16000)
    options.add_argument("--epochs", type=int, default=14)
    options.add_argument("--batch", type=int, default=128)
    options.add_argument("--rate", type=float, default=3e-3)
    options.add_argument("--seed", type=int, default=0)
    asked = options.parse_args()
    start = time.perf_counter()
    chance = random.Random(asked.seed)
    torch.manual_seed(asked.seed)
    words = tokenizer(random.Random(asked.seed))
    shown, new = things(asked.pictures, chance, new=False), things(1500, chance, new=True)
    looks, new_looks = pixels(shown, chance), pixels(new, chance)
    print(f"drawn {time.perf_counter() - start:.0f} s, {len(words)} tokens", flush=True)
    model: Any = open_clip.CLIP(**CONFIG)
    model.visual.to(memory_format=torch.channels_last)
    batches = Batches(words, shown, looks, chance)
    steps = asked.epochs * (asked.pictures // asked.batch)
    tuner = torch.optim.AdamW(model.parameters(), lr=asked.rate, weight_decay=0.05)
    plan = torch.optim.lr_scheduler.OneCycleLR(tuner, asked.rate, total_steps=steps, pct_start=0.1)
    order = np.random.default_rng(asked.seed)
    for epoch in range(asked.epochs):
        total = 0.0
        for rows in order.permutation(asked.pictures)[: steps // asked.epochs * asked.batch].reshape(-1, asked.batch):
            tuner.zero_grad()
            loss = loss_of(model, batches, rows)
            loss.backward()
            tuner.step()
            plan.step()
            model.logit_scale.data.clamp_(max=4.6)
            total += float(loss.detach())
        figures = accuracy(model, batches, new_looks, new)
        print(f"{epoch} {total * asked.epochs / steps:.3f} {figures} {time.perf_counter() - start:.0f} s", flush=True)
        save(model, words, asked.out)


if __name__ == "__main__":
    main()
