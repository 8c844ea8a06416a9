"""The sections of `genrec.toml`. How a part learns is a section of its own below it: `[rank.train]`."""

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from genrec.settings.train_sections import (
    ChatTrainSettings,
    RankTrainSettings,
    RetrieverTrainSettings,
    Section,
    WriteTrainSettings,
)


class StoreSettings(Section):
    url: str = ""
    """SQLAlchemy URL; empty: `store.sqlite` in the workspace. `postgresql+psycopg://…` for PostgreSQL."""


class IndexSettings(Section):
    url: str = ""
    """URL of a Qdrant cluster; empty: in process, below the workspace."""
    api_key: str = ""
    """Key of the cluster."""
    collection: str = "genrec"
    """Name of the collection in the cluster."""
    exact: bool = False
    """Search every vector instead of the HNSW graph."""
    timeout_s: float = Field(default=10.0, gt=0)
    """Seconds before a call to the cluster counts as failed."""


class ModelSettings(Section):
    text: str = "sentence-transformers/all-MiniLM-L6-v2"
    """Text encoder: hub id, local folder, or empty for none."""
    image: str = "ViT-B-32/laion2b_s34b_b79k"
    """open_clip `architecture/pretrained tag`, a local folder saved by open_clip, or empty for none."""
    llm: str = "HuggingFaceTB/SmolLM2-135M-Instruct"
    """Causal LM that ranks and writes: hub id, local folder, or `fake` for the deterministic one."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the models run."""
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Precision of the LLM."""
    hub: bool = True
    """Whether weights may be fetched from the model hub or a package mirror; off: local path and cache only."""
    batch_tokens: NonNegativeInt = 0
    """Most tokens in one forward pass of the LLM; 0: 1024 on a CPU, whose caches a larger batch leaves, 16384 on a GPU."""


class LlmSettings(Section):
    """Which engine runs the LLM; how a server is reached (`openai`) and how one is started (`vllm`, `genrec llm serve`)."""

    engine: Literal["transformers", "vllm", "openai"] = "transformers"
    """`transformers`: in this process, on any machine. `vllm`: in this process, vLLM. `openai`: a vLLM server by `url`."""
    url: str = "http://127.0.0.1:8000"
    """URL of the server, without /v1."""
    api_key: str = ""
    """Key of the server; `genrec llm serve` makes its server ask for it."""
    timeout_s: float = Field(default=60.0, gt=0)
    """Longest that a call to the server may take, retries included; a call of more prompts than `concurrency` may take that for
    each round of them."""
    connect_timeout_s: float = Field(default=3.0, gt=0)
    """Longest wait for a connection to the server."""
    read_timeout_s: float = Field(default=30.0, gt=0)
    """Longest silence of the server before an attempt counts as failed."""
    retries: NonNegativeInt = 2
    """Further attempts after a fault that may pass: no connection, a broken answer, overload, the server's own error."""
    concurrency: PositiveInt = 64
    """Most prompts on their way to the server at the same time."""
    image_pixels: int = Field(default=262_144, ge=1024)
    """Most pixels of a picture that a model is shown; a larger one is scaled down."""
    breaker_failures: PositiveInt = 3
    """After this many failed attempts, one begun after the other, calls fail at once instead of waiting."""
    breaker_cooldown_s: float = Field(default=10.0, gt=0)
    """Seconds until a single attempt finds out whether the server is back."""
    python: str = ""
    """Interpreter of the environment that has vLLM, for `genrec llm serve`; empty: this one."""
    host: str = "127.0.0.1"
    """Address that `genrec llm serve` listens at."""
    port: int = Field(default=8000, ge=1, le=65535)
    """Port that `genrec llm serve` listens at."""
    max_model_len: NonNegativeInt = 0
    """Longest prompt with its continuation that vLLM takes, in tokens; 0: what the model was made for."""
    max_num_seqs: PositiveInt = 256
    """Most prompts that vLLM computes side by side."""
    kv_cache_gb: float = Field(default=0.0, ge=0)
    """Memory for vLLM's keys and values; 0: what is free on a GPU, 2 GB on a CPU."""
    block_size: NonNegativeInt = 0
    """Tokens in a block of vLLM's prefix cache; 0: 32 on a CPU, vLLM's own choice on a GPU."""
    quantization: str = ""
    """vLLM's name of a quantisation (docs/serving.md); empty: as the weights are."""
    eager: bool = False
    """Whether vLLM runs the model as it is instead of compiling it first: starts sooner, runs slower."""
    options: list[str] = Field(default=[])
    """Further arguments of `vllm serve`, say `["--tensor-parallel-size", "2"]`."""


