"""The application of the Python subjects, as WSGI and as ASGI: the same answer from both."""

import os


def name():
    # A server may load the application before it forks.
    return str(os.getpid())


def wsgi(_environ, start_response):
    start_response("200 OK", [("Content-Length", "6"), ("X-Worker", name())])
    return [b"hello\n"]


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    headers = [(b"content-length", b"6"), (b"x-worker", name().encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"hello\n"})
