"""A container engine seen without the library: plain HTTP over its socket, so that tests have a second opinion."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

_CONTENT = "dev.nexus.test.content"


class _OverSocket(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("engine", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class RawEngine:
    """Asks an engine directly.

    Args:
        address: ``unix:///path`` or ``tcp://host:port``.
    """

    def __init__(self, address: str) -> None:
        self.address = address

    def call(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        data: Iterable[bytes] | bytes | None = None,
        timeout: float = 60.0,
    ) -> tuple[int, Any]:
        """Return status and decoded answer."""
        scheme, _, rest = self.address.partition("://")
        connection = (
            _OverSocket(rest, timeout) if scheme == "unix" else http.client.HTTPConnection(rest, timeout=timeout)
        )
        content = json.dumps(body).encode() if body is not None else data
        kind = "application/json" if body is not None else "application/x-tar"
        try:
            headers = {"Content-Type": kind} if content is not None else {}
            # A push wants to know who pushes; the registries of tests take anybody ("{}" in base64).
            connection.request(method, path, body=content, headers={**headers, "X-Registry-Auth": "e30="})
            reply = connection.getresponse()
            text = reply.read()
        finally:
            connection.close()
        try:
            return reply.status, json.loads(text) if text else None
        except ValueError:
            return reply.status, text

    def get(self, path: str) -> Any:
        status, answer = self.call("GET", path)
        assert status == 200, (path, status, answer)
        return answer

    def answers(self) -> bool:
        try:
            status, _ = self.call("GET", "/version", timeout=3.0)
        except OSError:
            return False
        return status == 200

    def has_image(self, image: str) -> bool:
        return self.call("GET", f"/images/{quote(image, safe=':/')}/json")[0] == 200

    def container(self, number: str) -> Any:
        return self.get(f"/containers/{number}/json")

    def labelled(self, label: str) -> dict[str, list[str]]:
        """Return names of all containers, networks and volumes that carry a label."""
        query = urlencode({"filters": json.dumps({"label": [label]})})
        return {
            "containers": [entry["Id"] for entry in self.get(f"/containers/json?all=1&{query}")],
            "networks": [entry["Id"] for entry in self.get(f"/networks?{query}")],
            "volumes": [entry["Name"] for entry in self.get(f"/volumes?{query}")["Volumes"] or []],
        }

    def remove_labelled(self, label: str) -> None:
        """Remove what carries a label; only for a label that one test alone uses."""
        found = self.labelled(label)
        for number in found["containers"]:
            self.call("DELETE", f"/containers/{number}?force=1&v=1")
        for number in found["networks"]:
            self.call("DELETE", f"/networks/{number}")
        for name in found["volumes"]:
            self.call("DELETE", f"/volumes/{name}")
        # Those that hold files of its containers; one that has lost its name goes with what was made from it.
        for image in self.get("/images/json?filters=" + quote(json.dumps({"label": [label]}))):
            for name in image["RepoTags"] or ():
                self.call("DELETE", f"/images/{quote(name, safe=':/')}")

    def import_image(self, archive: bytes, image: str) -> None:
        """Make an image of a root file system, unless it is there with the same content."""
        digest = hashlib.sha256(archive).hexdigest()
        if self.has_image(image):
            labels = self.get(f"/images/{image}/json")["Config"].get("Labels") or {}
            if labels.get(_CONTENT) == digest:
                return
        name, _, tag = image.partition(":")
        query = urlencode(
            {"fromSrc": "-", "repo": name, "tag": tag or "latest", "changes": f"LABEL {_CONTENT}={digest}"}
        )
        status, answer = self.call("POST", f"/images/create?{query}", data=archive)
        assert status == 200, answer
        assert self.has_image(image), answer

    def build_image(self, context: bytes, image: str) -> None:
        status, answer = self.call(
            "POST", f"/build?t={quote(image, safe='')}&rm=1&forcerm=1", data=context, timeout=300.0
        )
        assert status == 200, answer
        assert self.has_image(image), answer


def socket_of(address: str) -> Path:
    """Return the socket's path of a ``unix://`` address."""
    assert address.startswith("unix://"), address
    return Path(address.removeprefix("unix://"))
