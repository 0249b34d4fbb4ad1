"""The body of a request → the bytes of its images, within limits of bytes, images and seconds."""

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from components.serving.server.problems import Problem, busy

MULTIPART, JSON = "multipart/form-data", "application/json"
FIELD = "image"


@dataclass(frozen=True)
class Limits:
    """What a server takes.

    images: the most images in one request. body_bytes: the most bytes of a body. all_bytes: the
    most bytes of all bodies in memory. seconds: within which a body must be there, and within which
    it must be answered after that.
    """

    images: int = 256
    body_bytes: int = 64_000_000
    all_bytes: int = 512_000_000
    seconds: float = 30.0


class Memory:
    """Counts the bytes of all bodies, so that many large requests do not use up the memory."""

    def __init__(self, most: int) -> None:
        self._most, self._used = most, 0

    @contextmanager
    def counted(self) -> Iterator[Callable[[int], None]]:
        """Yield a function that counts bytes of a body as they come; they are freed at the end.

        It raises Problem (503) if there are too many. Only what has come is counted, so a sender
        who says that much will come and then sends little keeps no other one out.
        """
        used = 0

        def add(count: int) -> None:
            nonlocal used
            if self._used + count > self._most:
                raise busy("too many bytes are being received")
            self._used += count
            used += count

        try:
            yield add
        finally:
            self._used -= used


class _Form(MultiPartParser):
    """A form whose files are kept in memory; a body that is larger than its limit is refused."""

    spool_max_size = 2**31
    complete = False

    def on_end(self) -> None:
        self.complete = True

    def close(self) -> None:
        """Close the files, also one that has not ended."""
        for file in self._files_to_close_on_error:
            file.close()


async def read_images(request: Request, limits: Limits, add: Callable[[int], None]) -> list[bytes]:
    """Return the bytes of each image of a request, in their order.

    The body is a form (multipart) with files in fields named `image`, or JSON:
    `{"images": [base64, …]}`. add: is called with the number of bytes of each chunk of the body.
    Raises Problem if the body is of another type or broken (400, 415, 422), too large (413), has
    too many images (413), or is not there in time (408).
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in (MULTIPART, JSON):
        raise Problem(
            415, f"the body must be {MULTIPART} or {JSON}. Received: {kind or 'no Content-Type'}"
        )
    text = request.headers.get("content-length", "")
    if text.isdecimal() and int(text) > limits.body_bytes:
        raise _too_large(limits)
    try:
        async with asyncio.timeout(limits.seconds):
            chunks = _limited(request, limits, add)
            if kind == JSON:
                images = _from_json(b"".join([chunk async for chunk in chunks]), limits)
            else:
                images = await _from_form(request, chunks, limits)
    except TimeoutError:
        raise Problem(
            408, f"the body was not complete within {limits.seconds:g} s; send less at once"
        ) from None
    except ClientDisconnect:
        raise Problem(400, "the body has ended too early") from None
    if not images:
        raise Problem(422, "there is no image in the request; send at least one")
    return images


async def _limited(
    request: Request, limits: Limits, add: Callable[[int], None]
) -> AsyncGenerator[bytes, None]:
    count = 0
    async for chunk in request.stream():
        count += len(chunk)
        if count > limits.body_bytes:
            raise _too_large(limits)
        add(len(chunk))
        yield chunk


def _from_json(body: bytes, limits: Limits) -> list[bytes]:
    shape = 'the body must be {"images": [base64 of an image file, …]}'
    # Neither base64 nor the rest has a comma, so this bounds the values, which need 20 times the
    # memory of the body if there are millions of them.
    if body.count(b",") >= limits.images:
        raise _too_many(limits, f"{body.count(b',') + 1} values")
    try:
        tree: Any = json.loads(body)
    except (ValueError, RecursionError):
        raise Problem(400, f"{shape}. Received: no JSON") from None
    texts = tree.get("images") if isinstance(tree, dict) else None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise Problem(422, f"{shape}. Received: other JSON")
    if len(tree) > 1:
        raise Problem(422, f"{shape}. Received: other keys, too")
    return [_from_base64(text, number) for number, text in enumerate(texts, start=1)]


def _from_base64(text: str, number: int) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        text = f"image {number} must be base64. Received: a text that is none"
        raise Problem(422, text) from None


async def _from_form(
    request: Request, chunks: AsyncGenerator[bytes, None], limits: Limits
) -> list[bytes]:
    parser = _Form(request.headers, chunks, max_files=limits.images, max_fields=0)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        if "Too many files" in error.message:
            raise _too_many(limits, f"more than {limits.images} images") from None
        raise Problem(
            400,
            f"the form must have files in fields named `{FIELD}` and nothing else "
            f"({error.message.rstrip('.')})",
        ) from None
    except ValueError:  # by names of fields in the charsets idna, punycode and undefined
        raise Problem(400, "the form must have the charset utf-8, or none") from None
    if not parser.complete:
        parser.close()
        raise Problem(400, "the form has ended too early: its last boundary is missing")
    try:
        other = {name for name, _ in form.multi_items()} - {FIELD}
        if other:
            raise Problem(
                422,
                f"the form must have files in fields named `{FIELD}` only. "
                f"Received: the field {min(other)}",
            )
        return [await file.read() for _, file in form.multi_items()]  # type: ignore[union-attr]
    finally:
        parser.close()


def _too_large(limits: Limits) -> Problem:
    return Problem(
        413, f"a request may have at most {limits.body_bytes:,} bytes; send fewer images at once"
    )


def _too_many(limits: Limits, received: str) -> Problem:
    return Problem(
        413,
        f"a request may have at most {limits.images} images; send several requests. "
        f"Received: {received}",
    )
