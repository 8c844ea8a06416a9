"""How `genrec train` learns: `[retrieval.train]`, `[rank.train]`, `[write.train]`, `[chat.train]`."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt


class Section(BaseModel):
    """What all sections share."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class RetrieverTrainSettings(Section):
    """How `genrec train retriever` learns."""

    modalities: list[str] = Field(default=[])
    """Vectors the item encoder reads, say `["text"]`; empty: all that the build made."""
    fusion: Literal["attention", "concat", "graph"] = "attention"
    """How modalities become one vector: a gate, one hidden layer, or a gate with the graph of attributes and triples."""
    ids: bool = True
    """Whether every item has a learned vector of its own besides its content."""
    width: PositiveInt = 128
    """Width of item and user vectors; a multiple of `heads`."""
    layers: int = Field(default=2, ge=0)
    """Layers of the sequence encoder; 0: the recency-weighted mean alone, with a learned half-life."""
    heads: PositiveInt = 2
    """Attention heads a layer."""
    length: int = Field(default=100, ge=2)
    """How many of the latest events the sequence encoder reads."""
    dropout: float = Field(default=0.3, ge=0.0, lt=1.0)
    """Dropout of the sequence encoder."""
    modality_dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Share of the modalities hidden in training."""
    id_dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Share of the items that look new in training, so that really new ones find their place."""
    teacher: float = Field(default=0.7, ge=0.0, le=1.0)
    """Weight of the closed-form teacher's distribution in the loss; 0: the next event alone, 1: the teacher alone."""
    anchor: bool = True
    """Whether the untrained retriever's score is added to the network's, with a weight that validation chooses."""
    folds: int = Field(default=5, ge=2)
    """The teacher that people learn from was fitted without their own fold of all people."""
    full_softmax: PositiveInt = 20_000
    """Up to this many items the softmax goes over all of them; over a sample above."""
    negatives: PositiveInt = 4096
    """Items in that sample."""
    epochs: PositiveInt = 8
    """Most passes over the events."""
    patience: PositiveInt = 5
    """Passes without a better validation figure before training stops."""
    batch: PositiveInt = 32
    """Stretches of history in a step."""
    learning_rate: float = Field(default=2e-3, gt=0)
    """Highest learning rate of the one-cycle schedule."""
    weight_decay: float = Field(default=0.01, ge=0.0)
    """AdamW's."""
    precision: Literal["auto", "no", "bf16"] = "auto"
    """Mixed precision; auto: bf16 on a GPU and on a processor that multiplies in it."""
    refit: bool = True
    """Learn again from all events, validation's included, for as many passes as validation chose."""
    seed: int = Field(default=0, ge=0)
    """Of all random numbers in training."""


class RankTrainSettings(Section):
    """How `genrec train rerank` learns."""

    method: Literal["likelihood", "labels", "markers"] = "likelihood"
    """Which way of scoring the adapter is trained for, and then serves by."""
    r: PositiveInt = 16
    """Rank of the LoRA matrices."""
    alpha: PositiveInt = 32
    """LoRA's scale is alpha / r."""
    epochs: NonNegativeInt = 1
    """Passes of next-item language modelling over all histories; for likelihood only."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Highest learning rate of these passes."""
    length: int = Field(default=384, ge=64)
    """Tokens of a row of histories."""
    batch: PositiveInt = 4
    """Rows or lists in a step."""
    lists: NonNegativeInt = 1000
    """Candidate lists of the listwise training that follows, one pass."""
    list_learning_rate: float = Field(default=3e-4, gt=0)
    """Highest learning rate of the listwise training."""
    candidates: int = Field(default=16, ge=2, le=50)
    """Candidates in a training list."""
    without_target: Literal["skip", "add"] = "skip"
    """What becomes of training lists that lack what was chosen: left out, or it takes the last candidate's place."""
    prior_weight: float = Field(default=1.0, ge=0.0)
    """How much the retriever's log-probabilities count in the listwise loss: the adapter learns what they do not know."""
    source: Literal["fused", "learned"] = "fused"
    """Which retriever finds training candidates, fitted once a fold: the untrained one takes seconds, the trained one minutes."""
    folds: int = Field(default=5, ge=2)
    """The retriever that finds a person's training candidates was fitted without their own fold of all people."""
    history: PositiveInt = 32
    """Most past items in a profile, in training and then in serving."""
    title_chars: PositiveInt = 48
    """A longer title is cut, in training and then in serving."""
    unique_prefix: bool = True
    """Whether validation, and then serving, scores a title only as far as no other title of the catalogue begins like it."""
    validated: PositiveInt = 1000
    """Most people that the weights of the fusion are fitted on."""
    judged: NonNegativeInt = 100
    """Most people of each catalogue by whose lists the best pass is kept; 0: the last pass is, without a look."""
    held_out: int = Field(default=1, ge=1)
    """Which event of each person validation takes, from the last; 2 leaves the last one untouched for a test."""
    seed: int = Field(default=0, ge=0)
    """Of all random numbers in training."""


class LessonSettings(Section):
    """What all trainings from written examples have."""

    r: PositiveInt = 16
    """Rank of the LoRA matrices."""
    alpha: PositiveInt = 32
    """LoRA's scale is alpha / r."""
    epochs: PositiveInt = 3
    """Passes over the examples."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Highest learning rate."""
    batch: PositiveInt = 12
    """Examples in a step."""
    seed: int = Field(default=0, ge=0)
    """Of all random numbers in training."""


class WriteTrainSettings(LessonSettings):
    """How `genrec train write` learns."""

    swapped: float = Field(default=0.5, ge=0.0, le=1.0)
    """Share of the reasons whose shared values are swapped for others of the same attribute, anew in each pass."""


class ChatTrainSettings(LessonSettings):
    """How `genrec train converse` learns."""

    varied: float = Field(default=0.7, ge=0.0, le=1.0)
    """Share of the turns whose values, numbers and attributes are changed for others of the catalogue, anew in each pass."""
