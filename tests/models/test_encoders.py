"""Encoders on small real models: shapes, order, batches, prompts, and pictures of every kind."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sentence_transformers import SentenceTransformer

from genrec.errors import EngineError, MediaError, WeightsError
from genrec.models.encoders import ImageEncoder, TextEncoder, pick_device
from genrec.models.pictures import open_rgb
from genrec.models.sources import Weights, resolve

pytestmark = pytest.mark.usefixtures("cache")


class Recorder:
    """A Progress that remembers."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.total: int | None = None
        self.done = False

    def start(self, task: str, total: int | None) -> None:
        self.total = total

    def advance(self, n: int = 1) -> None:
        self.steps.append(n)

    def finish(self) -> None:
        self.done = True


@pytest.fixture
def texts(text_model: Path) -> TextEncoder:
    return TextEncoder(resolve(str(text_model), "text"), device="cpu", batch=2)


@pytest.fixture
def pictures(image_model: Path) -> ImageEncoder:
    return ImageEncoder(resolve(str(image_model), "image"), device="cpu", batch=2)


def scene(size: tuple[int, int] = (64, 64)) -> Image.Image:
    """A picture that looks different when it is turned."""
    pixels = np.zeros((*size[::-1], 3), dtype=np.uint8)
    pixels[: size[1] // 2] = (220, 30, 30)
    pixels[:, : size[0] // 2, 2] = 200
    return Image.fromarray(pixels)


def test_text_rows_are_unit_in_order_and_equal_to_the_library(texts: TextEncoder, text_model: Path) -> None:
    given = ["a dog", "the film about a red cat", "", "green", "a dog"]
    rows = texts.encode(given)
    plain = SentenceTransformer(str(text_model), device="cpu").encode_document(given, normalize_embeddings=True)
    assert (rows.shape, rows.dtype, texts.dim) == ((5, 16), np.float32, 16)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(rows, plain, atol=1e-6)


def test_no_texts_make_no_rows(texts: TextEncoder) -> None:
    assert texts.encode([]).shape == (0, 16)


def test_tokens_are_those_that_the_model_reads(texts: TextEncoder, text_model: Path) -> None:
    window = SentenceTransformer(str(text_model), device="cpu").max_seq_length
    assert window is not None
    assert texts.tokens([]) == 0
    assert texts.tokens(["a dog", "a red cat"]) == texts.tokens(["a dog"]) + texts.tokens(["a red cat"]) > 5
    assert texts.tokens(["dog " * 5 * window]) == window


def test_a_query_uses_the_models_own_prompt(texts: TextEncoder) -> None:
    query, document = texts.encode(["a dog"], role="query"), texts.encode(["a dog"], role="document")
    assert not np.allclose(query, document, atol=1e-3)


def test_batch_and_progress(texts: TextEncoder) -> None:
    progress = Recorder()
    texts.encode(["dog"] * 5, progress=progress)
    assert (progress.steps, progress.total, progress.done) == ([2, 2, 1], 5, True)


def test_id_changes_with_the_weights(texts: TextEncoder, text_model: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    other = tmp_path / "other"
    other.mkdir()
    for file in text_model.rglob("*"):
        if file.is_file():
            (other / file.relative_to(text_model)).parent.mkdir(parents=True, exist_ok=True)
            (other / file.relative_to(text_model)).write_bytes(file.read_bytes())
    tensors = load_file(other / "model.safetensors")
    tensors["embeddings.word_embeddings.weight"] += 0.5
    save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    changed = TextEncoder(resolve(str(other), "text"), device="cpu")
    assert texts.id.split("@")[1] != changed.id.split("@")[1]


def test_weights_that_are_not_finite_are_an_engine_error(text_model: Path, tmp_path: Path) -> None:
    encoder = TextEncoder(resolve(str(text_model), "text"), device="cpu")
    for parameter in encoder._model.parameters():
        parameter.data.fill_(float("nan"))
    with pytest.raises(EngineError, match="vector of input 0 is not finite"):
        encoder.encode(["dog"])


def test_a_folder_that_cannot_be_loaded_says_so(text_model: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in text_model.iterdir():
        if file.is_file():
            (broken / file.name).write_bytes(file.read_bytes())
    (broken / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(WeightsError, match="cannot be loaded as text model"):
        TextEncoder(Weights(name="broken", kind="text", path=broken, source="path"), device="cpu")


def test_an_image_model_of_another_architecture_says_so(image_model: Path, tmp_path: Path) -> None:
    for file in image_model.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = tmp_path / "open_clip_config.json"
    config.write_text(config.read_text(encoding="utf-8").replace('"embed_dim": 16', '"embed_dim": 8'), encoding="utf-8")
    with pytest.raises(WeightsError, match="cannot be loaded as image model"):
        ImageEncoder(resolve(str(tmp_path), "image"), device="cpu")


def test_cuda_is_refused_where_there_is_none() -> None:
    import torch

    if torch.cuda.is_available():
        assert (pick_device("auto"), pick_device("cuda"), pick_device("cpu")) == ("cuda", "cuda", "cpu")
    else:
        assert pick_device("auto") == "cpu"
        with pytest.raises(EngineError, match="sees no CUDA device"):
            pick_device("cuda")


@pytest.mark.parametrize("encoder", [TextEncoder, ImageEncoder])
def test_batch_must_be_positive(encoder: type[TextEncoder | ImageEncoder], text_model: Path) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        encoder(resolve(str(text_model), "text"), batch=0)


def test_pictures_in_order_with_a_mask_for_the_unreadable(
    pictures: ImageEncoder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scene().save(tmp_path / "a.png")
    scene().transpose(Image.Transpose.ROTATE_180).save(tmp_path / "b.png")
    (tmp_path / "text.jpg").write_text("not a picture", encoding="utf-8")
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:80])
    names = ["a.png", "text.jpg", "b.png", "cut.png", "absent.png", "a.png"]
    progress = Recorder()
    with caplog.at_level(logging.WARNING):
        rows, ok = pictures.encode_images([*(tmp_path / name for name in names), None], progress=progress)
    assert ok.tolist() == [True, False, True, False, False, True, False]
    assert (rows.shape, rows.dtype) == ((7, 16), np.float32)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), ok, atol=1e-6)
    np.testing.assert_allclose(rows[0], rows[5], atol=1e-6)
    assert not np.allclose(rows[0], rows[2], atol=1e-2)
    assert progress.steps == [2, 2, 2, 1]
    assert {name for name in names if name in caplog.text} == {"text.jpg", "cut.png", "absent.png"}


def test_pictures_match_the_library(pictures: ImageEncoder, image_model: Path, tmp_path: Path) -> None:
    import open_clip
    import torch

    scene((80, 50)).save(tmp_path / "a.png")
    made: Any = open_clip.create_model_from_pretrained(f"local-dir:{image_model}")
    model, preprocess = made
    with torch.no_grad():
        plain = model.eval().encode_image(preprocess(scene((80, 50))).unsqueeze(0), normalize=True).numpy()
    np.testing.assert_allclose(pictures.encode_images([tmp_path / "a.png"])[0], plain, atol=1e-5)


def test_texts_share_the_space_of_the_pictures(pictures: ImageEncoder) -> None:
    rows = pictures.encode_texts(["a dog", "a cat", "a word " * 100])
    assert rows.shape == (3, pictures.dim)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert not np.allclose(rows[0], rows[1], atol=1e-3)
    assert pictures.encode_texts([]).shape == (0, 16)


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    turned = scene().transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    turned.save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(np.asarray(open_rgb(tmp_path / "turned.png")), np.asarray(scene()))


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "LAB"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    source = scene() if mode != "LAB" else Image.new("LAB", (64, 64))
    path = tmp_path / f"x.{'tif' if mode in ('CMYK', 'YCbCr', 'LAB') else 'png'}"
    source.convert(mode).save(path) if mode != "LAB" else source.save(path)
    assert (open_rgb(path).mode, open_rgb(path).size) == ("RGB", (64, 64))


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    layer = scene().convert("RGBA")
    layer.putalpha(0)
    layer.save(tmp_path / "clear.png")
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([0, 0, 0] * 256)
    palette.save(tmp_path / "palette.png", transparency=0)
    for name in ("clear.png", "palette.png"):
        assert set(np.asarray(open_rgb(tmp_path / name)).ravel()) == {255}


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    shown = np.asarray(open_rgb(tmp_path / "deep.png"))[..., 0]
    np.testing.assert_allclose(shown, ramp / 257, atol=1)


def test_floats_are_scaled_by_their_own_range(tmp_path: Path) -> None:
    Image.fromarray(np.linspace(-1, 1, 64, dtype=np.float32).reshape(8, 8)).save(tmp_path / "float.tif")
    shown = np.asarray(open_rgb(tmp_path / "float.tif"))
    assert (int(shown.min()), int(shown.max())) == (0, 255)


def test_an_animation_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    red, _, blue = np.asarray(open_rgb(tmp_path / "a.gif"))[0, 0]
    assert (red > 200, blue < 50) == (True, True)


def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene((64, 64)).save(tmp_path / "big.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(MediaError, match="too many pixels"):
        open_rgb(tmp_path / "big.png")


def test_a_strip_is_cut_to_its_middle(tmp_path: Path, pictures: ImageEncoder) -> None:
    """Scaled by its short side it would take gigabytes."""
    strip = np.zeros((2, 30_000, 3), dtype=np.uint8)
    strip[:, 14_950:15_050] = (0, 200, 0)
    Image.fromarray(strip).save(tmp_path / "wide.png")
    Image.fromarray(strip.transpose(1, 0, 2)).save(tmp_path / "high.png")
    wide, high = open_rgb(tmp_path / "wide.png"), open_rgb(tmp_path / "high.png")
    assert (wide.size, high.size) == ((100, 2), (2, 100))
    assert set(np.asarray(wide)[..., 1].ravel()) == set(np.asarray(high)[..., 1].ravel()) == {200}
    assert pictures.encode_images([tmp_path / "wide.png"])[1].all()


def test_what_is_no_picture_is_a_media_error(tmp_path: Path) -> None:
    scene().save(tmp_path / "cut.jpg", quality=95)
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:-300])
    (tmp_path / "text.png").write_text("text", encoding="utf-8")
    for name, says in (("cut.jpg", "damaged"), ("text.png", "damaged"), ("absent.png", "no such file")):
        with pytest.raises(MediaError, match=says):
            open_rgb(tmp_path / name)