class IngestSettings(Section):
    max_image_bytes: PositiveInt = 10_000_000
    """Largest picture file taken, in bytes."""
    max_image_pixels: int = Field(default=25_000_000, gt=0, le=89_000_000)
    """Largest picture taken, in pixels."""
    allow_private_addresses: bool = False
    """Whether a picture's URL may point to a private or loopback address."""
    image_timeout_s: float = Field(default=10.0, gt=0)
    """Seconds to wait for a picture's URL."""
    max_text_chars: PositiveInt = 100_000
    """A longer text field is a fault of its row."""


class RetrievalSettings(Section):
    weights: dict[str, float] = Field(default={"text": 0.2, "image": 0.1, "behaviour": 1.0})
    """Weight of each modality in the fused vector (≥ 0)."""
    candidates: PositiveInt = 50
    """How many candidates are handed to the ranker."""
    history: PositiveInt = 50
    """How many of the latest events make the user vector."""
    half_life: float = Field(default=2.0, gt=0)
    """Recency: an event this many places back in the history weighs half."""
    negative_value: float = Field(default=1.0, ge=0.0, le=1.0)
    """Weight of events valued below the user's middle: 0 ignores them, 1 counts them like any other."""
    behaviour_dim: PositiveInt = 512
    """Most dimensions of the behaviour vectors."""
    behaviour_half_life: float = Field(default=32.0, gt=0, lt=1e6)
    """Two events of a person count half as related in the behaviour vectors when they lie this many places apart."""
    trust: float = Field(default=5.0, ge=0.0)
    """With this many people behind an item its behaviour vector counts as much as what its content lets expect."""
    popular_share: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of the candidate list kept for popular items when the user has a history."""
    retriever: Literal["auto", "fused", "learned"] = "auto"
    """Whose vectors find candidates: the untrained fusion's or the trained retriever's; auto: the trained one's, if it won in
    training."""
    explore: float = Field(default=0.0, ge=0.0)
    """Thompson sampling: how boldly items that few people chose are tried; 0: not at all."""
    new_item_bonus: float = Field(default=0.0, ge=0.0)
    """Nats added to the trained retriever's score of items that no event of its training named, so that they are shown sooner."""
    diversity: float = Field(default=0.3, ge=0.0, le=1.0)
    """MMR weight of diversity in the list for a user without history: 0 none, 1 only diversity."""
    train: RetrieverTrainSettings = RetrieverTrainSettings()


class FeedbackSettings(Section):
    """What likes, dislikes and "not now" do."""

    like: float = Field(default=2.0, ge=1.0)
    """A liked item counts like so many other past items."""
    dislike: float = Field(default=0.3, ge=0.0)
    """How strongly disliked items push away what is like them, against 1 for the pull of the past items together."""
    not_now_days: float = Field(default=30.0, ge=0.0)
    """For so many days an item stays away of which somebody said "not now"."""


