"""`diarize serve`: live streams and files for browsers and programs."""

from __future__ import annotations

import contextlib
import ctypes
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diarize.cli.terminal import (
    ConfigOption,
    DeviceOption,
    EngineOption,
    ModelOption,
    OverlapOption,
    PrecisionOption,
    ThreadsOption,
    load_diarizer,
    note,
)
from diarize.errors import ConfigError, DiarizeError

if TYPE_CHECKING:
    from diarize.server.options import ServerOptions

NEEDED = ("starlette", "uvicorn", "websockets", "prometheus_client", "python_multipart", "swagger_ui_bundle")

M_ARENA_MAX = -8
HEAPS = 2
"""glibc's option, and its value."""

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def serve(
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; 0.0.0.0: all of this machine.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", min=0, max=65535, help="0: any free one.")] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            envvar="DIARIZE_TOKEN",
            help="What clients must show; better in the environment, where other users do not see it.",
            show_default=False,
        ),
    ] = None,
    require_token: Annotated[
        bool, typer.Option("--require-token", help="Do not start without a token; for images and services.")
    ] = False,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-origin",
            help="An origin whose pages may use it; again for more.",
            show_default=False,
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", help="A name that it is called by; again for more.", show_default=False),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            envvar="DIARIZE_DATA",
            help="Folder of uploads, results and their ledger; default: the platform's, for this user.",
            show_default=False,
        ),
    ] = None,
    keep_hours: Annotated[
        float, typer.Option("--keep-hours", min=0.001, help="Recordings and results stay so long once done.")
    ] = 24.0,
    max_streams: Annotated[
        int | None,
        typer.Option(
            "--max-streams", min=1, help="Live streams at once; default: by cores", show_default=False
        ),
    ] = None,
    max_stream_hours: Annotated[
        float, typer.Option("--max-stream-hours", min=0.001, help="Of sound in one live stream.")
    ] = 4.0,
    resume: Annotated[
        float,
        typer.Option("--resume-s", min=1, help="A stream without a connection stays so many seconds."),
    ] = 60.0,
    max_upload: Annotated[int, typer.Option("--max-upload-mb", min=1, help="Of one file.")] = 2048,
    max_file_hours: Annotated[
        float, typer.Option("--max-file-hours", min=0.001, help="Of sound in one file.")
    ] = 12.0,
    config: ConfigOption = None,
    model: ModelOption = None,
    device: DeviceOption = None,
    engine: EngineOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
    overlap: OverlapOption = None,
) -> None:
    """Serve live streams, files and a page to use both from, over HTTP.

    Examples:

    - `diarize serve` and open http://127.0.0.1:8000 in a browser

    - `DIARIZE_TOKEN=... diarize serve --host 0.0.0.0` for others, who must know the token

    - `curl --data-binary @meeting.m4a 'http://127.0.0.1:8000/v1/recordings?name=meeting'` from a program

    Ctrl-C ends it: files that it was asked for are gone on with at the next start, live streams are lost.
    """
    check_extra()
    from diarize.server.options import HOUR_S, MEBIBYTE, ServerOptions, default_streams

    options = ServerOptions(
        data=data or default_data(),
        token=token or None,
        hosts=tuple(name.lower() for name in allow_host or ()),
        origins=tuple(allow_origin or ()),
        keep_s=keep_hours * HOUR_S,
        max_streams=max_streams or default_streams(),
        max_stream_s=max_stream_hours * HOUR_S,
        resume_s=resume,
        max_upload=max_upload * MEBIBYTE,
        max_file_s=max_file_hours * HOUR_S,
    )
    if require_token and options.token is None:
        raise ConfigError(
            "a token is required and there is none; set DIARIZE_TOKEN, for example to what "
            '`python -c "import secrets; print(secrets.token_urlsafe())"` prints'
        )
    if host not in LOOPBACK and options.token is None:
        note(
            f"warning: whoever reaches {host} can use this server; ask for a token: "
            "DIARIZE_TOKEN in the environment, or --token"
        )
    loading = {"model": model, "device": device, "engine": engine, "precision": precision, "threads": threads}
    run(host, port, options, config, loading | {"overlap": overlap})


def run(
    host: str, port: int, options: ServerOptions, config: str | None, loading: dict[str, str | int | None]
) -> None:
    """Take the port, load the networks, serve until a signal comes."""
    import uvicorn

    from diarize.server.app import create_app
    from diarize.server.wire import address_of, config_of, listen

    share_heaps()
    heard = listen(host, port)
    with heard:
        app = create_app(load_diarizer(config, **loading), options)
        server = uvicorn.Server(config_of(app, options, app.state.server.metrics.unread.inc))
        note(f"serving on {address_of(heard)}; Ctrl-C ends it")
        try:
            server.run(sockets=[heard])
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        if not server.started:
            raise DiarizeError("the server could not start; the lines above say why")


def share_heaps() -> None:
    """Let the many threads of a server share heaps, where glibc would give each its own and get little back.

    Half the memory after a few files of different lengths: 770 MB instead of 1540.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL("libc.so.6").mallopt(M_ARENA_MAX, HEAPS)


def default_data() -> Path:
    """Where uploads and results are, unless told otherwise."""
    from platformdirs import user_state_path

    return user_state_path("diarize", appauthor=False) / "server"


def check_extra() -> None:
    """ConfigError where what the server stands on is not installed."""
    for name in NEEDED:
        if find_spec(name) is None:
            raise ConfigError(
                f"the server needs the package {name}; install it: pip install 'diarize-campplus[serve]'"
            )
