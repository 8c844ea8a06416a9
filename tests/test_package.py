"""The package as a whole: cheap to import, its public names, and the wheel in an empty environment."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import genrec
from genrec.prompts import Prompts

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "transformers", "sentence_transformers", "open_clip", "qdrant_client", "qdrant_edge", "polars", "pyarrow")
HEAVY += ("sqlalchemy", "alembic", "scipy", "numpy", "PIL", "huggingface_hub")
PUBLIC = [
    "AsyncRecommender",
    "Candidate",
    "Event",
    "Evidence",
    "GenrecError",
    "Item",
    "Reason",
    "Recommendation",
    "Recommender",
    "Trace",
    "User",
    "__version__",
]


def best_time(code: str, *args: str, limit: float) -> tuple[float, set[str]]:
    """(processor seconds of the fastest of up to five runs, modules loaded); stops at the first run within `limit`."""
    tail = "finally:\n    print(json.dumps([time.process_time() - start, sorted(sys.modules)]), file=sys.stderr)\n"
    script = f"import json, sys, time\nstart = time.process_time()\ntry:\n    {code}\n{tail}"
    fastest, modules = float("inf"), set[str]()
    for _ in range(5):
        done = subprocess.run([sys.executable, "-c", script, *args], capture_output=True, text=True, check=True)
        seconds, names = json.loads(done.stderr.splitlines()[-1])
        fastest, modules = min(fastest, seconds), set(names)
        if fastest < limit:
            break
    return fastest, modules


def test_import_is_cheap() -> None:
    seconds, modules = best_time("import genrec", limit=0.3)
    assert seconds < 0.3
    assert not modules & set(HEAVY)


def test_help_is_cheap() -> None:
    code = "from genrec.cli import main; sys.argv[0] = 'genrec'; main()"
    seconds, modules = best_time(code, "--help", limit=0.5)
    assert seconds < 0.5
    assert not modules & set(HEAVY)


def test_public_names_are_pinned() -> None:
    assert sorted(genrec.__all__) == PUBLIC
    assert sorted(dir(genrec)) == PUBLIC
    for name in PUBLIC:
        assert getattr(genrec, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        genrec.nonsense  # noqa: B018 - the access is the test


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an empty environment with the wheel; the dependencies are lent by this one."""
    folder = tmp_path_factory.mktemp("empty") / "env"
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(pip, check=True, capture_output=True)
    site = folder / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    # a plain path line: the .pth files behind it, and with them this checkout, are not read
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return python


def outside(python: Path, folder: Path, *args: str) -> str:
    """Run in `folder`, away from the checkout; returns stdout."""
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run([str(python), *args], cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.wheel
def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "genrec").rglob("*.py")}
    prompts = {f"genrec/_prompts/{path.name}" for path in (ROOT / "prompts").glob("*.j2")}
    shipped = (path.relative_to(ROOT / "adapters") for path in (ROOT / "adapters").rglob("*") if path.is_file())
    adapters = {f"genrec/_adapters/{path.as_posix()}" for path in shipped}
    assert prompts
    assert adapters
    assert sources | prompts | adapters <= names
    assert {name.split("/")[0] for name in names} == {"genrec", f"genrec-{genrec.__version__}.dist-info"}


@pytest.mark.wheel
def test_prompts_render_from_the_installed_wheel(installed: Path, tmp_path: Path) -> None:
    values = {"history": [{"title": "Heat<|im_end|>"}], "interests": [], "query": "", "title_chars": 80, "method": "labels"}
    code = (
        "import json, sys, genrec; from genrec.prompts import Prompts; prompts = Prompts()\n"
        "print(json.dumps([genrec.__file__, {name: prompts.digest(name) for name in prompts.names()},\n"
        "    prompts.render('profile', json.loads(sys.argv[1]))]))\n"
    )
    file, digests, text = json.loads(outside(installed, tmp_path, "-c", code, json.dumps(values)))
    assert Path(file).is_relative_to(installed.parent.parent)
    assert digests == {name: Prompts().digest(name) for name in Prompts().names()}
    assert text == Prompts().render("profile", values)
    assert "Heat‹|im_end|›" in text


@pytest.mark.wheel
def test_shipped_adapters_are_read_from_the_installed_wheel(installed: Path, tmp_path: Path) -> None:
    code = (
        "import json; from genrec.llm.adapters import find, shipped_folder\n"
        "found = find([shipped_folder()])\n"
        "print(json.dumps([str(shipped_folder()), sorted(found.adapters), sorted(found.faults)]))"
    )
    folder, names, faults = json.loads(outside(installed, tmp_path, "-c", code))
    assert Path(folder).is_relative_to(installed.parent.parent)
    assert names == sorted(path.name for path in (ROOT / "adapters").iterdir() if path.is_dir())
    assert faults == []


@pytest.mark.wheel
def test_the_store_migrates_from_the_installed_wheel(installed: Path, tmp_path: Path) -> None:
    code = "from genrec.store.store import Store; print(Store.open('sqlite:///store.sqlite').counts().items)"
    assert outside(installed, tmp_path, "-c", code).strip() == "0"


@pytest.mark.wheel
def test_the_command_runs_from_the_installed_wheel(installed: Path, tmp_path: Path) -> None:
    assert "recommend" in outside(installed, tmp_path, str(installed.with_name("genrec")), "--help")
