"""A bound on what one request may send, counted as it comes."""

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class TooLargeError(Exception):
    """More bytes than one request may send."""


class BodyLimit:
    """Answers 413 to a body of more than `most` bytes, whatever its headers say."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self.app, self.most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self.most:
                raise TooLargeError
            return message

        try:
            said = Headers(scope=scope).get("content-length", "")
            if said.isdecimal() and int(said) > self.most:
                raise TooLargeError
            await self.app(scope, counted, send)
        except TooLargeError:
            answer = JSONResponse({"detail": f"the body is over {self.most:,} bytes"}, 413, {"Connection": "close"})
            await answer(scope, receive, send)
