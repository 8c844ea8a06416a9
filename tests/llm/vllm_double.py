"""A small HTTP server that speaks vLLM's routes with a model of its own, and misbehaves on demand.

Its model: log p(token | what stands before) is a function of a checksum. It keeps a prefix cache of whole blocks as vLLM does,
and plays both model runners: V2 leaves out rows that it took from the cache, V1 fills them with rubbish.
"""

import base64
import contextlib
import io
import json
import random
import re
import socket
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

import numpy as np
from PIL import Image

NAME = "double"
LENGTH = 600
GENERATE = "/inference/v1/generate"
COMPLETIONS = "/v1/completions"
CHAT = "/v1/chat/completions"
LISTS = "/inference/v1/genrec/scores"
TOKEN = re.compile(r"\s?\w+|\s?[^\w\s]|\s")

Json = dict[str, Any]
Fault = Callable[["Handler", Json], bool]
"""Gets the request and the right answer. True: it has answered (or not) in its own way; False: the answer goes out."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: "Double"  # pyright: ignore[reportIncompatibleVariableOverride]

    def setup(self) -> None:
        super().setup()
        self.server.connections.append(self.connection)

    def do_GET(self) -> None:
        self.server.seen.append((self.path, {}, dict(self.headers)))
        if self.path == "/metrics":
            return self.reply(f'vllm:cache_config_info{{a="1",block_size="{self.server.block}",b="2"}} 1.0\n', kind="text/plain")
        models = [{"id": name, "parent": NAME, "max_model_len": None} for name in self.server.adapters]
        return self.reply({"data": [{"id": self.server.name, "parent": None, "max_model_len": LENGTH}, *models]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            server.seen.append((self.path, body, dict(self.headers)))
            server.busy += 1
            server.most_busy = max(server.most_busy, server.busy)
        try:
            time.sleep(server.slow_s)
            answer = server.answer(self.path, body)
            fault = server.next_fault(self.path)
            if fault is not None and fault(self, answer):
                return None
            if body.get("stream") and "choices" in answer:
                return self.stream(answer)
            return self.reply(answer, answer.pop("status", 200))
        finally:
            with server.lock:
                server.busy -= 1

    def reply(self, value: Any, status: int = 200, *, kind: str = "application/json", **headers: str) -> None:
        data = (value if isinstance(value, str) else json.dumps(value)).encode()
        self.head(len(data), status, kind, **headers)
        self.wfile.write(data)

    def head(self, length: int | None, status: int = 200, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if length is None:
            self.send_header("Connection", "close")
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(length))
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()

    def stream(self, answer: Json, *, upto: int | None = None, end: bool = True) -> None:
        """The text word by word, as events."""
        (choice,) = answer["choices"]
        chatted = choice.get("message")
        words = re.findall(r"\S+\s*", chatted["content"] if chatted else choice["text"])
        self.head(None, kind="text/event-stream")
        if chatted:
            self.event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]})
        for at, word in enumerate(words[:upto]):
            reason = choice["finish_reason"] if at == len(words) - 1 else None
            said = {"delta": {"content": word}} if chatted else {"text": word}
            self.event({"choices": [{"index": 0, **said, "finish_reason": reason}]})
        if end:
            self.wfile.write(b"data: [DONE]\n\n")

    def event(self, value: Json) -> None:
        self.wfile.write(f"data: {json.dumps(value)}\n\n".encode())
        self.wfile.flush()

    def hang_up(self) -> None:
        """Break the connection off, as a process does that is killed."""
        self.close_connection = True
        hang_up(self.connection)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Double(ThreadingHTTPServer):
    """The server. `fault` plays for requests to the routes that score and write; `times` of them, or all."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 256

    def __init__(
        self, runner: Literal["v1", "v2", "plain"] = "v2", *, port: int = 0, block: int = 4, lists: bool = False
    ) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.runner = runner
        self.block = block
        self.lists = lists  # genrec's plugin is there
        self.name = NAME
        self.adapters = ["one"]
        self.details = True  # --enable-prompt-tokens-details
        self.unspeakable = False  # V1's rubbish is not a number
        self.sees = False
        self.slow_s = 0.0
        self.seen: list[tuple[str, Json, dict[str, str]]] = []
        self.lock = threading.Lock()
        self.connections: list[socket.socket] = []
        self.busy = self.most_busy = 0
        self._cache: set[tuple[Any, ...]] = set()
        self._vocabulary: dict[str, int] = {}
        self._faults: list[Fault] = []
        self._always: Fault | None = None
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return self.server_address[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """End as a killed process does: nothing listens, connections break."""
        self.shutdown()
        self._thread.join()
        for connection in self.connections:
            hang_up(connection)
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that hung up: the tests see to it on their side

    def fault(self, fault: Fault | None, times: int | None = None) -> None:
        with self.lock:
            self._faults = [fault] * times if fault and times else []
            self._always = fault if times is None else None

    def next_fault(self, path: str) -> Fault | None:
        if path not in (GENERATE, COMPLETIONS, CHAT, LISTS):
            return None
        with self.lock:
            return self._faults.pop(0) if self._faults else self._always

    def paths(self) -> Counter[str]:
        return Counter(path for path, _, _ in self.seen)

    def encode(self, text: str) -> list[int]:
        with self.lock:
            return [self._vocabulary.setdefault(part, len(self._vocabulary)) for part in TOKEN.findall(text)]

    def answer(self, path: str, body: Json) -> Json:
        if path == "/tokenize":
            return {"tokens": self.encode(body["prompt"])}
        model = body["model"]
        if model != self.name and model not in self.adapters:
            return {"status": 404, "error": {"message": f"The model `{model}` does not exist.", "code": 404}}
        if path == COMPLETIONS:
            return self._completion(body, model)
        if path == CHAT:
            return self._chat(body, model)
        if path == LISTS and not self.lists:
            return {"status": 404, "detail": "Not Found"}
        if self.runner == "plain":
            return {"status": 403, "error": {"message": "Scale-out endpoints are disabled."}}
        if path == LISTS:
            return {"calls": [self._listed(body, call, model) for call in body["calls"]]}
        return self._generation(body, model)

    def _listed(self, body: Json, call: Json, model: str) -> Json:
        """One call of a list, as genrec's plugin tells what vLLM says to it."""
        tokens, params = body["shared"] + call["tokens"], call["sampling_params"]
        asked = params | {"logprobs": len(params["logprob_token_ids"])}
        answer = self._generation(body | {"token_ids": tokens, "sampling_params": asked}, model)
        cached, rows = self.cached_last, None
        if "prompt_token_id_logprobs" in answer:
            table = np.load(io.BytesIO(base64.b64decode(answer["prompt_token_id_logprobs"])))
            rows = [[value if np.isfinite(value) else None for value in row] for row in table.tolist()]
        elif "prompt_logprobs" in answer and cached <= call["start"]:
            places = range(call["start"] + 1, len(tokens))
            rows = [[answer["prompt_logprobs"][at][str(tokens[at])]["logprob"]] for at in places]
        return {"cached": cached, "next": [logp(model, tokens, i) for i in params["logprob_token_ids"]], "rows": rows}

    def _chat(self, body: Json, model: str) -> Json:
        """Writes the sizes of the pictures, then as a completion."""
        parts = body["messages"][0]["content"]
        urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
        if urls and not self.sees:
            return {"status": 400, "error": {"message": f"{model} is not a multimodal model", "code": 400}}
        sizes = []
        for url in urls:
            with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as picture:
                sizes.append(f"{picture.width}x{picture.height}")
        text = "".join(part.get("text", "") for part in parts)
        answer = self._completion(body | {"prompt": self.encode(text)}, model)
        (choice,) = answer["choices"]
        written = choice.pop("text")
        plain = "structured_outputs" not in body
        choice["message"] = {"role": "assistant", "content": " ".join([*sizes, written]) if plain else written}
        return answer

    def _completion(self, body: Json, model: str) -> Json:
        tokens = body["prompt"]
        choice: Json = {"index": 0, "text": " ".join(f"w{n}" for n in range(body["max_tokens"])), "finish_reason": "length"}
        if "structured_outputs" in body:
            choice |= {"text": '{"a": 1}' if body["max_tokens"] > 4 else '{"a":', "finish_reason": "stop"}
        whole = body.get("prompt_logprobs") is not None
        if "logprob_token_ids" in body:
            ids = body["logprob_token_ids"]
            choice["logprobs"] = {"top_logprobs": [{f"token_id:{i}": logp(model, tokens, i) for i in [7, *ids]}]}
        if whole:
            choice["prompt_logprobs"] = [None, *(self._row(model, tokens, at) for at in range(1, len(tokens)))]
        return {"choices": [choice], "usage": self._usage(model, body, tokens, read=not whole)}

    def _generation(self, body: Json, model: str) -> Json:
        tokens, params = body["token_ids"], body["sampling_params"]
        ids = params["logprob_token_ids"]
        if params["logprobs"] != len(ids):
            return {"status": 400, "error": {"message": "logprobs must equal len(logprob_token_ids)"}}
        if "prompt_logprob_token_ids" in params and self.runner == "v1":
            return {"status": 400, "error": {"message": "prompt_logprob_token_ids requires the V2 model runner"}}
        top = [{"token_id": i, "logprob": logp(model, tokens, i)} for i in [7, *(i for i in ids if i != 7)]][: len(ids)]
        usage = self._usage(model, body, tokens, read=not params["skip_reading_prefix_cache"])
        answer: Json = {"choices": [{"index": 0, "logprobs": {"content": [{"top_logprobs": top}]}}], "usage": usage}
        cached = self.cached_last
        if "prompt_logprob_token_ids" in params and cached <= params["prompt_logprob_start"]:
            start, rows = params["prompt_logprob_start"], params["prompt_logprob_token_ids"]
            assert len(rows) == len(tokens) - 1 - start
            scores = [
                [logp(model, tokens[: start + at + 1], i) if i >= 0 else -np.inf for i in row] for at, row in enumerate(rows)
            ]
            answer["prompt_token_id_logprobs"] = npy(np.asarray(scores, dtype=np.float32))
        if "prompt_logprobs" in params:
            rubbish = [{str(random.randrange(99)): {"logprob": -random.random()}} for _ in range(cached)]
            if self.unspeakable and cached:
                return {"status": 400, "error": {"message": "Out of range float values are not JSON compliant"}}
            known = [self._row(model, tokens, at) for at in range(cached + 1, len(tokens))]
            answer["prompt_logprobs"] = [None, *rubbish, *known]
        return answer

    def _row(self, model: str, tokens: list[int], at: int) -> Json:
        return {str(tokens[at]): {"logprob": logp(model, tokens[:at], tokens[at]), "rank": 3, "decoded_token": None}}

    def _usage(self, model: str, body: Json, tokens: list[int], *, read: bool) -> Json:
        """How much of the prompt was cached; keeps its whole blocks."""
        blocks = [(model, body.get("cache_salt"), *tokens[: end * self.block]) for end in range(1, len(tokens) // self.block + 1)]
        found = 0
        with self.lock:
            for block in blocks:
                if block not in self._cache or len(block) - 2 > len(tokens) - 1:  # the last token is always computed
                    break
                found = len(block) - 2
            self._cache.update(blocks)
        self.cached_last = found if read else 0
        details = {"prompt_tokens_details": {"cached_tokens": self.cached_last} if self.details else None}
        return {"prompt_tokens": len(tokens), "completion_tokens": 1} | details

    @property
    def cached_last(self) -> int:
        return getattr(self._local, "cached", 0)

    @cached_last.setter
    def cached_last(self, value: int) -> None:
        self._local.cached = value

    _local = threading.local()


def hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it is closed already
        connection.shutdown(socket.SHUT_RDWR)


def logp(model: str, before: list[int], token: int) -> float:
    """The model of the double, in nats."""
    return -0.01 - (zlib.crc32(f"{'' if model == NAME else model} {before[-6:]} {len(before)} {token}".encode()) % 4000) / 400


def npy(array: np.ndarray) -> str:
    file = io.BytesIO()
    np.save(file, array)
    return base64.b64encode(file.getvalue()).decode()
