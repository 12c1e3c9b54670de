"""A stand-in for S3 on loopback, with one empty bucket; ``make .moto`` installs it, apart from the dependencies."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Self

from tests.postgres import free_port

MOTO = Path(__file__).parents[2] / ".moto"


class Store:
    """One server, from when it is entered.

    Attributes:
        url: its address.
        process: its process.
    """

    def __init__(self) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        code = f"from moto.server import main; main(['-H', '127.0.0.1', '-p', '{port}'])"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONPATH": str(MOTO)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def __enter__(self) -> Self:
        until = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(urllib.request.Request(f"{self.url}/bucket", method="PUT")):
                    return self
            except urllib.error.URLError:
                if time.monotonic() > until:
                    self.__exit__()
                    raise
                time.sleep(0.2)

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def variables(self, folder: str, secret: str = "nothing") -> dict[str, str]:
        """A lake's files below a folder of the bucket."""
        return {
            "DUCKLAKE_DATA_PATH": f"s3://bucket/{folder}",
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": secret,
        }
