"""Pictures: what is taken, where it is stored, and that no table reaches outside its folder or into the network."""

import base64
import errno
import os
import random
import socket
import ssl
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from PIL import Image

from genrec.data import image_download
from genrec.data.image_download import is_public
from genrec.data.images import MediaFolder
from genrec.data.ingest_report import Report
from genrec.data.table_readers import read_items
from genrec.errors import MediaError, WorkspaceError
from genrec.models.pictures import open_rgb
from genrec.settings.sections import IngestSettings

from .conftest import Web, picture

OPEN = IngestSettings(allow_private_addresses=True, image_timeout_s=2, max_image_bytes=100_000)


@pytest.fixture
def media(tmp_path: Path) -> MediaFolder:
    return MediaFolder(tmp_path / "workspace", limits=OPEN)


@pytest.mark.parametrize(
    ("form", "ending"), [("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp"), ("GIF", "gif"), ("BMP", "bmp"), ("TIFF", "tif")]
)
def test_formats_are_told_by_content_and_stored_unchanged(form: str, ending: str, media: MediaFolder, tmp_path: Path) -> None:
    data = picture(form)
    (tmp_path / "misnamed.xyz").write_bytes(data)
    stored = media.take("misnamed.xyz", base=tmp_path)
    assert stored == media.take(data, base=tmp_path)
    first, second, name = Path(stored).parts
    assert (first, second) == ("media", name[:2])
    assert name.endswith(f".{ending}")
    assert (media.root / stored).read_bytes() == data
    with Image.open(media.root / stored) as image:
        assert image.size == (8, 6)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "CMYK", "I;16"])
def test_unusual_modes_are_pictures(mode: str, media: MediaFolder, tmp_path: Path) -> None:
    assert media.take(picture("TIFF", mode=mode, color=0), base=tmp_path).endswith(".tif")


def test_data_url(media: MediaFolder, tmp_path: Path, png: bytes) -> None:
    value = "data:image/png;base64," + base64.b64encode(png).decode()
    assert media.take(value, base=tmp_path) == media.take(png, base=tmp_path)


def test_paths_stay_below_the_table_or_an_allowed_root(tmp_path: Path, png: bytes) -> None:
    table, other = tmp_path / "table", tmp_path / "other"
    for folder in (table / "sub", other):
        folder.mkdir(parents=True)
    (table / "sub" / "a.png").write_bytes(png)
    (other / "b.png").write_bytes(png)
    (table / "inside.png").symlink_to("sub/a.png")
    (table / "leak.png").symlink_to(other / "b.png")
    (table / "way").symlink_to(other)
    closed, opened = MediaFolder(tmp_path / "w"), MediaFolder(tmp_path / "w", [other])
    for value in ("sub/a.png", "./sub/a.png", "inside.png"):
        assert closed.take(value, base=table)
    for value, says in (("b.png", "no such file"), ("leak.png", "link that leads out"), ("way/b.png", "link that leads out")):
        with pytest.raises(MediaError, match=says) as caught:
            closed.take(value, base=table)
        assert "--media-root" in caught.value.hint
    assert opened.take("b.png", base=table)
    with pytest.raises(MediaError, match="absolute"):
        opened.take(str(other / "b.png"), base=table)


