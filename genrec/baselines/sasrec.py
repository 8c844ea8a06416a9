"""SASRec trained with cross-entropy over the whole catalogue, on item ids alone."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from genrec.baselines.base import Baseline, Config, ndcg
from genrec.progress import Progress
from genrec.retrieval.sequences import Sequences
from genrec.retrieval.systems import Content


class Block(nn.Module):
    """Pre-norm attention and feed-forward, each added to its input."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention = nn.LayerNorm(width)
        self.attention = nn.Linear(width, 3 * width)
        self.joined = nn.Linear(width, width)
        self.before_forward = nn.LayerNorm(width)
        self.wide = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor) -> Tensor:  # (B, L, D)
        batch, length, width = states.shape
        parts = self.attention(self.before_attention(states)).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        dropped = self.dropout.p if self.training else 0.0
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=True, dropout_p=dropped)
        states = states + self.dropout(self.joined(seen.transpose(1, 2).reshape(batch, length, width)))
        return states + self.dropout(self.narrow(functional.gelu(self.wide(self.before_forward(states)))))


class CausalIds(nn.Module):
    """Item ids in, a state after each of them out; states times `items` are the scores of the next item."""

    def __init__(self, n_items: int, *, width: int, layers: int, heads: int, dropout: float, length: int) -> None:
        super().__init__()
        self.items = nn.Embedding(n_items, width)
        self.places = nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.last_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.length = length
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(self, items: Tensor, lengths: Tensor) -> Tensor:
        """(B, L) item numbers, filled up on the right, (B,) numbers of real ones -> (B, L, D).

        Places count back from the newest event, as with filling up on the left; but here no real event can see a filler, so
        that the attention needs no mask.
        """
        count = torch.arange(items.shape[1], device=items.device)
        places = (count[None] + self.length - lengths[:, None]).clamp(max=self.length - 1)
        states = self.items(items) * self.items.embedding_dim**0.5 + self.places(places)
        states = self.dropout(states)
        for block in self.blocks:
            states = block(states)
        return self.last_norm(states)


HELD_OUT_SHARE = 0.2
HELD_OUT_LEAST = 500
MOST_LOGITS = 60_000_000
"""Of one step; a large catalogue gets smaller batches."""


class SasRecConfig(Config):
    width: int = Field(default=128, ge=1)
    layers: int = Field(default=2, ge=1)
    heads: int = Field(default=2, ge=1)
    dropout: float = Field(default=0.5, ge=0, lt=1)
    length: int = Field(default=100, ge=1)
    """Latest events that are read; longer histories are trained on in pieces."""
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    batch: int = Field(default=32, ge=1)
    epochs: int = Field(default=100, ge=1)
    patience: int = Field(default=6, ge=1)
    """Epochs without a better NDCG@10 on the held-out events, after which training stops; the best epoch is kept."""

    @model_validator(mode="after")
    def _heads_fit(self) -> "SasRecConfig":
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is no multiple of {self.heads} heads")
        return self


