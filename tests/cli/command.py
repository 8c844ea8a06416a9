"""The command line in this process: the same entry, its streams and its exit code."""

import contextlib
import io
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


def genrec(*args: str | Path) -> Done:
    """Run `genrec` with these arguments; an exception other than its exit goes through, as a traceback would."""
    from genrec.cli import main

    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with patch.object(sys, "argv", ["genrec", *map(str, args)]), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    assert isinstance(code, int), code
    return Done(code, out.getvalue(), err.getvalue())


def process(*args: str | Path, code: str = "from genrec.cli import main; main()", env: dict[str, str] | None = None) -> Done:
    """The same in a process of its own."""
    done = subprocess.run([sys.executable, "-c", code, *map(str, args)], capture_output=True, text=True, env=env, check=False)
    return Done(done.returncode, done.stdout, done.stderr)


def launched(script: Path, *args: str | Path) -> Done:
    """The same by two processes of `accelerate launch`, which wants a `script` to start."""
    script.write_text("from genrec.cli import main\nmain()\n")
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1"]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no", "--num_cpu_threads_per_process", "1"]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*launch, script, *args], capture_output=True, text=True, timeout=300, check=False, env=env)
    return Done(done.returncode, done.stdout, done.stderr)


def refused(done: Done, code: int, says: str) -> None:
    """The command ended with `code`, an error that says so, a hint, no data and no traceback."""
    assert done.code == code, done
    assert done.out == ""
    error, _, hint = done.err.partition("\nhint: ")
    assert "error: " in error, done.err
    assert says in error, done.err
    assert hint.strip(), done.err
    assert "Traceback" not in done.err