def test_a_pipe_does_not_hold_the_reader(media: MediaFolder, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(MediaError, match="regular file"):
        media.take("pipe.png", base=tmp_path)


def test_limits_are_the_settings(tmp_path: Path) -> None:
    data = picture("PNG", (20, 10))
    for limits, says in (
        (IngestSettings(max_image_bytes=len(data) - 1), "bytes"),
        (IngestSettings(max_image_pixels=199), "too many pixels"),
    ):
        with pytest.raises(MediaError, match=says):
            MediaFolder(tmp_path, limits=limits).take(data, base=tmp_path)
    exact = IngestSettings(max_image_bytes=len(data), max_image_pixels=200)
    assert MediaFolder(tmp_path, limits=exact).take(data, base=tmp_path)


def test_random_damage_is_a_media_error_or_a_picture(media: MediaFolder, tmp_path: Path) -> None:
    chance = random.Random(3)
    taken = refused = 0
    for form in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"):
        content = picture(form, (40, 30))
        for _ in range(80):
            data = bytearray(content)
            for _ in range(chance.randint(1, 8)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            try:
                stored = media.take(bytes(data), base=tmp_path)
                open_rgb(media.root / stored)  # what is taken, the encoders can read
                taken += 1
            except MediaError:
                refused += 1
    assert taken > 20
    assert refused > 20


def test_an_unfinished_copy_is_replaced_and_no_temporary_file_stays(media: MediaFolder, tmp_path: Path, png: bytes) -> None:
    stored = media.root / media.take(png, base=tmp_path)
    stored.write_bytes(png[:10])
    media.take(png, base=tmp_path)
    assert stored.read_bytes() == png
    assert [path for path in media.root.rglob("*") if path.is_file()] == [stored]


def test_the_same_picture_from_many_threads(media: MediaFolder, tmp_path: Path, png: bytes) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: media.take(png, base=tmp_path), range(64)))) == 1


