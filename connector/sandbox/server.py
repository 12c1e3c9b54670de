"""A simulated vendor on a loopback port, in a thread of this process or in the foreground.

`serve` is for tests and for demos that run client and vendor together. It speaks no TLS and is not meant to be
reached from another machine.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp


def configured(app: ASGIApp, host: str, port: int, log_level: str = "warning") -> uvicorn.Config:
    """The settings of both ways to run: uvicorn adds no headers of its own and trusts no proxy headers."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="asyncio",
        http="h11",
        h11_max_incomplete_event_size=256 * 1024,  # so that the vendor refuses long requests itself
        lifespan="off",
        log_level=log_level,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
    )


class _QuickServer(uvicorn.Server):
    """A server that stops at once, because a test suite starts and stops hundreds of them."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._running: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        self._ready = threading.Event()

    def stop(self) -> None:
        """End `run`, from another thread."""
        if self._ready.wait(timeout=5) and self._running is not None:
            loop, over = self._running
            loop.call_soon_threadsafe(over.set)

    async def main_loop(self) -> None:
        over = asyncio.Event()
        self._running = (asyncio.get_running_loop(), over)
        self._ready.set()
        while not over.is_set():
            await self.on_tick(0)  # updates the date header
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), timeout=0.5)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for task in list(self.server_state.tasks):
            task.cancel()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        for listener in sockets or []:
            listener.close()
        # Connections that are still open are aborted. The garbage collector would close them with a warning, during
        # any later test.
        for _ in range(10):
            await asyncio.sleep(0)
            for connection in list(self.server_state.connections):
                connection.transport.abort()
        await asyncio.sleep(0)


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        OSError, OverflowError: the port is taken, not permitted, or not a port.
    """
    # with the protocol given, accepted connections get TCP_NODELAY; without it every short answer waits 40 ms
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except BaseException:
        listener.close()
        raise
    return listener


@contextlib.contextmanager
def serve(app: ASGIApp, port: int = 0, host: str = "127.0.0.1") -> Iterator[str]:
    """Answer on a loopback port until the block ends, and give the base URL (port 0: a free one)."""
    listener = listening(host, port)
    server = _QuickServer(configured(app, host, port, "critical"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="sandbox", daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{listener.getsockname()[1]}"
    finally:
        server.stop()
        thread.join(timeout=5)
        listener.close()


def run(app: ASGIApp, host: str, port: int) -> None:
    """Answer in the foreground until interrupted."""
    uvicorn.Server(configured(app, host, port)).run()
