"""Keeps every message that comes by SMTP, and lists them at GET /api/v1/messages."""

import email
import email.policy
import http.server
import json

from aiosmtpd.controller import Controller

MESSAGES = []


class Catcher:
    async def handle_DATA(self, _server, _session, envelope):
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        MESSAGES.append({"Subject": str(message["Subject"]),
                         "To": [{"Address": address} for address in envelope.rcpt_tos]})
        return "250 kept"


class Api(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"total": len(MESSAGES), "messages": MESSAGES}).encode()
        self.send_response(200 if self.path == "/api/v1/messages" else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


Controller(Catcher(), hostname="0.0.0.0", port=1025).start()
http.server.ThreadingHTTPServer(("0.0.0.0", 8025), Api).serve_forever()