class RankSettings(Section):
    mode: Literal["llm", "off"] = "llm"
    """`off`: the retriever's order."""
    method: Literal["likelihood", "labels", "markers"] = "likelihood"
    """How the LLM scores a candidate list."""
    weight: float = Field(default=0.2, ge=0.0, le=1.0)
    """`a` in `a·log p(LLM) + (1-a)·log p(retriever)`."""
    prior: float = Field(default=0.0, ge=0.0, le=2.0)
    """`b` in likelihood scoring: how much of the title's log-probability without the profile is taken off."""
    per_token: bool = True
    """Likelihood per token of the title instead of the sum."""
    history: PositiveInt = 16
    """How many past items the profile shows."""
    window: int = Field(default=50, ge=2, le=50)
    """Most candidates scored in one prompt; longer lists go in windows merged by score."""
    title_chars: PositiveInt = 80
    """A longer title is cut in the prompt."""
    unique_prefix: bool = False
    """Likelihood scores a title only as far as no other title of the catalogue begins like it: about three times as fast. For a
    model that has learned the catalogue's titles, as after `genrec train rerank`."""
    train: RankTrainSettings = RankTrainSettings()


class AdapterSettings(Section):
    """Which LoRA adapters the LLM works with."""

    rerank: str = "auto"
    """Adapter that ranks. `auto`: the one activated last, else a shipped one that fits the model and the prompts; empty: none."""
    write: str = "auto"
    """Adapter that writes; `auto` and empty as in `rerank`."""
    converse: str = "auto"
    """Adapter that reads what people say in a dialogue; `auto` and empty as in `rerank`."""


class ReasonSettings(Section):
    explain: Literal["llm", "template", "off"] = "llm"
    """Who writes the reason."""
    evidence: Literal["retriever", "ranker"] = "retriever"
    """Which scorer the leave-one-out evidence is computed on."""
    cited: int = Field(default=2, ge=1, le=5)
    """Most past items a reason cites."""
    describe: bool = True
    """Whether a reason by template quotes what genrec wrote about an item of which little else can be said."""
    max_tokens: PositiveInt = 96
    """Longest reason the LLM may write, in tokens; two long titles alone are 50."""


class ChatSettings(Section):
    """How `genrec chat` answers."""

    items: int = Field(default=3, ge=1, le=50)
    """How many items an answer recommends."""
    ask: bool = True
    """Whether an answer may ask back what would help most, at most every other time."""
    understand: Literal["auto", "parser", "llm"] = "auto"
    """Who reads a turn: the parser alone, or the LLM, too. `auto`: the LLM where its adapter was measured to help."""
    understand_timeout_s: float = Field(default=4.0, gt=0)
    """Seconds that the LLM may take for it; then the parser's reading stands."""
    train: ChatTrainSettings = ChatTrainSettings()


class CaptionSettings(Section):
    """How `genrec caption` writes about items that lack text."""

    precision: float = Field(default=0.9, gt=0, lt=1)
    """Share of the tags given that is to be right, as estimated on the items whose attributes and texts are known."""
    write: Literal["llm", "template"] = "llm"
    """Who writes: the LLM, or the plain template without any."""
    language: str = "en"
    """Language of what is written: en, de, fr, es, or another that has word lists in `prompts/plain/`."""
    max_tokens: PositiveInt = 256
    """Longest answer of the LLM, in tokens."""
    requests_per_minute: NonNegativeInt = 0
    """Most requests to the LLM a minute, evenly spaced; 0: no limit."""
    tokens_per_minute: NonNegativeInt = 0
    """Most tokens a minute, of prompts and answers; 0: no limit."""
    price_in: float = Field(default=0.0, ge=0)
    """What a million prompt tokens cost, for the estimate of `--dry-run`."""
    price_out: float = Field(default=0.0, ge=0)
    """What a million written tokens cost."""
    doubtful: float = Field(default=0.5, ge=0.0, le=1.0)
    """From this doubt on `--review` lists a caption."""


class WriteSettings(Section):
    """The adapter that writes reasons and captions."""

    train: WriteTrainSettings = WriteTrainSettings()