def test_no_room_is_an_error_of_the_workspace(tmp_path: Path, png: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(WorkspaceError, match="No space left") as caught:
        MediaFolder(tmp_path / "w").take(png, base=tmp_path)
    assert caught.value.retryable
    assert not [path for path in (tmp_path / "w").rglob("*") if path.is_file()]


def test_url(web: Web, media: MediaFolder, tmp_path: Path, png: bytes) -> None:
    url = web.serve("/a.png?size=1", png)
    assert (media.root / media.take(url, base=tmp_path)).read_bytes() == png
    assert web.requests == ["/a.png?size=1"]


def test_https_checks_the_name_in_the_certificate(tmp_path: Path, png: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    pem = tmp_path / "both.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    options = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "cert")]
    subprocess.run([*command.split(), *options], check=True, capture_output=True)
    pem.write_bytes((tmp_path / "key").read_bytes() + (tmp_path / "cert").read_bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server = Web(context)
    media = MediaFolder(tmp_path / "w", limits=OPEN)
    try:
        server.serve("/a.png", png)
        url = f"https://localhost:{server.port}/a.png"
        image_download._tls.cache_clear()
        with pytest.raises(MediaError, match="certificate verify failed"):
            media.take(url, base=tmp_path)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert"))
        image_download._tls.cache_clear()
        assert media.take(url, base=tmp_path)
        with pytest.raises(MediaError, match=r"not valid for '127\.0\.0\.1'"):
            media.take(f"https://127.0.0.1:{server.port}/a.png", base=tmp_path)
    finally:
        server.close()
        image_download._tls.cache_clear()


def test_private_addresses_only_when_allowed(web: Web, tmp_path: Path, png: bytes) -> None:
    url = web.serve("/a.png", png)
    with pytest.raises(MediaError, match="private or reserved") as caught:
        MediaFolder(tmp_path, limits=IngestSettings()).take(url, base=tmp_path)
    assert "allow_private_addresses" in caught.value.hint
    assert web.requests == []


def test_redirects_are_followed_and_checked(web: Web, media: MediaFolder, tmp_path: Path, png: bytes) -> None:
    web.serve("/a.png", png)
    assert media.take(web.serve("/old", b"", 302, {"Location": "/a.png"}), base=tmp_path)
    with pytest.raises(MediaError, match="redirects"):
        media.take(web.serve("/round", b"", 302, {"Location": "/round"}), base=tmp_path)
    assert web.requests.count("/round") == 6
    with pytest.raises(MediaError, match="only http and https"):
        media.take(web.serve("/file", b"", 302, {"Location": "file:///etc/passwd"}), base=tmp_path)


def test_redirect_from_a_public_to_a_private_address_is_refused(
    web: Web, tmp_path: Path, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name `public.test` counts as public, though the test's server has to be on loopback."""
    web.serve("/a.png", png)
    web.serve("/go", b"", 302, {"Location": web.url("/a.png")})
    real = socket.getaddrinfo
    names = iter(["203.0.114.9"])

    def resolve(host: str, port: int, **options: int) -> list:
        return real(next(names), port, **options) if host == "public.test" else real(host, port, **options)

    connected: list[tuple] = []

    def connect(address: tuple, *_: object, **__: object) -> socket.socket:
        connected.append(address)
        plain = socket.socket()
        plain.connect(("127.0.0.1", web.port))
        return plain

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(MediaError, match=r"127\.0\.0\.1, which is a private or reserved address"):
        MediaFolder(tmp_path, limits=IngestSettings(image_timeout_s=2)).take(f"http://public.test:{web.port}/go", base=tmp_path)
    # The connection went to the address that was checked, and the name was resolved once: rebinding gains nothing.
    assert connected == [("203.0.114.9", web.port)]
    assert web.requests == ["/go"]


@pytest.mark.parametrize("answers", [["10.0.0.1"], ["203.0.114.9", "192.168.0.1"]])
def test_a_name_with_any_private_address_is_refused(answers: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in answers]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(MediaError, match="private or reserved"):
        MediaFolder(tmp_path).take("http://shop.example/a.png", base=tmp_path)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "240.0.0.1",
     "255.255.255.255", "::", "::1", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:10.0.0.1", "::127.0.0.1", "2002:7f00:1::",
     "64:ff9b::7f00:1", "64:ff9b:1::7f00:1"],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses(address: str) -> None:
    assert is_public(address)


def test_size_is_limited_while_streaming(web: Web, media: MediaFolder, tmp_path: Path) -> None:
    sent = []

    def endless(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        for _ in range(2000):
            request.wfile.write(bytes(10_000))
            sent.append(1)

    web.answers["/endless"] = endless
    with pytest.raises(MediaError, match="larger than 100,000 bytes"):
        media.take(web.url("/endless"), base=tmp_path)
    assert len(sent) < 2000


def test_one_deadline_for_a_server_that_drips(web: Web, tmp_path: Path) -> None:
    def drip(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        for _ in range(100):
            request.wfile.write(b"x")
            request.wfile.flush()
            time.sleep(0.05)

    web.answers["/drip"] = drip
    start = time.monotonic()
    limits = IngestSettings(allow_private_addresses=True, image_timeout_s=0.3)
    with pytest.raises(MediaError, match=r"no picture within 0\.3 s") as caught:
        MediaFolder(tmp_path, limits=limits).take(web.url("/drip"), base=tmp_path)
    assert time.monotonic() - start < 4
    assert caught.value.retryable


def test_answers_that_are_no_picture(web: Web, media: MediaFolder, tmp_path: Path) -> None:
    for url, says in (
        (web.url("/none"), "answered 404"),
        (web.serve("/down", b"", 503), "answered 503"),
        (web.serve("/page", b"<html>"), "not a JPEG"),
        (web.serve("/cut", b"abc", headers={"Content-Length": "99"}), "closed|disconnected|incomplete|peer"),
        ("http://localhost:9/a.png", "refused"),
    ):
        with pytest.raises(MediaError, match=says):
            media.take(url, base=tmp_path)


def test_a_name_that_is_not_known(media: MediaFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(MediaError, match=r"the host shop\.example is not known"):
        media.take("http://shop.example/a.png", base=tmp_path)


def test_pictures_of_a_table_keep_their_rows(tmp_path: Path, web: Web) -> None:
    """Pictures are fetched in parallel; each stays with its item."""
    shades = {f"/{n}.png": picture(color=n) for n in range(40)}
    urls = [web.serve(path, data) for path, data in shades.items()]
    table = tmp_path / "items.csv"
    table.write_text("item_id,image_url\n" + "".join(f"{n},{url}\n" for n, url in enumerate(urls)))
    media = MediaFolder(tmp_path / "w", limits=OPEN)
    items = [item for batch in read_items(table, media=media, report=Report(strict=True)) for item in batch]
    assert [(media.root / str(item.image)).read_bytes() for item in items] == list(shades.values())
