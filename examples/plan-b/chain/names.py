"""A DNS server that says what it is told to."""

from __future__ import annotations

import threading
from typing import Any

from dnslib import QTYPE, RCODE, RR, A
from dnslib.server import DNSLogger, DNSServer


class Names:
    """Every name has `addresses`, which may change at any moment; none is an error of the server.

    `asked` counts the questions.
    """

    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses or ("127.0.0.1",))
        self.asked = 0
        self._server = DNSServer(self, port=0, address="127.0.0.1", logger=DNSLogger(logf=lambda text: None))
        self.port: int = self._server.server.server_address[1]

    def resolve(self, request: Any, handler: Any) -> Any:
        """Answer one question."""
        self.asked += 1
        reply = request.reply()
        if not self.addresses:
            reply.header.rcode = RCODE.SERVFAIL
        elif request.q.qtype == QTYPE.A:
            for address in self.addresses:
                reply.add_answer(RR(request.q.qname, ttl=1, rdata=A(address)))
        return reply

    def __enter__(self) -> Names:
        threading.Thread(target=self._server.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()
        self._server.server.server_close()
