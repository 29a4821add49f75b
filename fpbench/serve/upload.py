"""A form with images as it comes in: counted while it does, held in memory, never on disk."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from fpbench.builtin.image_folder.findings import shown
from fpbench.serve.refusing import Refused, too_large

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MOST_IMAGES = 64
"""In one request."""
_MOST_FIELD = 2048  # bytes of what is no image
_MOST_NAME = 100  # characters of a file's name
_TRUE, _FALSE = {b"1", b"on", b"true", b"yes"}, {b"", b"0", b"false", b"no", b"off"}


@dataclass(frozen=True)
class Upload:
    """What was handed in.

    Attributes:
        files: name, fit to be printed and without folders, and bytes of each image.
        pool: whether they are of one source.
    """

    files: tuple[tuple[str, bytes], ...]
    pool: bool


async def received(
    body: AsyncIterator[bytes],
    content_type: str,
    most_bytes: int,
    admit: Callable[[bytes | None], None],
) -> Upload:
    """Read a form of the fields `token`, `pool` and `image`.

    Args:
        body: in pieces.
        content_type: header of the request.
        most_bytes: of the body.
        admit: told the token as soon as it is there, or None before anything else is read; raises
            where that is not enough.

    Raises:
        Refused: it is something else, or larger.
    """
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise Refused(415, "expected a form, multipart/form-data", "no form")
    form, size = _Form(admit), 0
    try:
        parser = MultipartParser(options[b"boundary"], form.callbacks())
        async for piece in body:
            size += len(piece)
            if size > most_bytes:
                raise too_large(most_bytes)
            if piece:
                parser.write(piece)
    except FormParserError:
        raise Refused(400, "expected a form, got something damaged", "damaged form") from None
    return form.upload()


def plain_name(raw: bytes, number: int) -> str:
    """The name of a file that somebody else chose: its last part, printable, of 100 characters.

    Args:
        raw: as it was sent.
        number: of the image, for one without a name.
    """
    last = raw.decode("utf-8", "replace").replace("\\", "/").rpartition("/")[2].strip()
    return shown(last)[-_MOST_NAME:] if last.strip(".") else f"image {number}"


@dataclass
class _Part:
    header: bytearray = field(default_factory=bytearray)
    value: bytearray = field(default_factory=bytearray)
    headers: dict[bytes, bytes] = field(default_factory=dict)
    name: bytes = b""
    filename: bytes = b""
    data: bytearray = field(default_factory=bytearray)


class _Form:
    """What the parser calls, part by part."""

    def __init__(self, admit: Callable[[bytes | None], None]) -> None:
        self._admit = admit
        self._files: list[tuple[str, bytes]] = []
        self._pool = False
        self._complete = False
        self._part = _Part()

    def callbacks(self) -> MultipartCallbacks:
        """As the parser wants them."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._opened,
            "on_part_data": self._data,
            "on_part_end": self._closed,
            "on_end": self._end,
        }

    def upload(self) -> Upload:
        """All of it, behind its end."""
        self._admit(None)
        if not self._complete:
            raise Refused(400, "expected a whole form, got the beginning of one", "cut short")
        if not self._files:
            raise Refused(422, "expected an image, got none", "no image")
        return Upload(tuple(self._files), self._pool)

    def _begin(self) -> None:
        self._part = _Part()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._part.header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._part.value += data[start:end]

    def _header_end(self) -> None:
        part = self._part
        part.headers[bytes(part.header).lower()] = bytes(part.value)
        part.header, part.value = bytearray(), bytearray()

    def _opened(self) -> None:
        part = self._part
        said = part.headers.get(b"content-disposition", b"").decode("latin-1")
        _, options = parse_options_header(said)
        part.name, part.filename = options.get(b"name", b""), options.get(b"filename", b"")
        if part.name == b"token":
            return
        self._admit(None)
        if part.name not in (b"image", b"pool"):
            text = "expected the fields token, pool and image, got another"
            raise Refused(422, text, "unknown field")
        if part.name == b"image" and len(self._files) == MOST_IMAGES:
            text = f"expected at most {MOST_IMAGES} images in a request, got more"
            raise Refused(422, text, "too many images")

    def _data(self, data: bytes, start: int, end: int) -> None:
        part = self._part
        part.data += data[start:end]
        if part.name != b"image" and len(part.data) > _MOST_FIELD:
            raise Refused(422, "expected a short field, got a long one", "long field")

    def _closed(self) -> None:
        part = self._part
        data, part.data = bytes(part.data), bytearray()
        if part.name == b"token":
            self._admit(data)
        elif part.name == b"pool":
            if data.lower() not in _TRUE | _FALSE:
                raise Refused(422, "pool: expected true or false, got something else", "bad field")
            self._pool = data.lower() in _TRUE
        elif data or part.filename:  # a browser sends an empty part where no file was chosen
            self._files.append((plain_name(part.filename, len(self._files) + 1), data))

    def _end(self) -> None:
        self._complete = True