class SasRec(Baseline[SasRecConfig]):
    """Kang and McAuley (ICDM 2018) with the full softmax of Klenitskiy and Vasilev (RecSys 2023).

    Early stopping looks at the last train event of a fifth of the people (at least `HELD_OUT_LEAST`), which are not trained on.
    """

    name = "sasrec"
    seeded = True
    config_class: ClassVar[type[Config]] = SasRecConfig

    def grid(self) -> Sequence[Mapping[str, Any]]:
        return [
            {"width": 128, "layers": 2, "dropout": 0.5, "learning_rate": 0.001},
            {"width": 64, "layers": 2, "dropout": 0.3, "learning_rate": 0.001},
            {"width": 256, "layers": 1, "dropout": 0.5, "learning_rate": 0.001},
            {"width": 128, "layers": 2, "dropout": 0.5, "learning_rate": 0.0005},
        ]

    def _fit(self, train: Sequences, content: Content, progress: Progress) -> None:
        rng = np.random.default_rng(self.seed)
        learned, histories, targets = hold_out(train, rng)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            config = self.config
            self._network = CausalIds(
                len(train.item_ids),
                width=config.width,
                layers=config.layers,
                heads=config.heads,
                dropout=config.dropout,
                length=config.length,
            ).to(self._device)
            progress.start("sasrec", config.epochs)
            try:
                self.epoch, self.validation = self._train(learned, histories, targets, rng, progress)
            finally:
                progress.finish()

    def _train(
        self, learned: Sequences, histories: Sequences, targets: NDArray[np.int32], rng: np.random.Generator, progress: Progress
    ) -> tuple[int, float]:
        """The best epoch and its NDCG@10 on the held-out events; its weights are left in the network."""
        network, config = self._network, self.config
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, betas=(0.9, 0.98)
        )
        rows = max(1, min(config.batch, MOST_LOGITS // (config.length * len(learned.item_ids))))
        best, best_epoch, kept = -1.0, 0, {}
        for epoch in range(1, config.epochs + 1):
            network.train()
            for batch in batches(learned, config.length, rows, rng):
                items, lengths, following = (tensor.to(self._device) for tensor in batch)
                states = network(items, lengths)
                real = torch.arange(items.shape[1], device=self._device)[None] < lengths[:, None]
                loss = functional.cross_entropy(states[real] @ network.items.weight.T, following[real])
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
            progress.advance()
            value = ndcg(self._scores(histories), histories, targets) if len(targets) else float(epoch)
            if value > best:
                best, best_epoch = value, epoch
                kept = {name: tensor.clone() for name, tensor in network.state_dict().items()}
            elif epoch - best_epoch >= config.patience:
                break
        network.load_state_dict(kept)
        return best_epoch, best

    def _scores(self, histories: Sequences) -> NDArray[np.floating]:
        network, length = self._network.eval(), self.config.length
        made = np.zeros((len(histories.user_ids), len(histories.item_ids)), np.float32)
        known = np.flatnonzero(histories.lengths > 0)
        known = known[np.argsort(histories.lengths[known], kind="stable")]  # like lengths together: little filler
        with torch.inference_mode():
            for start in range(0, len(known), 128):
                users = known[start : start + 128]
                ends = histories.offsets[users + 1]
                begins = np.maximum(histories.offsets[users], ends - length)
                lengths = torch.from_numpy(ends - begins).to(self._device)
                states = network(_filled(histories.items, begins, ends).to(self._device), lengths)
                last = states[torch.arange(len(users), device=self._device), lengths - 1]
                made[users] = (last @ network.items.weight.T).cpu().numpy()
        return made


def hold_out(train: Sequences, rng: np.random.Generator) -> tuple[Sequences, Sequences, NDArray[np.int32]]:
    """Train without the last events of some people; the histories of these people, and the events taken away."""
    able = np.flatnonzero(train.lengths >= 3)
    wanted = max(HELD_OUT_LEAST, round(HELD_OUT_SHARE * len(able)))
    asked = np.sort(rng.choice(able, min(wanted, len(able)), replace=False))
    last = train.offsets[asked + 1] - 1
    kept = np.ones(len(train), bool)
    kept[last] = False
    learned = train.where(kept)
    return learned, learned.take(asked), train.items[last]


def batches(sequences: Sequences, length: int, rows: int, rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """One epoch: (B, L) items, (B,) real ones, (B, L) the item after each.

    A longer history is cut into pieces of `length` at a place that changes with every epoch, so that all events are learned.
    """
    begins, ends = pieces(sequences, length, rng)
    order = rng.permutation(len(begins))
    order = order[np.argsort((ends - begins)[order] // 8, kind="stable")]  # like lengths together, random within
    groups = [order[start : start + rows] for start in range(0, len(order), rows)]
    for group in rng.permutation(len(groups)):
        chosen = groups[group]
        begin, end = begins[chosen], ends[chosen]
        yield (
            _filled(sequences.items, begin, end),
            torch.from_numpy(end - begin),
            _filled(sequences.items, begin + 1, end + 1),
        )


def pieces(sequences: Sequences, length: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Begins and ends of inputs; the event at each end is the last target of its piece. Every event but the first is one once."""
    begins, ends = [], []
    for start, stop in zip(sequences.offsets[:-1], sequences.offsets[1:] - 1, strict=True):
        end = stop
        if stop - start > length:
            end = stop - int(rng.integers(0, length))
            if end < stop:
                begins.append(end)
                ends.append(stop)
        while end > start:
            begins.append(max(start, end - length))
            ends.append(end)
            end -= length
    return np.array(begins, np.int64), np.array(ends, np.int64)


def _filled(items: NDArray[np.int32], begins: NDArray[np.int64], ends: NDArray[np.int64]) -> Tensor:
    """(B, longest) item numbers of the pieces, 0 after their ends."""
    count = np.arange(int((ends - begins).max()))
    places = begins[:, None] + count[None]
    real = places < ends[:, None]
    return torch.from_numpy(np.where(real, items[np.where(real, places, 0)], 0).astype(np.int64))
