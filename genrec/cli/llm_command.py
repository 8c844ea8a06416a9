"""`genrec llm`: the server that runs the LLM."""

from pathlib import Path
from typing import Annotated

import typer

from genrec.cli.options import given, open_workspace
from genrec.cli.printing import Bars, say
from genrec.errors import ConfigError, EngineError

app = typer.Typer(help="The server that runs the LLM.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """A group, though it has one command so far."""


@app.command()
def serve(
    options: Annotated[list[str] | None, typer.Argument(metavar="[-- VLLM OPTIONS]", help="Options of `vllm serve`.")] = None,
    workspace: Annotated[Path | None, typer.Option("-w", "--workspace", help="Whose settings and adapters.")] = None,
    host: Annotated[str | None, typer.Option(help="Instead of llm.host.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Instead of llm.port.")] = None,
    python: Annotated[str | None, typer.Option(help="Interpreter that has vLLM, instead of llm.python.")] = None,
) -> None:
    """Start a vLLM server with the base model and all adapters that fit it, and run until it is stopped."""
    from genrec.llm.adapter_registry import AdapterRegistry
    from genrec.llm.adapters import shipped_folder
    from genrec.llm.vllm_server import Server, find_vllm
    from genrec.models.sources import resolve
    from genrec.prompts import Prompts
    from genrec.settings import load_settings

    if workspace is not None:
        with open_workspace(workspace) as opened:
            settings, registry = opened.settings, opened.registry
    else:
        settings = load_settings()
        registry = AdapterRegistry(shipped_folder(), wanted=settings.adapters, models=settings.models, prompts=Prompts())
    models = settings.models
    if models.llm == "fake":
        raise ConfigError("models.llm is the fake one, which no server runs", hint="Set models.llm to a model.")
    more = [*settings.llm.options, *options] if options else None
    llm = settings.llm.model_copy(update=given(host=host or None, port=port, python=python or None, options=more))
    vllm = find_vllm(llm.python)
    with Bars() as bars:
        weights = resolve(models.llm, "llm", hub=models.hub, progress=bars)
    adapters = registry.fitting()
    if llm.host not in ("127.0.0.1", "localhost", "::1") and not llm.api_key:
        say(f"anybody who reaches port {llm.port} of this machine may use the server: llm.api_key makes it ask for a key")
    say(f"starting vLLM {vllm.version} with {models.llm}; adapters: {', '.join(sorted(adapters)) or 'none'}")
    with Server(vllm, weights, llm, dtype=models.dtype, adapters=adapters) as server, server.passing_signals() as came:
        try:
            engine = server.wait_ready()
        except EngineError:
            if came:  # stopped while it was starting
                raise typer.Exit(0) from None
            raise
        say(f"ready: {engine.id}, prompts of up to {engine.max_tokens} tokens; adapters: {', '.join(engine.adapters) or 'none'}")
        say(f"to use it: GENREC_LLM__ENGINE=openai GENREC_LLM__URL={server.url} genrec …, or engine and url below [llm]")
        print(server.url, flush=True)  # last: a program that reads it knows that the server is ready
        engine.close()
        status = server.wait()
        if not came:
            raise EngineError(f"the vLLM server ended with status {status}", hint="Its own messages above say why.")
